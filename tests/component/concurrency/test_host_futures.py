"""The host's ends of futures."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.concurrency.host_log import (
    CANCELLED,
    COMPLETED,
    DROPPED,
    Log,
    context,
    take_event,
)
from tests.component.concurrency.world import BLOCKED, World
from wasi_trio.component._errors import HostError
from wasi_trio.component._types import CHAR, STRING, U8, U16, Future, Result
from wasi_trio.component._values import Err
from wasi_trio.component.concurrency import (
    Given,
    HostFutureReader,
    HostFutureWriter,
    SharedFuture,
)


@pytest.mark.parametrize(
    ("element", "value", "data"),
    [(U8, 200, b"\xc8"), (U16, 513, b"\x01\x02"), (CHAR, "a", b"a\0\0\0"), (None, None, b"")],
)
@pytest.mark.parametrize("write_first", [False, True])
def test_a_future_from_the_host(
    world: World, log: Log, element: Any, value: Any, data: bytes, write_first: bool
) -> None:
    guest = world.guest()
    writer = HostFutureWriter(SharedFuture(element))
    index = context(guest).lower_future(writer.shared, element)
    if write_first:
        writer.start_write(value, log)
    code = guest.call("future.read", index, 64, type_=Future(element), is_async=True)
    assert code == (0 if write_first else BLOCKED)
    if not write_first:
        writer.start_write(value, log)
        assert take_event(guest, index) == (4, 0)
    assert log.take() == (COMPLETED, None)
    assert guest.read(64, len(data)) == data
    writer.drop()


@pytest.mark.parametrize(
    ("element", "value", "data"),
    [(U8, 200, b"\xc8"), (U16, 513, b"\x01\x02"), (CHAR, "a", b"a\0\0\0"), (None, None, b"")],
)
@pytest.mark.parametrize("write_first", [False, True])
def test_a_future_from_a_guest(
    world: World, log: Log, element: Any, value: Any, data: bytes, write_first: bool
) -> None:
    guest = world.guest()
    ends = guest.call("future.new", type_=Future(element))
    reader = HostFutureReader(context(guest).lift_future(ends & 0xFFFF_FFFF, element))
    pointer = guest.put(data)
    if not write_first:
        reader.start_read(log)
    code = guest.call("future.write", ends >> 32, pointer, type_=Future(element), is_async=True)
    assert code == (BLOCKED if write_first else 0)
    if write_first:
        reader.start_read(log)
    assert log.take() == (COMPLETED, value)
    reader.drop()


def test_a_future_between_host_ends(log: Log) -> None:
    writer = HostFutureWriter(SharedFuture(STRING))
    reader = HostFutureReader(writer.shared)
    reader.start_read(log)
    reader.cancel()
    assert log.take() == (CANCELLED, None)
    reader.start_read(log)
    with pytest.raises(HostError, match="during a read"):
        reader.into_shared()
    written = Log()
    writer.start_write("text", written)
    assert log.take() == (COMPLETED, "text") and written.take() == (COMPLETED, None)


def test_futures_whose_other_end_is_dropped(log: Log) -> None:
    writer = HostFutureWriter(SharedFuture(STRING))
    reader = HostFutureReader(writer.shared)
    reader.start_read(log)
    writer.drop()
    assert log.take() == (DROPPED, None)
    other = HostFutureWriter(SharedFuture(STRING))
    other.start_write("text", log)
    HostFutureReader(other.shared).into_shared().discard()
    assert log.take() == (DROPPED, None)


def test_a_future_without_a_type_has_no_value(log: Log) -> None:
    with pytest.raises(HostError, match="has no value"):
        HostFutureWriter(SharedFuture(None)).start_write(1, log)


@pytest.mark.parametrize("write_first", [False, True])
def test_an_existing_value_serves_any_number_of_futures(world: World, write_first: bool) -> None:
    type_ = Result(None, STRING)
    given = Given(type_, Err("why"))
    for guest in world.guest(), world.guest():
        for _ in range(2):
            future = SharedFuture(type_)
            index = context(guest).lower_future(future, type_)
            if write_first:
                future.write(given)
            pointer = guest.scratch(12, 4)
            code = guest.call("future.read", index, pointer, type_=Future(type_), is_async=True)
            assert code == (0 if write_first else BLOCKED)
            if not write_first:
                future.write(given)
                assert take_event(guest, index) == (4, 0)
            assert guest.read(guest.word(pointer + 4), guest.word(pointer + 8)) == b"why"
            guest.call("future.drop-readable", index, type_=Future(type_))


def test_an_existing_value_that_is_not_read(world: World) -> None:
    given = Given(U8, 7)
    guest = world.guest()
    before, after = SharedFuture(U8), SharedFuture(U8)
    before.write(given)
    for future in before, after:
        index = context(guest).lower_future(future, U8)
        guest.call("future.drop-readable", index, type_=Future(U8))
    after.write(given)
    with pytest.raises(HostError, match="u8"):
        Given(U8, "why")
