"""Checks before lowering: they raise what lowering raises, and change nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.component.abi.test_abi_round_trip import TYPES, values
from tests.component.abi.world import Guest
from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._errors import HostError
from wasi_trio.component._handles import BorrowScope
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._values import GuestResource
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.runtime._streams import FutureReader, StreamReader

COUNTERS = t.ResourceType("counter", owner=3)


def lowering(type_: t.ValType, value: Any) -> str | None:
    """Return the error of lowering a value, or None."""
    context = Guest().cx
    context.scope = BorrowScope()
    try:
        abi.lower_values((type_,), StringEncoding.UTF8, 0)(context, (value,))
    except HostError as error:
        return str(error)
    return None


def fitting(type_: t.ValType, value: Any) -> str | None:
    try:
        abi.fit(type_)(value)
    except HostError as error:
        return str(error)
    return None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=300)
@given(st.data())
def test_values_of_any_type_are_checked_as_in_lowering(data: st.DataObject) -> None:
    """The value is one of the type, or of another."""
    type_ = data.draw(TYPES)
    value = data.draw(values(type_) | TYPES.flatmap(values))
    assert (fitting(type_, value) is None) == (lowering(type_, value) is None)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=100)
@given(st.data())
def test_fitting_values_fit(data: st.DataObject) -> None:
    type_ = data.draw(TYPES)
    assert fitting(type_, data.draw(values(type_))) is None


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (t.Tuple((t.U8, t.S64)), (1, 2**63)),
        (t.List(t.U16), [1, 70_000]),
        (t.List(t.STRING), ["a", b"b"]),
        (t.List(t.U8), [1, 2]),
        (t.STRING, "\ud800"),
        (t.Record((("a", t.U8),)), object()),
        (t.Variant((("a", None), ("b", t.CHAR))), ("b", "two")),
        (t.Variant((("a", None), ("b", t.CHAR))), ("a", "one")),
        (t.Result(None, t.STRING), "ok"),
        (t.Option(t.Option(t.U8)), 1),
        (t.Flags(("a", "b")), {"c"}),
        (t.Map(t.STRING, t.U8), {"a": "b"}),
        (t.Stream(t.U8), b"abc"),
        (t.Stream(t.U8), SharedFuture(t.U8)),
        (t.Future(None), None),
        (t.ERROR_CONTEXT, "an error"),
        (t.Own(COUNTERS), 5),
        (t.Own(COUNTERS), GuestResource(COUNTERS, None)),
        (t.Borrow(COUNTERS), GuestResource(t.ResourceType("other", owner=3), 1)),
    ],
)
def test_the_errors_are_those_of_lowering(type_: t.ValType, value: Any) -> None:
    assert fitting(type_, value) is not None
    assert fitting(type_, value) == lowering(type_, value)


def test_checking_takes_nothing() -> None:
    counter, stream, future = GuestResource(COUNTERS, 1), SharedStream(t.U8), SharedFuture(None)
    ends = StreamReader[bytes](stream), FutureReader[None](future)
    types = (t.Own(COUNTERS), t.Stream(t.U8), t.Future(None), t.U8)
    check = abi.fit_arguments(types, 3)
    assert check is not None
    with pytest.raises(HostError, match="u8"):
        check((counter, *ends, 256))
    check((counter, *ends, 255))
    assert counter.rep == 1
    assert ends[0].into_shared() is stream
    assert ends[1].into_shared() is future


@pytest.mark.parametrize(
    ("types", "needed"),
    [
        ((t.U8, t.STRING), False),
        ((t.U8, t.Own(COUNTERS)), False),
        ((t.Borrow(COUNTERS), t.STRING), False),
        ((t.Own(COUNTERS), t.STRING), True),
        ((t.U8, t.Stream(t.U8)), False),
        ((t.Stream(t.U8), t.U8), True),
        ((t.List(t.Own(COUNTERS)),), True),
    ],
)
def test_checks_cost_nothing_without_transfers(types: tuple[t.ValType, ...], needed: bool) -> None:
    assert (abi.fit_arguments(types, 3) is not None) == needed
