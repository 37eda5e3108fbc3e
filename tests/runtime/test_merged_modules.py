"""Components with merged core modules behave as if the modules were instantiated one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import wasmtime
import wasmtime.component
from hypothesis import given
from hypothesis import strategies as st

from tests.guests import build
from wasi_trio.component import merging
from wasi_trio.component._binary import decode
from wasi_trio.component._errors import MalformedComponent, Trap
from wasi_trio.component._imports import Imports
from wasi_trio.component._planning import plan
from wasi_trio.component.merging import _instructions
from wasi_trio.runtime import _compiling
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance

FEATURES = ["tail-call"]
#: The features that merged modules may use.
EVERYTHING = wasmtime.Engine()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Compile components without merging their modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_compiling, "groups", lambda plan: [])
        yield


async def _results(wat: str, calls: list[tuple[Any, ...]]) -> list[Any]:
    with Engine(cache=False, features=FEATURES) as engine:
        linked = Component.compile(engine, wasmtime.wat2wasm(wat)).link(Imports())
        instance = await Instance.instantiate(linked)
        try:
            results: list[Any] = []
            for call in calls:
                try:
                    results.append(await instance.call(call[0], None, *call[1:]))
                except Trap as trap:
                    results.append(str(trap).splitlines()[0])
                    instance.close()
                    instance = await Instance.instantiate(linked)
            return results
        finally:
            instance.close()


def results(wat: str, *calls: tuple[Any, ...], steps: int = 1) -> list[Any]:
    """Return the results of calls, after checking that they are the same without merging."""
    with Engine(cache=False, features=FEATURES) as engine:
        assert len(Component.compile(engine, wasmtime.wat2wasm(wat)).steps) == steps
    found = trio.run(_results, wat, list(calls))
    with apart():
        assert trio.run(_results, wat, list(calls)) == found
    return found


def lifted(instance: str, **functions: str) -> str:
    """Return exports of functions with i32 parameters. ``f="1"`` is the function ``f`` with one parameter."""
    return "\n".join(
        f'(func (export "{name}") {" ".join(f"""(param "p{i}" s32)""" for i in range(int(count)))} (result s32) '
        f'(canon lift (core func {instance} "{name}")))'
        for name, count in functions.items()
    )


#: A library of functions, a table, a memory and globals, and a program that uses all of it.
LIBRARY = """
  (core module $library
    (type $binary (func (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (table $table (export "table") 10 funcref)
    (global (export "base") i32 (i32.const 3))
    (global (export "far") i64 (i64.const -5))
    (global $count (export "count") (mut i32) (i32.const 100))
    (func $add (export "add") (type $binary) (i32.add (local.get 0) (local.get 1)))
    (func $sub (type $binary) (i32.sub (local.get 0) (local.get 1)))
    (func (export "up") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.get $count))
    (elem (i32.const 0) $sub $add)
    (data (i32.const 0) "library"))
  (core instance $lib (instantiate $library))
"""


def program(code: str, *names: str, instance: str = "$main", **exports: str) -> str:
    return f"""(component {LIBRARY}
      (core module $program
        (type $unary (func (param i32) (result i32)))
        (type $binary (func (param i32 i32) (result i32)))
        (import "lib" "up" (func $up (result i32)))
        (import "lib" "add" (func $add (type $binary)))
        (import "lib" "memory" (memory 1))
        (import "lib" "table" (table $table 5 funcref))
        (import "lib" "base" (global $base i32))
        (import "lib" "far" (global $far i64))
        (import "lib" "count" (global $count (mut i32)))
        {code})
      (core instance $main (instantiate $program (with "lib" (instance $lib))))
      {lifted(instance, **exports)})"""


def test_calls_and_globals() -> None:
    wat = program(
        """(func $own (param i32) (result i32) (i32.mul (local.get 0) (i32.const 7)))
        (func (export "f") (param i32) (result i32)
          (drop (call $up))
          (global.set $count (i32.add (global.get $count) (call $own (local.get 0))))
          (call $add (call $up) (i32.wrap_i64 (global.get $far))))""",
        f="1",
    )
    assert results(wat, ("f", 2), ("f", 1)) == [111, 120]


def test_tables_and_their_segments() -> None:
    wat = program(
        """(table $other 4 funcref)
        (global $next i32 (global.get $base))
        (func $triple (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
        (elem (global.get $base) func $triple $add)
        (elem (table $other) (i32.const 1) funcref (ref.func $triple) (ref.null func))
        (elem $passive func $add $triple)
        (elem declare func $triple)
        (func (export "at") (param i32 i32 i32) (result i32)
          (call_indirect $table (type $binary) (local.get 1) (local.get 2) (local.get 0)))
        (func (export "one") (param i32 i32) (result i32)
          (call_indirect $table (type $unary) (local.get 1) (local.get 0)))
        (func (export "other") (param i32 i32) (result i32)
          (call_indirect $other (type $unary) (local.get 1) (local.get 0)))
        (func (export "change") (param i32) (result i32)
          (table.init $table $passive (i32.const 6) (i32.const 0) (i32.const 2))
          (elem.drop $passive)
          (table.copy $other $table (i32.const 0) (i32.const 7) (i32.const 1))
          (table.set $table (i32.const 9) (table.get $other (i32.const 0)))
          (table.fill $other (i32.const 2) (ref.func $triple) (i32.const 1))
          (drop (table.grow $other (ref.func $triple) (i32.const 2)))
          (i32.add (i32.mul (table.size $other) (i32.const 100)) (table.size $table)))""",
        at="3",
        one="2",
        other="2",
        change="1",
    )
    assert results(
        wat, ("at", 0, 9, 4), ("at", 1, 9, 4), ("one", 3, 5), ("at", 4, 5, 6), ("one", 4, 5), ("at", 2, 1, 1),
        ("at", 10, 1, 1),
        ("other", 1, 5), ("other", 2, 5), ("other", 0, 5),
        ("change", 0), ("at", 6, 2, 3), ("one", 7, 2), ("one", 9, 4), ("other", 0, 6), ("other", 2, 5), ("other", 5, 6),
        ("change", 0),
    )[:4] == [5, 13, 15, 11]  # fmt: skip


def test_memory_and_its_segments() -> None:
    wat = program(
        """(data (i32.const 2) "X")
        (data $passive "passive")
        (data (offset (i32.add (global.get $base) (i32.const 7))) "Y")
        (func (export "byte") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "change") (param i32) (result i32)
          (memory.init $passive (i32.const 32) (i32.const 1) (i32.const 3))
          (data.drop $passive)
          (memory.copy (i32.const 40) (i32.const 32) (i32.const 2))
          (memory.fill (i32.const 50) (i32.const 7) (local.get 0))
          (i32.store offset=60 align=2 (i32.const 0) (i32.const 99))
          (drop (memory.grow (i32.const 1)))
          (memory.size))""",
        byte="1",
        change="1",
    )
    ask = [("byte", at) for at in (0, 2, 9, 10, 32, 34, 40, 41, 50, 51, 60)]
    found = results(wat, *ask, ("change", 2), *ask, ("byte", 65536), ("byte", 131072), ("change", 0))
    assert found[:4] == [ord("l"), ord("X"), 0, ord("Y")]
    assert found[11:18] == [2, ord("l"), ord("X"), 0, ord("Y"), ord("a"), ord("s")]


def test_control() -> None:
    wat = program(
        """(func $pair (param i32) (result i32 i32) (local.get 0) (i32.const 1))
        (func (export "f") (param i32 i32) (result i32) (local i64 f64 funcref)
          (local.get 1)
          (block (type $unary)
            (block (type $unary)
              (block (type $unary)
                (br_table 0 1 2 1 (local.get 0)))
              (return (i32.add (i32.const 10))))
            (return (i32.add (i32.const 20))))
          (drop)
          (i32.const 5)
          (loop (type $unary) (i32.const 1) (i32.sub) (local.tee 1) (br_if 0 (local.get 1)))
          (if (type $unary) (i32.const 1) (then (i32.const 2) (i32.add)) (else))
          (call $pair) (i32.add)
          (select (result i32) (i32.const 4) (local.get 0))
          (return_call $add (i32.const 1)))
        (func (export "g") (param i32) (result i32)
          (return_call_indirect $table (type $binary) (local.get 0) (i32.const 2) (i32.const 1)))""",
        f="2",
        g="1",
    )
    assert results(wat, *(("f", case, 7) for case in range(5)), ("g", 50))[-1] == 52


def test_vectors_and_constants() -> None:
    wat = program(
        """(global $vector v128 (v128.const i32x4 1 2 3 4))
        (global $f32 f32 (f32.const 1.5)) (global $f64 f64 (f64.const -2.5))
        (global $func funcref (ref.func $add))
        (global $folded i64 (i64.mul (global.get $far) (i64.sub (i64.const 3) (i64.const 10))))
        (func (export "f") (param i32) (result i32)
          (v128.store (i32.const 64) (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
            (global.get $vector) (v128.const i32x4 9 9 9 9)))
          (v128.store64_lane offset=8 1 (i32.const 72) (i32x4.splat (local.get 0)))
          (i32x4.extract_lane 1 (i32x4.add (v128.load (i32.const 64)) (v128.load32_splat (i32.const 68)))))
        (func (export "g") (param i32) (result i32)
          (i32.add (i32.trunc_sat_f64_s (f64.add (f64.promote_f32 (global.get $f32)) (global.get $f64)))
            (i32.add (i32.wrap_i64 (global.get $folded)) (ref.is_null (global.get $func)))))""",
        f="1",
        g="1",
    )
    assert results(wat, ("f", 5), ("g", 0)) == [4, 34]


def test_items_reexported_by_another_module() -> None:
    wat = f"""(component {LIBRARY}
      (core module $between
        (import "lib" "add" (func $add (param i32 i32) (result i32)))
        (import "lib" "memory" (memory 1)) (import "lib" "base" (global $base i32))
        (export "plus" (func $add)) (export "m" (memory 0)) (export "b" (global $base)))
      (core instance $mid (instantiate $between (with "lib" (instance $lib))))
      (core module $program
        (import "mid" "plus" (func $add (param i32 i32) (result i32)))
        (import "mid" "m" (memory 1)) (import "mid" "b" (global $base i32))
        (data (global.get $base) "?")
        (func (export "f") (param i32) (result i32) (call $add (i32.load8_u (global.get $base)) (local.get 0))))
      (core instance $main (instantiate $program (with "mid" (instance $mid))))
      {lifted("$main", f="1")})"""
    assert results(wat, ("f", 1)) == [64]


def test_strings_go_through_a_merged_memory_and_realloc() -> None:
    wat = """(component
      (core module $libc
        (memory (export "memory") 1) (global $next (mut i32) (i32.const 64))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 3)))))
      (core instance $libc (instantiate $libc))
      (core module $program
        (import "libc" "memory" (memory 1))
        (global $posts (mut i32) (i32.const 0))
        (func (export "echo") (param i32 i32) (result i32)
          (i32.store (i32.const 8) (local.get 0)) (i32.store (i32.const 12) (local.get 1)) (i32.const 8))
        (func (export "post") (param i32) (global.set $posts (i32.add (global.get $posts) (i32.const 1))))
        (func (export "posts") (result i32) (global.get $posts)))
      (core instance $main (instantiate $program (with "libc" (instance $libc))))
      (func (export "echo") (param "text" string) (result string) (canon lift (core func $main "echo")
        (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
        (post-return (core func $main "post"))))
      (func (export "posts") (result s32) (canon lift (core func $main "posts"))))"""
    assert results(wat, ("echo", "abc"), ("echo", "ü"), ("posts",)) == ["abc", "ü", 2]


# ---- modules that are not merged -----------------------------------------------------------------------


def test_a_start_function_runs_before_what_comes_later() -> None:
    """It sees the memory that earlier modules have initialized, and not that of later modules."""
    wat = f"""(component {LIBRARY}
      (core module $starts
        (import "lib" "memory" (memory 1)) (import "lib" "count" (global $count (mut i32)))
        (func $start (global.set $count (i32.load8_u (i32.const 0))))
        (start $start))
      (core instance $s (instantiate $starts (with "lib" (instance $lib))))
      (core module $program
        (import "lib" "memory" (memory 1)) (import "lib" "count" (global $count (mut i32)))
        (data (i32.const 0) "later")
        (func (export "f") (param i32) (result i32) (global.get $count)))
      (core instance $main (instantiate $program (with "lib" (instance $lib))))
      {lifted("$main", f="1")})"""
    assert results(wat, ("f", 0), steps=3) == [ord("l")]


MODULE = '(core module $m (func (export "f") (param i32) (result i32) (local.get 0)) {})'
PLAIN = '(core module $p (import "m" "f" (func (param i32) (result i32))) (export "f" (func 0)))'


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (MODULE.format("(memory 1)"), PLAIN[:-1] + "(memory 1))"),
        (MODULE.format("(tag)"), PLAIN),
        (MODULE.format("(func (block (try_table (catch_all 0))))"), PLAIN),
        (MODULE.format('(@custom ".debug_info" "x")'), PLAIN),
        (MODULE.format(""), PLAIN[:-1] + '(@custom ".debug_line" "x"))'),
    ],
    ids=["two memories", "a tag", "exceptions", "debugging information first", "debugging information second"],
)
def test_modules_that_are_not_merged(first: str, second: str) -> None:
    wat = f"""(component {first} {second}
      (core instance $i (instantiate $m)) (core instance $j (instantiate $p (with "m" (instance $i))))
      {lifted("$j", f="1")})"""
    with Engine(cache=False, features=[*FEATURES, "exceptions"]) as engine:
        assert len(Component.compile(engine, wasmtime.wat2wasm(wat)).steps) == 2


def test_a_module_that_is_instantiated_twice_is_compiled_once() -> None:
    wat = f"""(component {MODULE.format("(global (mut i32) (i32.const 0))")} {PLAIN}
      (core instance $i (instantiate $m)) (core instance (instantiate $m))
      (core instance $j (instantiate $p (with "m" (instance $i))))
      {lifted("$j", f="1")})"""
    assert results(wat, ("f", 4), steps=3) == [4]


async def test_a_start_function_calls_the_host() -> None:
    """The call's memory is an export of an earlier module, so that must be instantiated by then."""
    wat = """(component
      (import "log" (func $log (param "text" string)))
      (core module $libc (memory (export "memory") 1) (data (i32.const 0) "hello"))
      (core module $more (import "libc" "memory" (memory 1)) (data (i32.const 5) "!"))
      (core instance $libc (instantiate $libc))
      (core instance (instantiate $more (with "libc" (instance $libc))))
      (core func $log (canon lower (func $log) (memory (core memory $libc "memory"))))
      (core module $starts
        (import "host" "log" (func $log (param i32 i32)))
        (func $start (call $log (i32.const 0) (i32.const 6))) (start $start))
      (core instance (instantiate $starts (with "host" (instance (export "log" (func $log)))))))"""
    said: list[str] = []

    class Host:
        def __init__(self, context: Any) -> None:
            pass

        def log(self, text: str) -> None:
            said.append(text)

    with Engine(cache=False) as engine:
        component = Component.compile(engine, wasmtime.wat2wasm(wat))
        assert len(component.steps) == 2
        (await Instance.instantiate(component.link(Imports({"": Host})))).close()
    assert said == ["hello!"]


def test_modules_that_exceed_a_limit_together_stay_apart() -> None:
    body = "(table 1 funcref)" * 30 + '(func (export "f") (result i32) (i32.const 1))'
    wat = f"""(component {"".join(f"(core module $m{i} {body})" for i in range(4))}
      {" ".join(f"(core instance $i{i} (instantiate $m{i}))" for i in range(4))} {lifted("$i3", f="0")})"""
    with Engine(cache=False) as engine:
        assert len(Component.compile(engine, wasmtime.wat2wasm(wat)).steps) == 4


@pytest.mark.parametrize("code", [0x00, 0x0B, 0x54, 0x5B, 0x5C, 0x5D])
def test_a_vector_instruction_that_names_its_memory_is_not_mistaken_for_another(code: int) -> None:
    """Its bytes would look like two instructions. So its module stays apart."""
    found = _instructions._RUN.match(bytes((0xFD, code, 0x40, 0x00, 0x00, 0x00)))
    assert found is not None
    assert found.end() == 0


# ---- invalid modules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "(drop (call 1 (i32.const 0)))",
        "(drop (call_indirect (type 2) (i32.const 0)))",
        "(drop (global.get 0))",
        "(drop (i32.load (i32.const 0)))",
        "(drop (table.size 0))",
        "(data.drop 0)",
        "(elem.drop 0)",
    ],
)
def test_a_module_cannot_reach_into_another(body: str) -> None:
    """Each index is out of range in its own module, and would be in range in the merged module."""
    wat = f"""(component
      (core module $m (func (export "f") (param i32) (result i32) {body} (local.get 0)))
      (core module $n (type $a (func)) (type $b (func (param i64))) (type $c (func (result i32)))
        (memory 1) (table 1 funcref) (global i32 (i32.const 0)) (data "x") (elem func) (func (param i32) (result i32)
        (data.drop 0) (elem.drop 0) (local.get 0)))
      (core instance $i (instantiate $m)) (core instance (instantiate $n))
      {lifted("$i", f="1")})"""
    with Engine(cache=False, features=FEATURES) as engine, pytest.raises(MalformedComponent, match="in a core module"):
        Component.compile(engine, wasmtime.wat2wasm(wat))


VARIED = bytes(
    wasmtime.wat2wasm(
        program(
            """(global $next i32 (global.get $base))
            (elem (table $table) (global.get $base) func $add) (elem $passive funcref (ref.func $own) (ref.null func))
            (data (i32.const 9) "abc") (data $data "passive")
            (func $own (param i32) (result i32) (local i64 f32)
              (block (type $unary) (br_table 0 1 0 (i32.const 5) (local.get 0)))
              (if (result i32) (then (i32.const 1)) (else
                (call_indirect $table (type $unary) (i32.const 3) (i32.const 1))))
              (table.set $table (i32.const 1) (ref.func $own))
              (memory.init $data (i32.const 1) (i32.const 0) (i32.const 1))
              (table.init $table $passive (i32.const 1) (i32.const 0) (i32.const 1))
              (i32.store offset=300 (i32.const 4) (i32.const 5)) (global.set $count (global.get $next))
              (drop (f64.const 1.25)) (drop (i64.const -900)) (drop (i8x16.splat (i32.const 1)))
              (select (result i32) (call $up) (i32.const 1)))
            (func (export "f") (param i32) (result i32) (call $own (local.get 0)))""",
            f="1",
        )
    )
)


@given(at=st.integers(VARIED.index(b"\0asm\1\0\0\0", 8), len(VARIED) - 60), value=st.integers(0, 255))
def test_valid_modules_make_a_valid_module(at: int, value: int) -> None:
    data = VARIED[:at] + bytes((value,)) + VARIED[at + 1 :]
    try:
        definitions = decode(data)
        before = plan(definitions)
        for code in before.modules:
            wasmtime.Module.validate(EVERYTHING, bytes(code))
        wasmtime.component.Component(EVERYTHING, data).close()
    except (MalformedComponent, wasmtime.WasmtimeError):
        return
    found = merging.groups(before)
    merged = plan(definitions, merging.locations(found))
    if found and merging.merge(merged, found):
        for code in merged.modules:
            wasmtime.Module.validate(EVERYTHING, bytes(code))


# ---- modules of toolchains -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["python_p2", "python_p3", "python_command"])
def test_guests_of_toolchains_are_one_module(name: str) -> None:
    definitions = decode(build.build(name).read_bytes())
    before = plan(definitions)
    found = merging.groups(before)
    merged = plan(definitions, merging.locations(found))
    assert merging.merge(merged, found)
    assert len(before.steps) > 5
    assert len(merged.steps) == 1
    wasmtime.Module.validate(EVERYTHING, bytes(merged.modules[0]))


# ---- names ---------------------------------------------------------------------------------------------


def test_functions_keep_their_names_in_backtraces() -> None:
    wat = program('(func $failing (unreachable)) (func (export "f") (result i32) (call $failing) (i32.const 1))', f="0")

    async def main() -> str:
        with Engine(cache=False, features=FEATURES) as engine:
            linked = Component.compile(engine, wasmtime.wat2wasm(wat)).link(Imports())
            instance = await Instance.instantiate(linked)
            try:
                with pytest.raises(Trap) as caught:
                    await instance.call("f")
                return str(caught.value)
            finally:
                instance.close()

    assert "program!failing" in trio.run(main)
