"""Streams and futures in the style of trio."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wasi_trio.component._errors import HostError
from wasi_trio.component._types import STRING, U8, U32, Tuple
from wasi_trio.runtime._streams import FutureReader, StreamReader, discard, make_future, make_stream


async def test_bytes_arrive_as_they_are_sent():
    writer, stream = make_stream(U8)
    reader = StreamReader(stream)
    received = []

    async def read():
        async for data in reader:
            received.append(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await writer.send_all(b"hello")
        await writer.send_all(b"")
        await writer.send_all(bytearray(b"world"))
        await writer.aclose()
    assert received == [b"hello", b"world"]
    assert await reader.receive() == b""
    assert await reader.receive() == b""


async def test_a_write_waits_until_all_of_it_is_read():
    writer, stream = make_stream(U8)
    reader = StreamReader(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, b"abcdefgh")
        await wait_all_tasks_blocked()
        assert await reader.receive(3) == b"abc"
        assert await reader.receive(3) == b"def"
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert await reader.receive(3) == b"gh"


async def test_other_elements_come_as_lists():
    for type_, items in [(U32, [1, 2**32 - 1]), (STRING, ["a", "", "b"])]:
        writer, stream = make_stream(type_)
        reader = StreamReader(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.send_all, items)
            assert await reader.receive() == items
        writer.close()
        assert not await reader.receive()


async def test_elements_without_content_are_counted():
    writer, stream = make_stream(None)
    reader = StreamReader(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, 5)
        await wait_all_tasks_blocked()
        assert await reader.receive(3) == 3
        assert await reader.receive(3) == 2
    writer.close()
    assert await reader.receive() == 0


async def test_a_cancelled_receive_takes_nothing(autojump_clock):
    writer, stream = make_stream(U8)
    reader = StreamReader(stream)
    with trio.move_on_after(1) as scope:
        await reader.receive()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, b"kept")
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await reader.receive()
        assert scope.cancelled_caught
        assert await reader.receive() == b"kept"


async def test_a_cancelled_send_may_have_sent_some(autojump_clock):
    writer, stream = make_stream(U8)
    reader = StreamReader(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, b"abcdef")
        await wait_all_tasks_blocked()
        assert await reader.receive(2) == b"ab"
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, b"xyz")
        assert await reader.receive() == b"xyz"


async def test_a_writer_whose_reader_is_closed():
    writer, stream = make_stream(U8)
    reader = StreamReader(stream)
    async with trio.open_nursery() as nursery:

        async def send():
            with pytest.raises(trio.BrokenResourceError):
                await writer.send_all(b"nobody reads this")

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        reader.close()
    with pytest.raises(trio.BrokenResourceError):
        await writer.send_all(b"nor this")


async def test_a_closed_half_raises():
    writer, stream = make_stream(U8)
    reader = StreamReader(stream)
    async with trio.open_nursery() as nursery:

        async def read():
            with pytest.raises(trio.ClosedResourceError):
                await reader.receive()

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        await reader.aclose()
    reader.close()
    for use in (reader.receive(), reader.__anext__()):
        with pytest.raises(trio.ClosedResourceError):
            await use
    async with writer:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await writer.send_all(b"")


async def test_a_half_is_for_one_task_at_a_time():
    writer, stream = make_stream(U8)
    reader = StreamReader(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await reader.receive()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, b"a")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await writer.send_all(b"b")
        nursery.cancel_scope.cancel()


async def test_every_operation_is_a_checkpoint():
    writer, stream = make_stream(U8)
    reader = StreamReader(stream)
    future_writer, future = make_future(U8)
    future_reader = FutureReader(future)
    future_writer.set(1)
    writer.close()
    for operation in (reader.receive, reader.aclose, future_reader.get, future_reader.get, future_reader.aclose):
        with trio.testing.assert_checkpoints():
            await operation()
    other, _ = make_stream(U8)
    with trio.testing.assert_checkpoints():
        await other.send_all(b"")


async def test_wrong_uses_raise():
    writer, stream = make_stream(U32)
    with pytest.raises(HostError):
        await writer.send_all([-1])
    with pytest.raises(HostError, match="transferred earlier"):
        StreamReader(stream) and StreamReader(stream)
    with pytest.raises(ValueError, match="at least 1"):
        await StreamReader(make_stream(U8)[1]).receive(0)


async def test_a_wrong_element_is_refused_before_anybody_reads(autojump_clock):
    writer, stream = make_stream(STRING)
    with pytest.raises(HostError, match="string cannot be made from a Python int"):
        await writer.send_all(["a", 5])
    reader = StreamReader(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, ["b"])
        assert await reader.receive() == ["b"]
    value, future = make_future(STRING)
    with pytest.raises(HostError, match="string cannot be made from a Python int"):
        value.set(5)
    value.set("c")
    assert await FutureReader(future).get() == "c"


def test_types_in_the_notation_of_wit():
    assert make_stream("u8")[1].element.type == U8
    assert make_future("string")[1].element.type == STRING
    assert make_stream("tuple<string, u32>")[1].element.type == Tuple((STRING, U32))
    with pytest.raises(ValueError, match=r"'product' is not a type of WIT, or a name, .*unknown type"):
        make_stream("product")


async def test_a_reader_may_pass_its_stream_on():
    writer, stream = make_stream(U8)
    first = StreamReader(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, b"abc")
        await wait_all_tasks_blocked()
        assert await first.receive(1) == b"a"
        second = StreamReader(first.into_shared())
        with pytest.raises(trio.ClosedResourceError):
            await first.receive()
        first.close()
        assert await second.receive() == b"bc"


async def test_a_value_is_kept_until_it_is_asked_for():
    writer, future = make_future(STRING)
    writer.set("value")
    reader = FutureReader(future)
    assert await reader.get() == "value"
    assert await reader.get() == "value"
    with pytest.raises(RuntimeError, match="already has a value"):
        writer.set("another")
    writer.close()


async def test_a_value_is_waited_for(autojump_clock):
    writer, future = make_future(U8)
    reader = FutureReader(future)
    with trio.move_on_after(1) as scope:
        await reader.get()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:

        async def get():
            assert await reader.get() == 7

        nursery.start_soon(get)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await reader.get()
        writer.set(7)


async def test_a_future_whose_writer_closes():
    writer, future = make_future(U8)
    reader = FutureReader(future)
    async with trio.open_nursery() as nursery:

        async def get():
            with pytest.raises(trio.BrokenResourceError, match="closed without a value"):
                await reader.get()

        nursery.start_soon(get)
        await wait_all_tasks_blocked()
        writer.close()
    with pytest.raises(trio.BrokenResourceError):
        await reader.get()
    with pytest.raises(RuntimeError, match="already has a value or is closed"):
        writer.set(1)


async def test_a_future_without_a_reader():
    writer, future = make_future(U8)
    reader = FutureReader(future)
    async with reader:
        pass
    writer.set(1)
    with pytest.raises(trio.ClosedResourceError):
        await reader.get()


async def test_a_host_function_can_discard_readable_halves():
    writer, stream = make_stream(U8)
    discard(StreamReader(stream))
    with pytest.raises(trio.BrokenResourceError):
        await writer.send_all(b"a")
    writer, stream = make_stream(U8)
    discard(stream)
    with pytest.raises(trio.BrokenResourceError):
        await writer.send_all(b"a")
    writer, future = make_future(U8)
    discard(FutureReader(future))
    writer.set(1)
