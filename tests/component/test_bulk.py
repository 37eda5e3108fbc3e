"""Memory operations in slices: the module behaves the same for the guest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wheel import as_pointer, wheel_engine
from wasi_trio.component import _bulk
from wasi_trio.component._binary import decode
from wasi_trio.component._bulk import SLICE, STRETCH, sliced
from wasi_trio.component._definitions import Component, CoreModule
from wasi_trio.component._features import CORE
from wasi_trio.component._wasm import read_unsigned, section, sections, unsigned
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._compiler import Compiler

EVERYTHING = wheel_engine(Compiler(False, [feature.name for feature in CORE]).wasmtime)
PAGES = 20
SIZE = PAGES << 16


def module(wat: str) -> bytes:
    return bytes(wasmtime.wat2wasm(wat))


class Running:
    """An instance of a core module whose memories are exported as ``a`` and ``b``."""

    def __init__(self, code: bytes) -> None:
        self.store = wasmtime.Store(EVERYTHING)
        self.store.set_epoch_deadline(1 << 40)
        exports: Any = wasmtime.Instance(self.store, wasmtime.Module(EVERYTHING, code), []).exports(self.store)
        self.exports = exports
        for name in ("a", "b"):
            if name in self.exports:
                pattern = bytes(range(251)) * (SIZE // 251 + 1)
                self.exports[name].write(self.store, pattern[:SIZE], 0)

    def call(self, name: str, *operands: int) -> wasmtime.TrapCode | None:
        """Call a function and return its trap code or None."""
        try:
            self.exports[name](self.store, *operands)
        except wasmtime.Trap as trap:
            return trap.trap_code
        return None

    def content(self) -> list[bytes]:
        return [bytes(self.exports[name].read(self.store)) for name in ("a", "b") if name in self.exports]


def operations(first: str, second: str) -> str:
    """Return a module with all operations on two memories of the given types (``i64`` or nothing)."""
    copied = {"aa": (first, first), "ab": (first, second), "ba": (second, first), "bb": (second, second)}
    kinds = {"a": first or "i32", "b": second or "i32"}
    text = [
        f'(memory $a (export "a") {first} {PAGES} {PAGES}) (memory $b (export "b") {second} {PAGES} {PAGES})',
        f'(data $long "{"0123456789abcdef" * (3 * SLICE // 16)}") (data $short "xyz")',
    ]
    for memory, kind in kinds.items():
        text.append(
            f'(func (export "fill {memory}") (param {kind} i32 {kind})'
            f" (memory.fill ${memory} (local.get 0) (local.get 1) (local.get 2)))"
        )
        for data in ("long", "short"):
            text.append(
                f'(func (export "init {memory} {data}") (param {kind} i32 i32)'
                f" (memory.init ${memory} ${data} (local.get 0) (local.get 1) (local.get 2)))"
            )
    for name, (to, source) in copied.items():
        length = "i64" if to and source else "i32"
        text.append(
            f'(func (export "copy {name}") (param {to or "i32"} {source or "i32"} {length})'
            f" (memory.copy ${name[0]} ${name[1]} (local.get 0) (local.get 1) (local.get 2)))"
        )
    return f'(module {"".join(text)} (func (export "forget") (data.drop $long)))'


EDGES = (0, 1, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE, 2 * SLICE + 1, 3 * SLICE, SIZE - SLICE, SIZE - 1, SIZE, SIZE + 1)
NUMBERS = st.sampled_from([*EDGES, 0xFFFFFFFF, 0x80000000, (1 << 32) - SLICE]) | st.integers(0, SIZE + 2)
CALLS = st.tuples(
    st.sampled_from(
        [f"fill {m}" for m in "ab"]
        + [f"copy {m}{n}" for m in "ab" for n in "ab"]
        + [f"init {m} {d}" for m in "ab" for d in ("long", "short")]
    )
    | st.just("forget"),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
)


def narrow(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


@pytest.fixture(scope="module", params=[("", ""), ("i64", "i64"), ("i64", ""), ("", "i64")])
def pair(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    code = module(operations(*request.param))
    changed = sliced(code)
    assert len(changed) > len(code)
    return code, changed


@given(calls=st.lists(CALLS, max_size=8))
@settings(max_examples=100, deadline=None)
def test_sliced_operations_behave_the_same(
    pair: tuple[bytes, bytes], calls: list[tuple[str, tuple[int, int, int]]]
) -> None:
    before, after = map(Running, pair)
    for name, operands in calls:
        kinds = [str(kind) for kind in before.exports[name].type(before.store).params]
        given = [value if kind == "i64" else narrow(value) for kind, value in zip(kinds, operands, strict=False)]
        assert before.call(name, *given) == after.call(name, *given)
    assert before.content() == after.content()


@pytest.mark.parametrize(
    ("name", "operands"),
    [
        ("fill a", (SIZE - 2 * SLICE, 7, 2 * SLICE + 1)),
        ("fill a", (SIZE - 2 * SLICE, 7, -1)),
        ("copy aa", (SIZE - 2 * SLICE, 0, 2 * SLICE + 1)),
        ("copy ab", (0, SIZE - 2 * SLICE, 2 * SLICE + 1)),
        ("init b long", (0, SLICE, 2 * SLICE + 1)),
        ("init b long", (0, SLICE, -SLICE)),
        ("init a long", (SIZE - 2 * SLICE, 0, 2 * SLICE + 1)),
    ],
)
def test_nothing_is_written_if_the_end_is_out_of_bounds(name: str, operands: tuple[int, int, int]) -> None:
    running = Running(sliced(module(operations("", ""))))
    before = running.content()
    assert running.call(name, *operands) == wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS
    assert running.content() == before


@pytest.mark.parametrize("distance", [1, 17, SLICE - 1, SLICE, SLICE + 1])
@pytest.mark.parametrize("up", [False, True])
def test_overlaps(distance: int, up: bool) -> None:
    code = module(operations("", ""))
    before, after = Running(code), Running(sliced(code))
    start = 5
    operands = (start + distance, start) if up else (start, start + distance)
    for running in (before, after):
        assert running.call("copy aa", *operands, 3 * SLICE + 3) is None
    assert before.content() == after.content()


def test_one_memory_under_two_indices() -> None:
    code = module(
        f"""(module (import "" "m" (memory $a {PAGES})) (import "" "m" (memory $b {PAGES}))
        (func (export "f") (memory.copy $a $b (i32.const 1) (i32.const 0) (i32.const {3 * SLICE}))))"""
    )
    found = []
    for each in (code, sliced(code)):
        store = wasmtime.Store(EVERYTHING)
        store.set_epoch_deadline(1 << 40)
        memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(PAGES, None)))
        memory.write(store, bytes(range(251)) * (SIZE // 251), 0)
        exports: Any = wasmtime.Instance(store, wasmtime.Module(EVERYTHING, each), [memory, memory]).exports(store)
        exports["f"](store)
        found.append(bytes(memory.read(store)))
    assert found[0] == found[1]


# ---- slices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "checks"),
    [
        ("memory.fill (i32.const 0) (i32.const 1) (i32.const {})", 64),
        ("memory.copy (i32.const 0) (i32.const 9) (i32.const {})", 64),
        ("memory.copy (i32.const 9) (i32.const 0) (i32.const {})", 64),
    ],
)
def test_epochs_are_checked_between_slices(operation: str, checks: int) -> None:
    code = module(f'(module (memory 2000) (func (export "f") ({operation.format(checks * SLICE)})))')
    assert count_of_checks(code) <= 2  # at the start
    # wasmtime may also check at each instruction.
    assert checks <= count_of_checks(sliced(code)) <= 2 * checks + 4


@pytest.mark.parametrize(
    "operation",
    [
        "memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)",
        "table.init $e (i32.const 0) (i32.const 0) (i32.const 1)",
        "table.copy (i32.const 0) (i32.const 0) (i32.const 1)",
        "table.fill (i32.const 0) (ref.null func) (i32.const 1)",
        "memory.fill (i32.const 0) (i32.const 0) (i32.const 8191)",
        "memory.copy (i32.const 0) (i32.const 0) (i32.const 8191)",
    ],
)
def test_epochs_are_checked_between_consecutive_operations(operation: str) -> None:
    """Each may take milliseconds, and without a loop nothing separates them."""
    code = module(
        f"""(module (memory 2) (table 1 funcref) (data $d "x") (elem $e func $f)
        (func $f (export "f") {f"({operation})" * 1000}))"""
    )
    assert count_of_checks(sliced(code)) >= 1000


def test_epochs_are_checked_in_a_long_function() -> None:
    """Each memory access may be the first to its page."""
    store = "(i32.store (i32.const 70000) (i32.const 1))"
    size = len(bodies(module(f'(module (memory 2) (func (export "f") {store * 1000}))'))[0])
    short = module(f'(module (memory 2) (func (export "f") {store * (STRETCH * 1000 // size)}))')
    assert sliced(short) is short
    long = module(f'(module (memory 2) (func (export "f") {store * 20_000}))')
    assert count_of_checks(long) <= 2
    # A check may come up to a few hundred instructions late.
    assert count_of_checks(sliced(long)) >= 20 * size // (STRETCH + size // 2)


def test_a_long_function_of_all_kinds_of_instructions() -> None:
    """An epoch check may be inserted between any two."""
    start, end = INSTRUCTIONS.index(COPY), INSTRUCTIONS.rindex("(return_call")
    statements = INSTRUCTIONS[start:end]
    code = module(INSTRUCTIONS.replace(statements, "".join(f"(block {statements})" for _ in range(200))))
    changed = sliced(code)
    wasmtime.Module.validate(EVERYTHING, changed)
    assert len(bodies(changed)[1]) > len(bodies(code)[1])


def count_of_checks(code: bytes) -> int:
    count = 0

    def at_epoch(context: int, data: int, delta: Any, kind: Any) -> int:
        nonlocal count
        count += 1
        delta[0] = 0  # makes the next check late too
        kind[0] = ffi.CONTINUE
        return 0

    callback = ffi.EpochCallback(at_epoch)
    store = wasmtime.Store(EVERYTHING)
    store.set_epoch_deadline(1 << 40)
    exports: Any = wasmtime.Instance(store, wasmtime.Module(EVERYTHING, code), []).exports(store)
    ffi.store_epoch_deadline_callback(as_pointer(store.ptr()), callback, None, None)
    store.set_epoch_deadline(0)
    exports["f"](store)
    return count


# ---- instructions ----------------------------------------------------------------------------------------


def test_all_kinds_of_instructions_are_decoded() -> None:
    code = module(INSTRUCTIONS)
    changed = sliced(code)
    wasmtime.Module.validate(EVERYTHING, code)
    wasmtime.Module.validate(EVERYTHING, changed)
    assert calls_and_operations(changed) == (INSTRUCTIONS.count("memory.copy"), 0)


def calls_and_operations(code: bytes) -> tuple[int, int]:
    """Return the number of operations replaced by calls, and of those left in the module's original functions."""
    before = list(bodies(code))
    helpers = [body for body in before if b"\xfc" in body and b"\x03\x40" in body and b"\x0d\x00" in body]
    left = sum(len(_bulk._operations(body, 0, len(body), len(body))) for body in before if body not in helpers)
    first = len(before) - len(helpers)
    called = sum(
        len(re.findall(rb"\x10(?:" + re.escape(_bulk._padded(first + index, 3)) + rb")", body))
        for body in before
        for index in range(len(helpers))
    )
    return called, left


def bodies(code: bytes | memoryview) -> list[bytes]:
    content = next(content for identifier, content in sections(memoryview(code)[8:]) if identifier == 10)
    count, at = read_unsigned(content, 0)
    found = []
    for _ in range(count):
        size, at = read_unsigned(content, at)
        found.append(bytes(content[at : at + size]))
        at += size
    return found


COPY = "(memory.copy (i32.const 0) (i32.const 1) (local.get $n))"
INSTRUCTIONS = f"""(module
  (type $s (struct (field (mut i32)) (field i8))) (type $a (array (mut i32))) (type $f (func (param i32)))
  (rec (type $r1 (struct)) (type $r2 (struct (field (ref null $r1)))))
  (memory 1) (memory $m 1) (table $t 5 funcref) (tag $tag (param i32))
  (data $d "0123") (elem $e func $g) (elem declare func $g) (global $x (mut i32) (i32.const 0))
  (func $g (param $n i32) (nop))
  (func (param $n i32) (local i64 f32 f64 v128 funcref externref (ref null $s) (ref null any))
    {COPY}
    (block) (loop) (if (local.get $n) (then) (else)) (block (result i32) (i32.const 1)) drop
    (i32.const 1) (block (param i32) (result i32 i32) (i32.const 1)) drop drop
    (block (block (block (br_table 0 1 2 1 0 (local.get $n))))) (block (br_if 0 (local.get $n))) {COPY}
    (call $g (local.get $n)) (call_indirect $t (type $f) (local.get $n) (i32.const 0))
    (drop (select (result funcref) (ref.null func) (ref.func $g) (local.get $n)))
    (drop (select (i32.const 1) (i32.const 2) (local.get $n))) {COPY}
    (i32.store offset=77 (i32.const -5) (i32.load8_u $m offset=1000 (i32.const 1000000)))
    (drop (f32.const 1.5)) (drop (f64.const -0x1.5p300)) (drop (i64.const -9223372036854775808)) {COPY}
    (drop (memory.size $m)) (drop (memory.grow (i32.const 0))) (drop (i32.trunc_sat_f32_s (f32.const 1)))
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)
    (table.set $t (i32.const 0) (table.get $t (i32.const 0)))
    (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))
    (elem.drop $e) (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 2)) {COPY}
    (drop (table.grow $t (ref.null func) (i32.const 0))) (drop (table.size $t))
    (table.fill $t (i32.const 0) (ref.null func) (i32.const 1)) {COPY}
    (drop (v128.const i32x4 0xfc0b00fc 0x0b00fc0a 3 4)) (drop (v128.load offset=5 (i32.const 0)))
    (drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (v128.const i64x2 1 2) (v128.const i64x2 1 2)))
    (drop (v128.load32_zero (i32.const 0))) (drop (v128.load8_lane 3 (i32.const 0) (v128.const i64x2 1 2)))
    (drop (i32x4.extract_lane 2 (i8x16.swizzle (v128.const i64x2 1 2) (v128.const i64x2 1 2))))
    (drop (f64x2.convert_low_i32x4_u (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 1 2)))) {COPY}
    (drop (i32.atomic.rmw.add offset=4 (i32.const 0) (i32.const 1))) (atomic.fence)
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))) {COPY}
    (i64.add128 (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)) drop drop
    (struct.set $s 0 (struct.new $s (i32.const 1) (i32.const 2)) (i32.const 1))
    (drop (struct.get_u $s 1 (struct.new_default $s))) {COPY}
    (drop (array.len (array.new_fixed $a 2 (i32.const 1) (i32.const 2))))
    (array.fill $a (array.new $a (i32.const 1) (i32.const 2)) (i32.const 0) (i32.const 1) (i32.const 2))
    (array.copy $a $a (array.new_default $a (i32.const 2)) (i32.const 0) (array.new_default $a (i32.const 2))
      (i32.const 0) (i32.const 1))
    (drop (array.new_data $a $d (i32.const 0) (i32.const 0)))
    (drop (array.get $a (array.new_default $a (i32.const 2)) (i32.const 0))) {COPY}
    (drop (ref.test (ref $s) (local.get 7))) (drop (ref.cast (ref null $s) (local.get 7)))
    (drop (block (result anyref) (br_on_cast 0 anyref (ref null $s) (local.get 8))))
    (drop (i31.get_s (ref.i31 (i32.const 1)))) (drop (any.convert_extern (ref.null extern)))
    (drop (ref.eq (ref.null eq) (ref.null eq))) (drop (ref.is_null (ref.null $s))) {COPY}
    (block $b (result i32) (try_table (catch $tag $b) (throw $tag (i32.const 1))) (i32.const 0)) drop
    (block $b (try_table (catch_all $b) (throw $tag (i32.const 1)))) {COPY}
    (block (br_on_null 0 (local.get 7)) drop) (call_ref $f (local.get $n) (ref.func $g)) {COPY}
    (return_call $g (local.get $n))))"""


def test_opcodes_in_constants_are_not_operations() -> None:
    code = module(
        "(module (memory 1) (func (drop (i64.const 0x0b7e8a0afc0b8bfc)) (drop (f64.const nan:0x00fc0b00fc0a0))))"
    )
    assert sliced(code) is code


def test_longer_encodings_of_an_opcode() -> None:
    body = b"\x00\x41\x00\x41\x00\x20\x00\xfc\x8b\x80\x00\x00\x0b"
    code = (
        b"\0asm\x01\0\0\0"
        + section(1, b"\x01\x60\x01\x7f\x00")
        + section(3, b"\x01\x00")
        + section(5, b"\x01\x00\x01")
        + section(10, b"\x01" + unsigned(len(body)) + body)
    )
    wasmtime.Module.validate(EVERYTHING, code)
    changed = sliced(code)
    wasmtime.Module.validate(EVERYTHING, changed)
    assert b"\xfc\x8b" not in changed


def test_operations_with_short_constant_lengths_stay() -> None:
    code = module("(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 8191))))")
    assert sliced(code) is code
    code = module("(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 8192))))")
    assert sliced(code) is not code


def test_offsets_stay_or_sections_with_offsets_are_dropped() -> None:
    plain = module("(module (memory 1) (func (param $n i32) (memory.fill (i32.const 0) (i32.const 0) (local.get $n))))")
    debug = section(0, b"\x0b.debug_info" + b"x")
    assert debug in sliced(plain + debug)
    many = module(
        f"(module (memory 1) {'(func)' * 17_000} (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 9999))))"
    )
    changed = sliced(many + debug)
    wasmtime.Module.validate(EVERYTHING, changed)
    assert debug not in changed


def test_added_functions_have_names() -> None:
    code = module(
        "(module $m (memory 1) (func $start (memory.fill (i32.const 0) (i32.const 0) (i32.const -1))) (start $start))"
    )
    with pytest.raises(wasmtime.Trap, match=r"wasi-trio:memory\.fill") as caught:
        Running(sliced(code))
    assert "m!start\n" in caught.value.message


# ---- invalid modules -----------------------------------------------------------------------------------


def refusal(code: bytes) -> str:
    try:
        wasmtime.Module.validate(EVERYTHING, code)
    except wasmtime.WasmtimeError as error:
        return str(error)
    return ""


VALID = module(
    f'(module (memory 1) (func (param $n i32) {COPY} (block (br_table 0 0 (i32.const 0))) {COPY}) (data "x"))'
)


@given(at=st.integers(0, len(VALID) - 1), value=st.integers(0, 255))
@settings(max_examples=1000, deadline=None)
def test_rewriting_keeps_validity(at: int, value: int) -> None:
    code = VALID[:at] + bytes((value,)) + VALID[at + 1 :]
    before, after = refusal(code), refusal(sliced(code))
    if re.match("unknown (type|func)", before):
        return  # it refers to the next index, which is then an added function that does the same
    assert bool(after) == bool(before)


@pytest.mark.parametrize("length", range(8, len(VALID)))
def test_truncated_modules_stay_invalid(length: int) -> None:
    assert bool(refusal(sliced(VALID[:length]))) == bool(refusal(VALID[:length]))


def test_an_unknown_instruction_is_refused_by_wasmtime() -> None:
    code = VALID.replace(b"\x0e\x01\x00\x00", b"\xfc\x7f\x01\x01")
    assert "unknown 0xfc subopcode" in refusal(code)
    assert "unknown 0xfc subopcode" in refusal(sliced(code))


def test_undecodable_bodies_are_never_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bulk, "_RUN", re.compile(rb""))
    assert "after end of function" in refusal(sliced(VALID))


# ---- modules of toolchains -------------------------------------------------------------------------------

GUESTS = sorted((Path(__file__).parents[2] / ".guests").rglob("*.wasm"))


def core_modules(component: Component) -> list[bytes]:
    found = []
    for definition in component.definitions:
        if isinstance(definition, CoreModule):
            found.append(bytes(definition.code))
        elif isinstance(definition, Component):
            found += core_modules(definition)
    return found


@pytest.mark.skipif(not GUESTS, reason="no guest has been built yet")
def test_modules_of_toolchains() -> None:
    seen: set[bytes] = set()
    changed = 0
    for guest in GUESTS:
        for code in core_modules(decode(guest.read_bytes())):
            if code in seen:
                continue
            seen.add(code)
            for body in bodies(code) if b"\x0a" in bytes(i for i, _ in sections(memoryview(code)[8:])) else []:
                _bulk._operations(body, 0, len(body), len(body))  # includes bodies without operations
            after = sliced(code)
            wasmtime.Module.validate(EVERYTHING, after)
            changed += after is not code
    assert changed
