from __future__ import annotations

import pytest
import wasmtime.component
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.component.abi.test_abi_round_trip import DATA_TYPES
from tests.component.abi.type_text import TypeDefinitions, is_gated
from wasi_trio.component import _types as t
from wasi_trio.component import abi

FILE = t.ResourceType("file")


def labels(count: int) -> tuple[str, ...]:
    return tuple(f"n{i}" for i in range(count))


@pytest.mark.parametrize(
    ("type_", "size", "alignment", "flat"),
    [
        (t.BOOL, 1, 1, "i32"),
        (t.S8, 1, 1, "i32"),
        (t.U16, 2, 2, "i32"),
        (t.S32, 4, 4, "i32"),
        (t.U64, 8, 8, "i64"),
        (t.F32, 4, 4, "f32"),
        (t.F64, 8, 8, "f64"),
        (t.CHAR, 4, 4, "i32"),
        (t.STRING, 8, 4, "i32 i32"),
        (t.ERROR_CONTEXT, 4, 4, "i32"),
        (t.List(t.U64), 8, 4, "i32 i32"),
        (t.List(t.U16, 3), 6, 2, "i32 i32 i32"),
        (t.Map(t.U8, t.F64), 8, 4, "i32 i32"),
        (t.Own(FILE), 4, 4, "i32"),
        (t.Borrow(FILE), 4, 4, "i32"),
        (t.Stream(t.U64), 4, 4, "i32"),
        (t.Future(None), 4, 4, "i32"),
        (t.Tuple((t.U8, t.U64, t.U8)), 24, 8, "i32 i64 i32"),
        (t.Record((("a", t.U8), ("b", t.U16), ("c", t.U8))), 6, 2, "i32 i32 i32"),
        (t.Option(t.U8), 2, 1, "i32 i32"),
        (t.Option(t.U64), 16, 8, "i32 i64"),
        (t.Result(None, None), 1, 1, "i32"),
        (t.Result(t.F32, t.U32), 8, 4, "i32 i32"),
        (t.Result(t.F32, t.F32), 8, 4, "i32 f32"),
        (t.Result(t.F32, t.F64), 16, 8, "i32 i64"),
        (t.Result(t.STRING, t.F64), 16, 8, "i32 i64 i32"),
        (t.Enum(labels(256)), 1, 1, "i32"),
        (t.Enum(labels(257)), 2, 2, "i32"),
        (t.Enum(labels(65536)), 2, 2, "i32"),
        (t.Enum(labels(65537)), 4, 4, "i32"),
        (t.Flags(labels(8)), 1, 1, "i32"),
        (t.Flags(labels(9)), 2, 2, "i32"),
        (t.Flags(labels(17)), 4, 4, "i32"),
        (t.Flags(labels(32)), 4, 4, "i32"),
        (t.Variant((("a", None), ("b", t.U16), ("c", t.Tuple((t.U8, t.F32))))), 12, 4, "i32 i32 f32"),
    ],
)
def test_layout(type_: t.ValType, size: int, alignment: int, flat: str) -> None:
    assert abi.size(type_) == size
    assert abi.alignment(type_) == alignment
    assert abi.flatten(type_) == tuple(flat.split())


def test_flat_count() -> None:
    assert abi.flat_count((), 16) == 0
    assert abi.flat_count((t.STRING,) * 8, 16) == 16
    assert abi.flat_count((*(t.STRING,) * 8, t.U8), 16) == 1
    # This must count without constructing the flat form.
    assert abi.flat_count((t.List(t.List(t.U64, 2**31), 2**31),), 16) == 1


@pytest.mark.parametrize(
    ("params", "result", "context", "is_async", "callback", "expected"),
    [
        ((), None, "lift", False, False, ((), ())),
        ((t.U64,), t.F32, "lower", False, False, (("i64",), ("f32",))),
        ((t.U64,), t.STRING, "lift", False, False, (("i64",), ("i32",))),
        ((t.U64,), t.STRING, "lower", False, False, (("i64", "i32"), ())),
        ((t.U64,) * 16, None, "lower", False, False, (("i64",) * 16, ())),
        ((t.U64,) * 17, t.STRING, "lower", False, False, (("i32", "i32"), ())),
        ((t.U64,) * 17, None, "lift", False, False, (("i32",), ())),
        ((t.U64,) * 4, None, "lower", True, False, (("i64",) * 4, ("i32",))),
        ((t.U64,) * 4, t.U64, "lower", True, False, (("i64", "i64", "i64", "i64", "i32"), ("i32",))),
        ((t.U64,) * 5, t.U64, "lower", True, False, (("i32", "i32"), ("i32",))),
        ((t.U64,) * 16, t.U64, "lift", True, False, (("i64",) * 16, ())),
        ((t.U64,) * 17, t.U64, "lift", True, True, (("i32",), ("i32",))),
    ],
)
def test_core_signature(
    params: tuple[t.ValType, ...],
    result: t.ValType | None,
    context: str,
    is_async: bool,
    callback: bool,
    expected: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    type_ = t.FuncType(tuple((f"p{i}", p) for i, p in enumerate(params)), result)
    assert context in ("lift", "lower")
    assert abi.core_signature(type_, context, is_async, callback) == expected  # type: ignore[arg-type]


ENGINE = wasmtime.Engine()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(DATA_TYPES.filter(lambda ty: not is_gated(ty)), min_size=1, max_size=4))
def test_the_engine_agrees_on_core_signatures(types: list[t.ValType]) -> None:
    """wasmtime's validator compares the signature of ``canon lower`` with a core module's import."""
    wat = TypeDefinitions()
    refs = [wat.ref(type_) for type_ in types]
    type_ = t.FuncType(tuple((f"p{i}", p) for i, p in enumerate(types[1:])), types[0])
    params = " ".join(f'(param "p{i}" {ref})' for i, ref in enumerate(refs[1:]))
    core_params, core_results = abi.core_signature(type_, "lower")
    signature = f"(param {' '.join(core_params)}) (result {' '.join(core_results)})"
    text = f"""(component
      {" ".join(wat.lines)}
      (import "f" (func $f {params} (result {refs[0]})))
      (core module $libc (memory (export "m") 1)
        (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
      (core instance $libc (instantiate $libc))
      (core func $g (canon lower (func $f) (memory (core memory $libc "m")) (realloc (core func $libc "r"))))
      (core module $main (import "" "g" (func {signature})))
      (core instance (instantiate $main (with "" (instance (export "g" (func $g)))))))"""
    wasmtime.component.Component(ENGINE, wasmtime.wat2wasm(text))


def test_lends_are_counted_only_if_it_matters() -> None:
    borrow, own = t.Borrow(FILE), t.Own(FILE)
    assert not abi.needs_lends(t.FuncType(()))
    assert not abi.needs_lends(t.FuncType((("self", borrow), ("n", t.U64)), t.List(t.U8)))
    assert not abi.needs_lends(t.FuncType((("a", own),), own))
    assert abi.needs_lends(t.FuncType((("self", borrow),), own))
    assert abi.needs_lends(t.FuncType((("self", t.List(t.Option(borrow))), ("a", t.Result(None, own)))))
    assert abi.needs_lends(t.FuncType((("self", borrow), ("s", t.Stream(t.U8)))))
    assert abi.needs_lends(t.FuncType((("self", borrow),), t.Future(None)))
    assert abi.needs_lends(t.FuncType((("self", borrow),), None, is_async=True))
