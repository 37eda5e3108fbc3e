"""Planning of components with the Component Model's async definitions."""

from __future__ import annotations

import pytest
from wasmtime import wat2wasm

from wasi_trio.component._binary import decode
from wasi_trio.component._errors import Unsupported
from wasi_trio.component._plan import AsyncBuiltin, Lifted, Lower, Plan
from wasi_trio.component._planning import plan
from wasi_trio.component._types import STRING, U8, U32, Future, Stream

MEMORY = """
    (core module $memory
        (memory (export "m") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
    (core instance $m (instantiate $memory))
    (alias core export $m "m" (core memory $mem))
    (alias core export $m "realloc" (core func $realloc))
"""


def planned(text: str) -> Plan:
    return plan(decode(bytes(wat2wasm(f"(component {text})"))))


def builtins(text: str) -> list[AsyncBuiltin]:
    canons = planned(MEMORY + "(type $s (stream u8)) (type $f (future string))" + text).canons
    assert all(isinstance(canon, AsyncBuiltin) for canon in canons)
    return [canon for canon in canons if isinstance(canon, AsyncBuiltin)]


def test_plain_built_ins() -> None:
    names = ["task.cancel", "backpressure.inc", "backpressure.dec", "waitable-set.new", "waitable-set.drop"]
    names += ["waitable.join", "subtask.drop"]
    found = builtins("".join(f"(core func (canon {name}))" for name in names))
    assert [builtin.name for builtin in found] == names
    assert {(builtin.part, builtin.type) for builtin in found} == {(0, None)}


def test_flags_mean_async() -> None:
    found = builtins(
        """
        (core func (canon subtask.cancel))
        (core func (canon subtask.cancel async))
        (core func (canon thread.yield))
        (core func (canon waitable-set.wait (memory $mem)))
        (core func (canon waitable-set.poll (memory $mem)))
        (core func (canon stream.cancel-read $s))
        (core func (canon stream.cancel-write $s async))
        """
    )
    assert [b.options.is_async for b in found] == [False, True, False, False, False, False, True]
    assert found[3].options.memory is not None and found[3].options is found[4].options
    assert found[0].options.memory is None


def test_types_and_options() -> None:
    found = builtins(
        """
        (core func (canon stream.new $s))
        (core func (canon stream.read $s async (memory $mem)))
        (core func (canon future.read $f (memory $mem) (realloc $realloc)))
        (core func (canon future.drop-writable $f))
        (core func (canon task.return))
        (core func (canon task.return (result u32) (memory $mem)))
        (core func (canon context.get i32 0))
        (core func (canon context.set i32 0))
        """
    )
    assert [b.type for b in found] == [Stream(U8), Stream(U8), Future(STRING), Future(STRING), None, U32, None, None]
    assert found[1].options.is_async and found[1].options.memory is not None
    assert not found[2].options.is_async and found[2].options.realloc is not None
    assert (found[6].slot, found[6].core_type) == (0, "i32")


LIFTED = """
    (core module $code
        (func (export "f") (result i32) i32.const 0)
        (func (export "g"))
        (func (export "cb") (param i32 i32 i32) (result i32) i32.const 0))
    (core instance $c (instantiate $code))
    (alias core export $c "f" (core func $f))
    (alias core export $c "g" (core func $g))
    (alias core export $c "cb" (core func $cb))
"""


def test_lifting_with_a_callback() -> None:
    made = planned(LIFTED + '(func (export "run") async (canon lift (core func $f) async (callback (core func $cb))))')
    _, lifted = made.exports["run"]
    assert isinstance(lifted, Lifted)
    assert lifted.type.is_async and lifted.options.is_async and lifted.options.callback is not None


def test_lifting_without_async() -> None:
    made = planned(LIFTED + '(func (export "run") async (canon lift (core func $g)))')
    _, lifted = made.exports["run"]
    assert lifted.type.is_async and not lifted.options.is_async and lifted.options.callback is None


def test_lifting_with_a_stack_of_its_own() -> None:
    made = planned(LIFTED + '(func (export "run") async (canon lift (core func $g) async))')
    _, lifted = made.exports["run"]
    assert lifted.options.is_async and lifted.options.callback is None


@pytest.mark.parametrize(
    "definition", ["thread.index", "thread.suspend", "thread.resume-later", "thread.yield-then-resume"]
)
def test_threads_are_refused_by_name(definition: str) -> None:
    with pytest.raises(Unsupported, match=definition):
        builtins(f"(core func (canon {definition}))")


def test_lowering_with_async() -> None:
    made = planned(
        MEMORY
        + """
        (import "f" (func $f async (result u32)))
        (core func (canon lower (func $f) async (memory $mem)))
        (core func (canon lower (func $f)))
        """
    )
    first, second = made.canons
    assert isinstance(first, Lower) and isinstance(second, Lower)
    assert first.options.is_async and not second.options.is_async
    assert first.func is second.func and first.func.type.is_async


def test_parts_know_their_parents() -> None:
    made = planned(
        """
        (component $leaf)
        (component $middle (component $inner) (instance (instantiate $inner)))
        (instance (instantiate $leaf))
        (instance (instantiate $middle))
        """
    )
    assert made.parents == [None, 0, 0, 2]
    assert made.parts == 4
