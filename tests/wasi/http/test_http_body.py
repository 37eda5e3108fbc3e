from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from wasi_trio.wasi.http._body import Body, BodyAborted, BodyClosed, BodyEnd
from wasi_trio.wasi.http._errors import HttpError


def at_once(coroutine):
    """Return the result of a coroutine that does not wait."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


def test_bytes_go_through_without_a_wait():
    body = Body(10)
    assert body.permit() == 10
    assert body.try_write(b"hello") == 5
    assert body.available() == 5
    at_once(body.wait_permit())
    at_once(body.send_all(b"abc"))
    at_once(body.wait_readable())
    assert at_once(body.receive_some(6)) == b"helloa"
    assert body.take(0) == b""
    assert at_once(body.receive_some()) == b"bc"
    assert body.take(5) == b""
    assert not body.ended
    body.finish([("t", b"1")])
    assert body.ended
    assert at_once(body.receive_some()) == b""
    assert body.trailers == [("t", b"1")]


def test_a_single_write_is_not_copied():
    body = Body()
    data = bytes(50_000)
    body.try_write(data)
    assert body.take(1 << 20) is data


def test_the_host_acts_when_the_guest_would_wait():
    body = Body(10)
    to_come = [b"hello", b"world!"]
    body.on_underflow = lambda: to_come and body.try_write(to_come.pop(0))
    assert body.available() == 5
    assert body.available() == 5
    assert body.take(5) == b"hello"
    assert body.available() == 6
    assert body.take(6) == b"world!"
    assert body.available() == 0

    gone = []
    body.on_underflow = None
    body.on_full = lambda: gone.append(body.take(4))
    body.try_write(b"0123456789")
    assert body.permit() == 4
    assert body.permit() == 4
    assert gone == [b"0123"]
    body.on_full = None
    body.try_write(b"0123456789")
    assert body.permit() == 0


def test_capacity_bounds_the_content():
    body = Body(4)
    assert body.try_write(b"abcdef") == 4
    assert body.permit() == 0
    assert body.try_write(b"g") == 0
    assert body.take(1) == b"a"
    assert body.permit() == 1
    at_once(body.wait_permit(1))
    assert body.try_write(memoryview(b"xyz")) == 1
    assert body.take(9) == b"bcdx"


def test_whole_bodies():
    empty = Body.empty()
    assert empty.ended
    assert at_once(empty.receive_some()) == b""
    whole = Body.of(b"content", [("t", b"1")])
    assert whole.finished
    assert not whole.ended
    assert at_once(whole.receive_some()) == b"content"
    assert whole.ended
    assert Body.of(b"").ended


def test_writing_after_the_end_is_refused():
    body = Body.of(b"x")
    with pytest.raises(BodyClosed):
        body.try_write(b"y")
    with pytest.raises(BodyClosed):
        at_once_error(body.send_all(b"y"))
    assert body.permit() == 0


def at_once_error(coroutine):
    coroutine.send(None)


def test_an_aborted_body_yields_its_content_and_then_its_error():
    error = HttpError("connection-terminated")
    body = Body()
    body.try_write(b"some")
    body.abort(error)
    body.abort(HttpError("loop-detected"))
    body.finish()
    assert at_once(body.receive_some()) == b"some"
    for _ in range(2):
        with pytest.raises(BodyAborted) as caught:
            at_once_error(body.receive_some())
        assert caught.value.error is error


def test_an_end_is_final():
    body = Body()
    body.finish([("a", b"")])
    body.abort(HttpError("loop-detected"))
    body.finish([("b", b"")])
    assert body.error is None
    assert body.trailers == [("a", b"")]


def test_closing_discards_content_and_notifies_the_writer():
    body = Body()
    calls = []
    body.subscribe_left(lambda: calls.append(1))
    body.try_write(b"x")
    body.close()
    body.close()
    assert calls == [1]
    assert body.available() == 0
    assert body.ended
    assert at_once(body.receive_some()) == b""
    with pytest.raises(BodyClosed):
        body.try_write(b"y")
    body.abort(HttpError("loop-detected"))
    assert at_once(body.receive_some()) == b""


def test_closing_after_the_end_notifies_no_one():
    body = Body.of(b"x")
    body.subscribe_left(lambda: pytest.fail("the writer had finished"))
    body.close()
    assert body.ended


@pytest.mark.parametrize(
    "event",
    [lambda body: body.try_write(b"x"), Body.finish, Body.close, lambda body: body.abort(HttpError("loop-detected"))],
)
async def test_every_waiting_reader_wakes(event):
    body = Body()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(body.wait_readable)
        nursery.start_soon(body.wait_readable)
        await wait_all_tasks_blocked()
        event(body)


@pytest.mark.parametrize(
    "event", [lambda body: body.take(2), Body.finish, Body.close, lambda body: body.abort(HttpError("loop-detected"))]
)
async def test_every_waiting_writer_wakes(event):
    body = Body(4)
    body.try_write(b"1234")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(body.wait_permit)
        nursery.start_soon(body.wait_permit)
        await wait_all_tasks_blocked()
        event(body)


@pytest.mark.parametrize(("capacity", "held", "least"), [(4, 4, 1), (8, 6, 3)])
async def test_a_body_with_too_little_room_wakes_its_writer_only_once_half_is_taken(capacity, held, least):
    body = Body(capacity)
    at_once(body.wait_permit(least))
    body.try_write(bytes(held))
    woken = trio.Event()

    async def wait():
        await body.wait_permit(least)
        woken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        body.take(1)
        await wait_all_tasks_blocked()
        assert not woken.is_set()
        body.take(1)
        await wait_all_tasks_blocked()
        assert woken.is_set()


def test_a_part_of_a_large_write_is_viewed_and_not_copied():
    body = Body()
    data = bytes(range(250)) * 200
    body.try_write(data)
    first = body.take_view(20_000)
    rest = body.take_view(50_000)
    for piece in (first, rest):
        assert isinstance(piece, memoryview)
        assert piece.obj is data
    assert bytes(first) + bytes(rest) == data
    assert body.take_view(10) == b""


def test_all_pieces_are_taken_at_once():
    body = Body()
    one, two = bytes(5000), bytes(6000)
    body.try_write(one)
    body.try_write(two)
    body.finish()
    first, second = at_once(body.receive_pieces())
    assert first is one
    assert second is two
    assert body.ended
    assert at_once(body.receive_pieces()) == []


def test_pieces_of_a_body_that_was_cut():
    body = Body()
    body.try_write(b"some")
    body.abort(HttpError("connection-terminated"))
    assert at_once(body.receive_pieces()) == [b"some"]
    with pytest.raises(BodyAborted):
        at_once_error(body.receive_pieces())


async def test_a_cancelled_wait_loses_nothing():
    body = Body(4)
    with trio.move_on_after(0):
        await body.receive_some()
    body.try_write(b"1234")
    with trio.move_on_after(0):
        await body.wait_permit()
    assert body.take(9) == b"1234"


async def test_send_all_is_cut_short_when_the_reader_leaves():
    body = Body(4)
    async with trio.open_nursery() as nursery:

        async def write():
            with pytest.raises(BodyClosed):
                await body.send_all(bytes(100))

        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        body.take(1)
        await wait_all_tasks_blocked()
        body.close()


takes = st.tuples(st.sampled_from(["take", "take_view", "take_pieces"]), st.integers(0, 50))
steps = st.lists(st.one_of(st.binary(max_size=40), takes), max_size=60)


@given(steps, st.integers(1, 64), st.sampled_from([0, 4, 4096]))
def test_bytes_in_are_bytes_out(sequence, capacity, small):
    from wasi_trio.wasi.http import _body as module

    kept, module._SMALL = module._SMALL, small
    try:
        body = Body(capacity)
        written, read = bytearray(), bytearray()
        for step in sequence:
            if isinstance(step, tuple):
                way, size = step
                there = len(written) - len(read)
                if way == "take_pieces":
                    data = b"".join(body.take_pieces())
                    assert len(data) == there
                else:
                    data = getattr(body, way)(size)
                    assert len(data) == min(size, there)
                    assert type(data) is bytes or way == "take_view"
                read += data
            else:
                accepted = body.try_write(step)
                assert accepted == min(len(step), capacity - (len(written) - len(read)))
                written += step[:accepted]
            assert body.available() == len(written) - len(read) <= capacity
        read += body.take(1 << 20)
        assert read == written
    finally:
        module._SMALL = kept


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(1, 100), min_size=1), st.integers(1, 100))
def test_two_tasks_pass_a_stream(chunks, sizes, capacity):
    async def main():
        body = Body(capacity)
        read = bytearray()

        async def write():
            for chunk in chunks:
                await body.send_all(chunk)
                await trio.lowlevel.checkpoint()
            body.finish()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            turn = 0
            while data := await body.receive_some(sizes[turn % len(sizes)]):
                read += data
                turn += 1
        assert read == b"".join(chunks)

    trio.run(main)


def test_a_reader_may_leave_a_callback_instead_of_waiting():
    body = Body()
    called = []
    body.on_readable = lambda: called.append(body.take(100))
    body.try_write(b"one")
    body.try_write(b"two")
    assert called == [b"one"]
    assert body.take(100) == b"two"
    body.on_readable = lambda: called.append(body.ended)
    body.finish()
    assert called == [b"one", True]


def test_a_writer_may_leave_a_callback_instead_of_waiting():
    body = Body(10)
    body.try_write(bytes(10))
    called = []
    body.on_permit = lambda: called.append(body.permit())
    body.take(4)
    assert called == []
    body.take(1)
    body.take(1)
    assert called == [5]
    body.on_permit = lambda: called.append(body.closed)
    body.close()
    assert called == [5, True]


@pytest.mark.parametrize(
    ("act", "end"),
    [
        (lambda body: (body.finish(), body.take(9)), BodyEnd.WHOLE),
        (lambda body: (body.take(9), body.finish()), BodyEnd.WHOLE),
        (lambda body: (body.abort(HttpError("loop-detected")), body.take(9)), BodyEnd.CUT),
        (lambda body: (body.take(9), body.abort(HttpError("loop-detected"))), BodyEnd.CUT),
        (lambda body: (body.take(9), body.close()), BodyEnd.LEFT),
        (lambda body: (body.finish(), body.close()), BodyEnd.UNREAD),
        (lambda body: (body.abort(HttpError("loop-detected")), body.close()), BodyEnd.UNREAD),
        (lambda body: (body.finish(), body.take(1), body.take(9), body.close()), BodyEnd.WHOLE),
        (lambda body: (body.finish(), Body().move_from(body), body.close()), BodyEnd.WHOLE),
    ],
)
def test_each_subscriber_is_told_the_end_once_and_in_order(act, end):
    body = Body()
    told = []
    for number in (1, 2):
        body.subscribe_end(lambda end, number=number: told.append((number, end, body.ended)))
    body.try_write(b"abc")
    assert told == []
    act(body)
    assert told == [(1, end, True), (2, end, True)]
    assert body.end is end
    body.subscribe_end(lambda end: told.append((3, end, body.ended)))
    assert told[2:] == [(3, end, True)]


@pytest.mark.parametrize("content", [b"", b"x"])
def test_a_complete_body_ends_after_its_last_byte(content):
    told = []
    for body in Body.of(content), Body.of(content, [("a", b"b")]), Body.empty():
        body.subscribe_end(told.append)
        body.take(1)
    assert told == [BodyEnd.WHOLE] * 3


def test_content_moves_from_one_body_to_another_without_a_copy():
    first, second = Body(), Body()
    data = [bytes(50_000), bytes([1]) * 5000]
    for part in data:
        first.try_write(part)
    permits = []
    first.on_permit = lambda: permits.append(first.permit())
    second.move_from(first)
    assert permits == [first.capacity]
    assert (first.buffered, second.buffered) == (0, 55_000)
    assert second.take(50_000) is data[0]
    assert second.take(5000) is data[1]
    first.finish()
    second.move_from(first)
    assert second.buffered == 0
    second.close()
    with pytest.raises(BodyClosed):
        second.move_from(first)
