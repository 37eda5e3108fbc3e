"""Any value of any type returns from a guest unchanged."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.component.abi.world import Guest, Slots
from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._values import Err, Ok, Some, Variant, record_class

INTEGERS = {
    t.S8: (-(2**7), 2**7 - 1),
    t.U8: (0, 2**8 - 1),
    t.S16: (-(2**15), 2**15 - 1),
    t.U16: (0, 2**16 - 1),
    t.S32: (-(2**31), 2**31 - 1),
    t.U32: (0, 2**32 - 1),
    t.S64: (-(2**63), 2**63 - 1),
    t.U64: (0, 2**64 - 1),
}
FILES = t.ResourceType("file")
THINGS = t.ResourceType("thing", python_class=complex)
PLAIN = [t.BOOL, *INTEGERS, t.F32, t.F64, t.CHAR, t.STRING]


def names(count: int) -> tuple[str, ...]:
    return tuple(f"case-{i}" for i in range(count))


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    maybe = st.none() | inner
    return st.one_of(
        st.builds(t.List, inner),
        st.builds(t.List, inner, st.integers(1, 4)),
        st.builds(t.Option, inner),
        st.builds(t.Result, maybe, maybe),
        st.lists(inner, min_size=1, max_size=5).map(lambda ts: t.Tuple(tuple(ts))),
        st.lists(inner, min_size=1, max_size=5).map(lambda ts: t.Record(tuple(zip(names(len(ts)), ts, strict=True)))),
        st.lists(maybe, min_size=1, max_size=5).map(lambda ts: t.Variant(tuple(zip(names(len(ts)), ts, strict=True)))),
        st.integers(17, 20).flatmap(
            lambda n: st.lists(inner, min_size=1, max_size=3).map(
                lambda ts: t.Variant(tuple((name, ts[i % len(ts)]) for i, name in enumerate(names(n))))
            )
        ),
        st.sampled_from([1, 2, 256, 257]).map(lambda n: t.Enum(names(n))),
        st.sampled_from([1, 8, 9, 16, 17, 32]).map(lambda n: t.Flags(names(n))),
        st.builds(t.Map, st.sampled_from([*INTEGERS, t.STRING, t.CHAR, t.BOOL]), inner),
    )


#: Types that contain only data, and all types.
DATA_TYPES: st.SearchStrategy[t.ValType] = st.recursive(st.sampled_from(PLAIN), compound, max_leaves=12)
TYPES: st.SearchStrategy[t.ValType] = st.recursive(
    st.sampled_from([*PLAIN, t.Own(FILES), t.Borrow(THINGS)]), compound, max_leaves=12
)

characters = st.characters(exclude_categories=["Cs"])


def values(type_: t.ValType | None) -> st.SearchStrategy[Any]:
    match type_:
        case None:
            return st.none()
        case t.Primitive("bool"):
            return st.booleans()
        case t.Primitive("f32"):
            return st.floats(width=32)
        case t.Primitive("f64"):
            return st.floats()
        case t.Primitive("char"):
            return characters
        case t.Primitive("string"):
            return st.text(characters | st.characters(max_codepoint=255), max_size=8)
        case t.Primitive():
            return st.integers(*INTEGERS[type_])
        case t.Own() | t.Borrow():
            return st.complex_numbers(allow_nan=False)
        case t.List(t.U8, None):
            return st.binary(max_size=20)
        case t.List(t.U8, int(n)):
            return st.binary(min_size=n, max_size=n)
        case t.List(element, None):
            return st.lists(values(element), max_size=4)
        case t.List(element, int(n)):
            return st.lists(values(element), min_size=n, max_size=n)
        case t.Option(t.Option() as inner):
            return st.none() | st.builds(Some, values(inner))
        case t.Option(inner):
            return st.none() | values(inner)
        case t.Result(ok, err):
            return st.builds(Ok, values(ok)) | st.builds(Err, values(err))
        case t.Tuple(ts):
            return st.tuples(*map(values, ts))
        case t.Record(fields):
            class_ = record_class(tuple(name for name, _ in fields))
            return st.tuples(*(values(ft) for _, ft in fields)).map(lambda v: class_(*v))
        case t.Variant(cases):
            return st.one_of(*(st.builds(Variant, st.just(name), values(ct)) for name, ct in cases))
        case t.Enum(labels):
            return st.sampled_from(labels)
        case t.Flags(labels):
            return st.frozensets(st.sampled_from(labels))
        case t.Map(key, item):
            return st.dictionaries(values(key), values(item), max_size=4)
    raise AssertionError(type_)


def same(a: Any, b: Any) -> bool:
    """Return whether values are equal, where NaN equals itself, zero has a sign, and types count."""
    if type(a) is not type(b):
        return False
    match a:
        case float():
            return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
        case tuple() | list():
            return len(a) == len(b) and all(map(same, a, b))
        case dict():
            return len(a) == len(b) and all(key in b and same(item, b[key]) for key, item in a.items())
        case Ok() | Err():
            return same(a.value, b.value)
        case _:
            return bool(a == b)


cases_of_types = st.lists(TYPES, min_size=0, max_size=4).flatmap(
    lambda ts: st.tuples(st.just(tuple(ts)), st.tuples(*(values(type_) for type_ in ts)))
)
encodings = st.sampled_from(list(StringEncoding))
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(cases_of_types, encodings, st.sampled_from([0, 1, 4, 16]), st.booleans(), st.sampled_from([1, 2]))
def test_arguments(
    case: tuple[tuple[t.ValType, ...], tuple[Any, ...]],
    encoding: StringEncoding,
    max_flat: int,
    track_lends: bool,
    stride: int,
) -> None:
    types, given_values = case
    guest = Guest(stale=1 << 15)
    flats = abi.lower_values(types, encoding, max_flat)(guest.cx, given_values)
    assert len(flats) == abi.flat_count(types, max_flat)
    assert all(0 <= flat < 2**64 for flat in flats)
    core = [core for type_ in types for core in abi.flatten(type_)] if len(flats) != 1 else []
    assert all(flat < 2**32 for flat, kind in zip(flats, core, strict=False) if kind in ("i32", "f32"))
    lift = abi.lift_values(types, encoding, max_flat, stride=stride, track_lends=track_lends)
    lifted = lift(guest.cx, Slots(flats, stride))
    assert same(lifted, given_values)
    guest.check_window()


@relaxed
@given(TYPES.flatmap(lambda type_: st.tuples(st.just(type_), values(type_))), encodings, st.sampled_from([0, 1, 16]))
def test_results(case: tuple[t.ValType, Any], encoding: StringEncoding, max_flat: int) -> None:
    type_, value = case
    guest = Guest()
    retptr = guest.put(bytes(abi.size(type_)), abi.alignment(type_))
    slots = Slots([])
    abi.lower_results(type_, encoding, stride=2, max_flat=max_flat)(guest.cx, slots, retptr, value)
    count = len(abi.flatten(type_))
    if count > max_flat:
        assert not slots
        slots[0] = retptr
    else:
        assert set(slots) == set(range(0, 2 * count, 2))
    lifted = abi.lift_values((type_,), encoding, max_flat, stride=2)(guest.cx, slots)
    assert same(lifted, (value,))
    guest.check_window()


@relaxed
@given(TYPES.flatmap(lambda type_: st.tuples(st.just(type_), st.lists(values(type_), max_size=6))), encodings)
def test_elements(case: tuple[t.ValType, list[Any]], encoding: StringEncoding) -> None:
    element, items = case
    given_items: Any = bytes(items) if element == t.U8 else items
    guest = Guest()
    pointer = guest.put(bytes(len(items) * abi.size(element)), abi.alignment(element))
    abi.store_list(element, encoding)(guest.cx, pointer, given_items)
    lifted = abi.load_list(element, encoding)(guest.cx, pointer, len(items))
    assert same(lifted, given_items)
    guest.check_window()
