"""The work for a component grows linearly with its size, and the effect of multiplying instances is bounded.

Work is counted in function calls and not timed. A component of twice the size must cause about twice the work.
Searching for each item among all others causes four times the work, and treating types as trees causes unbounded work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.component.binaries import assemble
from wasi_trio.cli import _inspection as inspection
from wasi_trio.cli import _report as report
from wasi_trio.component import _planning, _relink
from wasi_trio.component import _types as t
from wasi_trio.component._binary import decode
from wasi_trio.component._errors import MalformedComponent, Unsupported
from wasi_trio.component._imports import Imports
from wasi_trio.component._planning import plan
from wasi_trio.component._relink import relink
from wasi_trio.component._sizes import measure
from wasi_trio.component.abi import _layout as layout
from wasi_trio.component.wit._world import describe
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._loading import LoadError

#: Maximum factor by which the work may grow for twice the size.
DOUBLED = 2.2


def calls(function: Callable[[], object]) -> int:
    """Return the number of function calls, in all code, until this returns."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def grows_linearly(work: Callable[[bytes], object], make: Callable[[int], str], number: int) -> None:
    small, large, other = (assemble(make(n)) for n in (number, 2 * number, number + 1))
    work(other)  # loads everything that is loaded once
    assert calls(lambda: work(large)) < DOUBLED * calls(lambda: work(small))


def inspect(data: bytes) -> None:
    found = inspection._inspect("app.wasm", decode(data), measure(data))
    report.as_lines(found)
    report.as_json(found)


# ---- inspect ---------------------------------------------------------------------------------------------


def interfaces(n: int) -> str:
    return "".join(f'(import "a:b/i{i}" (instance (export "f" (func (param "p" u8)))))' for i in range(n))


def functions(n: int) -> str:
    return "".join(f'(import "f{i}" (func))' for i in range(n))


def one_interface(n: int) -> str:
    exports = "".join(f'(export "f{i}" (func (param "p" string)))' for i in range(n))
    return f'(import "wasi:cli/environment@0.2.0" (instance {exports}))'


def nested_interfaces(n: int) -> str:
    inner = "".join(f'(export "i{i}" (instance (export "f" (func))))' for i in range(n))
    return f'(import "a:b/c" (instance {inner}))'


def resources(n: int) -> str:
    inner = "".join(
        f'(export "r{i}" (type $r{i} (sub resource)))(export "[method]r{i}.f" (func (param "self" (borrow $r{i}))))'
        for i in range(n)
    )
    return f'(import "a:b/c" (instance {inner}))'


def versions(n: int) -> str:
    exports = "".join(f'(export "wasi:cli/run@0.2.{i}" (instance $i))' for i in range(n))
    return (
        f'(core module $m (func (export "f") (result i32) (i32.const 0))) (core instance $c (instantiate $m))'
        f'(func $f (result (result)) (canon lift (core func $c "f"))) (instance $i (export "run" (func $f))) {exports}'
    )


def aliased_types(n: int) -> str:
    types = "".join(f'(type (record (field "a" u{8 << i % 4}))) (export "t{i}" (type (eq {2 * i})))' for i in range(n))
    return f'(import "a:b/c" (instance {types}))'


@pytest.mark.parametrize(
    "make", [interfaces, functions, one_interface, nested_interfaces, resources, versions, aliased_types]
)
def test_inspect(make: Callable[[int], str]) -> None:
    grows_linearly(inspect, make, 100)


def test_taken_names() -> None:
    """Types with a name only at the root are defined again in the places of their use, under unused names."""

    def make(n: int) -> str:
        types = "".join(f'(type $t{i} (record (field "a{i}" u8)))' for i in range(n))
        params = "".join(f'(param "p{i}" $t{i})' for i in range(n))
        return f'{types} (import "f" (func {params}))'

    grows_linearly(lambda data: describe(decode(data)), make, 100)


# ---- linking ---------------------------------------------------------------------------------------------


def test_core_instances_in_a_row() -> None:
    def make(n: int) -> str:
        return (
            '(core module $m (import "m" "f" (func)) (export "f" (func 0)))'
            '(core module $n (func (export "f"))) (core instance $i0 (instantiate $n))'
            + "".join(f'(core instance $i{i} (instantiate $m (with "m" (instance $i{i - 1}))))' for i in range(1, n))
        )

    with Engine(cache=False) as engine:

        def link(data: bytes) -> None:
            Component.compile(engine, data).link(Imports())

        grows_linearly(link, make, 50)


# ---- types that share their parts ------------------------------------------------------------------------


def doubling(n: int) -> str:
    """Return a type whose tree has ``2 ** n`` leaves. Types for other ``n`` share no parts with it."""
    types = "".join(f"(type $t{i} (tuple $t{i - 1} $t{i - 1}))" for i in range(1, n))
    return f'(type $t0 (record (field "of-{n}" u16))) {types} (import "f" (func (param "p" $t{n - 1})))'


def parameter(data: bytes) -> t.ValType:
    (func,) = plan(decode(data)).host_funcs
    return func.type.params[0][1]


@pytest.mark.parametrize(
    "look",
    [
        lambda type_: t.contains(type_, t.Borrow),
        layout.size,
        layout.alignment,
        layout.flat_length,
        layout.weight,
        lambda type_: layout.core_signature(t.FuncType(((("p", type_)),), type_), "lower"),
    ],
    ids=["contains", "size", "alignment", "flat_length", "weight", "core_signature"],
)
def test_a_type_is_visited_as_a_graph(look: Callable[[Any], object]) -> None:
    grows_linearly(lambda data: look(parameter(data)), doubling, 30)


def test_types_are_compared_as_graphs() -> None:
    def compare(data: bytes) -> None:
        one, other = parameter(data), parameter(data)
        assert one is not other
        assert one == other
        assert t.Option(one) != t.List(other)

    grows_linearly(compare, doubling, 30)


def test_equal_types_of_a_component_are_one() -> None:
    text = "".join(
        f'(type $a{i} (record (field "f" string))) (type $b{i} (list $a{i})) '
        f'(import "f{i}" (func (param "p" $b{i}) (result $b{i})))'
        for i in range(2)
    )
    first, second = plan(decode(assemble(text))).host_funcs
    assert first.type is second.type
    assert first.type.result is second.type.params[0][1]


def test_types_that_differ_far_inside_are_not_equal() -> None:
    def make(leaf: str) -> t.ValType:
        return parameter(assemble(doubling(20).replace("u16", leaf)))

    assert make("u16") == make("u16")
    assert make("u16") != make("u32")
    own, other = t.ResourceType("r"), t.ResourceType("r")
    assert t.Own(own) == t.Own(own)
    assert t.Own(own) != t.Own(other)
    assert t.Own(own) != t.Borrow(own)
    assert t.Tuple((t.U8,)) != t.Tuple((t.U8, t.U8))
    assert t.U8 != "u8"


def test_the_text_of_types_has_a_bound() -> None:
    with pytest.raises(Unsupported, match="the types of the component have more than 100000 parts"):
        describe(decode(assemble(doubling(30))))


# ---- bounds ----------------------------------------------------------------------------------------------


def test_the_definitions_of_instances_are_bounded() -> None:
    types = '(type (record (field "a" u8) (field "b" u8) (field "c" u8)))' * 500
    text = f"(component $c {types}) {'(instance (instantiate $c))' * 600}"
    with pytest.raises(Unsupported, match="more than 1000000 definitions and parts of them"):
        plan(decode(assemble(text)))
    with pytest.raises(Unsupported, match="more than 1000000 definitions and parts of them"):
        describe(decode(assemble(text)))


def test_the_declarations_of_imports_are_bounded() -> None:
    types = "(type (enum " + " ".join(f'"c{i}"' for i in range(600)) + "))"
    imports = "".join(f'(import "i{i}" (instance (type $i)))' for i in range(2000))
    with pytest.raises(Unsupported, match="more than 1000000 definitions"):
        plan(decode(assemble(f"(type $i (instance {types})) {imports}")))


def test_instances_within_instances_have_a_bound() -> None:
    """The components are siblings here: each instantiates the one before it."""

    def make(depth: int) -> str:
        return (
            "(component $c0)"
            + "".join(f"(component $c{i} (instance (instantiate $c{i - 1})))" for i in range(1, depth))
            + f"(instance (instantiate $c{depth - 1}))"
        )

    plan(decode(assemble(make(_planning.MAX_DEPTH - 1))))
    describe(decode(assemble(make(_planning.MAX_DEPTH - 1))))
    for work in (plan, describe):
        with pytest.raises(Unsupported, match="instances within instances more than 100 levels deep"):
            work(decode(assemble(make(900))))  # type: ignore[operator]


def test_canonical_definitions_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '(import "f" (func $f))' + "(core func (canon lower (func $f)))" * 4
    monkeypatch.setattr(_planning, "MAX_CANONS", 4)
    plan(decode(assemble(text)))
    monkeypatch.setattr(_planning, "MAX_CANONS", 3)
    with pytest.raises(Unsupported, match="more than 3 canonical definitions"):
        plan(decode(assemble(text)))


MODULES = (
    '(core module $m (import "m" "f" (func))) (core module $n (func (export "f"))) (core instance $n (instantiate $n))'
)


def test_the_code_of_core_instances_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(decode(assemble(MODULES + '(core instance (instantiate $m (with "m" (instance $n))))' * 5)))
    size = sum(len(made.modules[step.module]) for step in made.steps)
    monkeypatch.setattr(_relink, "MAX_CODE", size)
    relink(made)
    monkeypatch.setattr(_relink, "MAX_CODE", size - 1)
    with pytest.raises(Unsupported, match="core modules have more than 0 MiB"):
        relink(made)


def test_the_imports_of_core_instances_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(decode(assemble(MODULES + '(core instance (instantiate $m (with "m" (instance $n))))' * 5)))
    monkeypatch.setattr(_relink, "MAX_IMPORTS", 5)
    relink(made)
    monkeypatch.setattr(_relink, "MAX_IMPORTS", 4)
    with pytest.raises(Unsupported, match="have more than 4 imports"):
        relink(made)


@pytest.mark.parametrize("depth", [100, 101, 5000])
def test_types_within_types_are_as_deep_as_wasmtime_admits(depth: int, tmp_path: Path) -> None:
    """Nothing recurses deeper, because the validator runs before any recursion."""
    types = "".join(f"(type $t{i} (list $t{i - 1}))" for i in range(1, depth))
    data = assemble(f'(type $t0 (list u8)) {types} (import "f" (func (param "p" $t{depth - 1})))')
    path = tmp_path / "deep.wasm"
    path.write_bytes(data)
    if depth < 100:
        inspection.inspect_component(str(path))
    else:
        with pytest.raises(LoadError, match="nesting is too deep"):
            inspection.inspect_component(str(path))


def test_counts_are_checked_before_allocation() -> None:
    """A count that exceeds the remaining bytes is refused before memory is allocated for it."""
    for sections in (b"\x07\x05\xff\xff\xff\xff\x0f", b"\x0a\x05\xff\xff\xff\xff\x0f"):
        with pytest.raises(MalformedComponent, match="announced, but only 0 bytes are left"):
            decode(b"\0asm\x0d\0\x01\0" + sections)
