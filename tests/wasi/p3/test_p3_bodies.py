"""Contents of messages between guests and bodies."""

from __future__ import annotations

import gc

import pytest
from p3_guest import BUFFER, CANCELLED, DROPPED, GuestReader, GuestWriter, Watched, trailers

from wasi_trio.component import _types as t
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.runtime._streams import make_future
from wasi_trio.wasi.http._body import CAPACITY, Body
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._lengths import ContentLength
from wasi_trio.wasi.p3._http_bodies import BodyStream, GuestContents, HostContents, Outlet, Transmission, trailers_of
from wasi_trio.wasi.p3._http_fields import Fields
from wasi_trio.wasi.p3._http_types import RESULT, TRAILERS

SIZE = "HTTP-response-body-size"


# ---- a Body that a guest reads -----------------------------------------------------------------------------


def test_a_guest_reads_available_data():
    body = Body()
    body.try_write(b"hello")
    reader = GuestReader(BodyStream(body))
    assert reader.read(3) == b"hel"
    assert reader.read() == b"lo"
    body.try_write(b"more")
    assert reader.read() == b"more"
    body.finish()
    assert reader.read() == DROPPED


def test_a_waiting_guest_receives_data():
    body = Body()
    reader = GuestReader(BodyStream(body))
    assert reader.read() is None
    assert reader.event() is None
    body.try_write(b"one")
    body.try_write(b"two")
    assert reader.event() == b"one"
    assert reader.read(0) == b""
    assert reader.read() == b"two"
    assert reader.read(0) is None
    body.try_write(b"three")
    assert reader.event() == b""
    assert reader.read(100) == b"three"
    assert reader.read() is None
    body.finish()
    assert reader.event() == DROPPED


def test_nothing_is_taken_that_no_guest_asked_for():
    body = Body()
    reader = GuestReader(BodyStream(body))
    assert reader.read(1) is None
    body.try_write(bytes(CAPACITY))
    assert body.buffered == CAPACITY - 1
    assert reader.event() == b"\0"
    assert body.buffered == CAPACITY - 1


def test_a_guest_may_cancel_its_read():
    body = Body()
    reader = GuestReader(BodyStream(body))
    assert reader.read() is None
    assert reader.cancel() == CANCELLED
    body.try_write(b"abc")
    assert body.buffered == 3
    assert reader.read() == b"abc"
    assert reader.read() is None
    assert reader.cancel() == CANCELLED
    assert reader.read() is None
    body.try_write(b"def")
    assert reader.event() == b"def"


def test_to_drop_the_stream_closes_the_body():
    for prepare in (lambda reader: None, lambda reader: (reader.read(), reader.cancel())):
        body = Body()
        reader = GuestReader(BodyStream(body))
        prepare(reader)
        reader.drop()
        assert body.closed
        assert body.on_readable is None


def test_a_guest_that_dies_closes_the_body():
    body = Body()
    reader = GuestReader(BodyStream(body))
    assert reader.read() is None
    list(reader.guest.instance.abandon())
    assert body.closed
    body = Body.of(b"all of it")
    reader = GuestReader(BodyStream(body))
    assert reader.read() == b"all of it"
    list(reader.guest.instance.abandon())
    assert body.ended
    assert not body.closed


def test_a_body_that_the_host_closes_ends_the_stream():
    body = Body()
    reader = GuestReader(BodyStream(body))
    assert reader.read() is None
    body.close()
    assert reader.event() == DROPPED


@pytest.mark.parametrize(
    ("end", "value"),
    [
        (lambda body: body.finish(), Ok(None)),
        (lambda body: body.abort(HttpError("connection-terminated")), Err(Variant("connection-terminated"))),
        (lambda body: body.close(), Err(Variant("connection-terminated"))),
        (lambda body: body.close(HttpError("connection-timeout")), Err(Variant("connection-timeout"))),
    ],
)
def test_trailers_come_when_the_body_has_ended(end, value):
    body = Body()
    future = Watched(trailers_of(body, BodyStream(body)))
    body.try_write(b"abc")
    end(body)
    assert future.value is None or body.closed
    body.take(3)
    assert future.value == value
    assert Watched(trailers_of(body, BodyStream(body))).value == value


def test_trailers_are_immutable_and_lack_forbidden_fields():
    body = Body()
    future = Watched(trailers_of(body, BodyStream(body)))
    body.finish([("A", b"1"), ("transfer-encoding", b"chunked")])
    fields = future.value.value
    assert isinstance(fields, Fields)
    assert fields.copy_all() == [("A", b"1")]
    assert fields.immutable


def test_a_guest_that_could_not_handle_the_message_closes_its_body():
    body = Body()
    writer, result = make_future(RESULT)
    HostContents(body).consume(result)
    writer.set(Err(Variant("internal-error", "why")))
    assert body.closed
    assert body.refusal is not None
    assert body.refusal.code == Variant("internal-error", "why")
    for settle in (lambda writer: writer.set(Ok()), lambda writer: writer.close()):
        body = Body()
        writer, result = make_future(RESULT)
        HostContents(body).consume(result)
        settle(writer)
        assert not body.closed


def test_futures_of_the_host_fit_the_types_of_any_component():
    fields = t.ResourceType("fields")
    own = t.Result(t.Option(t.Own(fields)), TRAILERS.err)
    assert own == TRAILERS == own
    assert t.Result(t.Option(t.Own(t.ResourceType("request"))), TRAILERS.err) != TRAILERS
    assert t.Result(t.Option(t.Own(t.ResourceType("fields", owner=0))), TRAILERS.err) != TRAILERS
    reader = GuestReader(BodyStream(Body()))
    fields.python_class = Fields
    index = reader.context.lower_future(trailers_of(Body.of(b"", [("a", b"1")])), own)
    pointer = reader.guest.scratch(64)
    assert reader.guest.call("future.read", index, pointer, type_=t.Future(own), is_async=True) == 0
    ok, some, handle = reader.guest.word(pointer), reader.guest.word(pointer + 8), reader.guest.word(pointer + 12)
    assert (ok, some) == (0, 1)
    assert reader.guest.handles.resource(handle, fields).rep.copy_all() == [("a", b"1")]


@pytest.mark.parametrize("more", [b"", b"y" * 1000])
def test_an_abandoned_passed_on_body_leaves_no_cycle(more):
    """This also holds while it waits for room."""
    gc.collect()
    gc.disable()
    try:
        source = Body()
        source.try_write(b"x" * CAPACITY)
        body = GuestContents(BodyStream(source), make_future(TRAILERS)[1]).to_body(ContentLength(None), SIZE)
        source.try_write(more)
        assert any(isinstance(kept, Outlet) for kept in gc.get_objects())
        body.close()
        del source, body
        assert not any(isinstance(kept, Outlet) for kept in gc.get_objects())
    finally:
        gc.enable()


# ---- a Body from a guest's contents ------------------------------------------------------------------------


class Sent:
    """A message from a guest to the host."""

    def __init__(self, expected=None, *, contents=True, applies=True):
        self.writer = GuestWriter() if contents else None
        self.trailers, future = trailers()
        made = GuestContents(self.writer.stream if contents else None, future)
        self.transmission = Watched(made.transmission.future)
        self.body = made.to_body(ContentLength(expected, applies), SIZE)


def test_writes_reach_the_body():
    sent = Sent()
    assert sent.writer.write(b"hello") == 5
    assert sent.body.take(100) == b"hello"
    assert sent.writer.write(b"") == 0
    assert sent.writer.write(b"world") == 5
    sent.writer.drop()
    assert not sent.body.finished
    sent.trailers.set(Ok(None))
    assert sent.body.finished
    assert sent.transmission.value is None
    assert sent.body.take(100) == b"world"
    assert sent.body.ended
    assert sent.transmission.value == Ok()


def test_earlier_writes_reach_the_body():
    writer = GuestWriter()
    assert writer.write(b"early") is None
    made, future = trailers()
    made.set(Ok(None))
    body = GuestContents(writer.stream, future).to_body(ContentLength(5), SIZE)
    assert body.take(100) == b"early"
    assert writer.guest.handles.get(writer.index).progress == 5
    assert writer.event() == DROPPED  # the host needs no more
    writer.drop()
    assert body.ended


def test_a_guest_that_is_ahead_waits():
    sent = Sent()
    written = 0
    while (count := sent.writer.write(bytes(BUFFER))) == BUFFER:
        written += count
    assert written == CAPACITY
    assert count is None
    assert sent.writer.event() is None
    sent.body.take(CAPACITY // 2)
    assert sent.writer.event() == BUFFER
    assert sent.body.buffered == CAPACITY // 2 + BUFFER


def test_a_write_larger_than_the_room_is_taken_in_pieces():
    writer = GuestWriter()
    assert writer.write(bytes(60_000)) is None
    content = GuestContents(writer.stream, trailers()[1])
    body = content.to_body(ContentLength(None), SIZE)
    body.capacity = 1000
    assert writer.event() == 60_000
    assert body.buffered == 60_000
    assert writer.write(bytes(60_000)) is None
    body.take(60_000)
    assert writer.event() == 1000
    assert writer.write(bytes(60_000)) is None
    body.take(1000)
    assert writer.event() == 1000


def test_trailers():
    sent = Sent()
    fields = Fields.from_list([("a", b" 1 ")]).value
    sent.trailers.set(Ok(fields))
    assert not sent.body.finished
    sent.writer.drop()
    assert sent.body.ended
    assert sent.body.trailers == [("a", b"1")]


def test_an_error_in_place_of_trailers_cuts_the_body():
    sent = Sent()
    sent.writer.write(b"abc")
    sent.writer.drop()
    sent.trailers.set(Err(Variant("HTTP-protocol-error")))
    assert sent.body.error.code == Variant("HTTP-protocol-error")
    assert sent.body.take(100) == b"abc"
    assert sent.transmission.value == Err(Variant("HTTP-protocol-error"))


def test_a_guest_that_dies_cuts_the_body():
    sent = Sent()
    sent.writer.write(b"abc")
    sent.writer.die()
    sent.trailers.close()
    assert sent.body.error.code.case == "internal-error"
    sent.body.take(100)
    assert sent.transmission.value.value.case == "internal-error"


def test_more_than_was_announced():
    sent = Sent(4)
    assert sent.writer.write(b"abc") == 3
    sent.writer.write(b"de")
    assert sent.writer.write(b"f") == DROPPED
    assert sent.body.error.code == Variant(SIZE, 5)
    assert sent.body.take(100) == b"abc"
    assert sent.transmission.value == Err(Variant(SIZE, 5))


def test_more_than_was_announced_from_the_start():
    writer = GuestWriter()
    assert writer.write(b"abc") is None
    made = GuestContents(writer.stream, trailers()[1])
    transmission = Watched(made.transmission.future)
    body = made.to_body(ContentLength(2), SIZE)
    assert (body.error.code, body.take(100)) == (Variant(SIZE, 3), b"")
    assert transmission.value == Err(Variant(SIZE, 3))
    assert writer.event() == DROPPED


def test_less_than_was_announced():
    sent = Sent(4)
    sent.writer.write(b"abc")
    sent.writer.drop()
    sent.body.take(3)
    assert sent.transmission.value == Err(Variant(SIZE, 3))
    assert sent.body.error.code == Variant(SIZE, 3)


@pytest.mark.parametrize("expected", [0, None])
def test_no_contents(expected):
    sent = Sent(expected, contents=False)
    assert not sent.body.finished
    sent.trailers.set(Ok(None))
    assert sent.body.ended
    assert sent.transmission.value == Ok()


def test_no_contents_though_some_were_announced():
    assert Sent(3, contents=False).transmission.value == Err(Variant(SIZE, 0))
    sent = Sent(3, contents=False, applies=False)
    sent.trailers.set(Ok(None))
    assert sent.transmission.value == Ok()


def test_no_contents_and_no_trailers_to_be_expected():
    made, future = trailers()
    contents = GuestContents(None, future)
    contents.trailers_expected = False
    body = contents.to_body(ContentLength(None), SIZE)
    assert body.ended
    made.set(Ok(None))
    made, future = trailers()
    made.set(Err(Variant("internal-error")))
    contents = GuestContents(None, future)
    contents.trailers_expected = False
    assert contents.to_body(ContentLength(None), SIZE).error.code.case == "internal-error"


def test_a_body_that_is_closed_drops_the_stream():
    sent = Sent()
    sent.writer.write(b"abc")
    sent.body.close()
    assert sent.writer.write(b"d") == DROPPED
    assert sent.transmission.value == Err(Variant("connection-terminated"))
    sent.trailers.set(Ok(None))


def test_a_guest_that_waits_for_room_learns_that_the_body_is_closed():
    sent = Sent()
    while sent.writer.write(bytes(BUFFER)) is not None:
        pass
    sent.body.close(HttpError("connection-timeout"))
    assert sent.writer.event() == DROPPED
    assert sent.transmission.value == Err(Variant("connection-timeout"))


def test_a_guest_that_waits_for_room_learns_that_the_body_was_cut():
    sent = Sent()
    while sent.writer.write(bytes(BUFFER)) is not None:
        pass
    sent.body.abort(HttpError("HTTP-response-timeout"))
    assert sent.writer.event() == DROPPED
    sent.body.close()
    assert sent.transmission.value == Err(Variant("HTTP-response-timeout"))


def test_unread_contents_may_be_closed():
    sent = Sent(applies=False)
    sent.body.close()
    assert sent.transmission.value == Ok()
    assert sent.writer.write(b"a") == DROPPED


def test_contents_that_are_dropped():
    writer = GuestWriter()
    made, future = trailers()
    contents = GuestContents(writer.stream, future)
    transmission = Watched(contents.transmission.future)
    contents.drop()
    assert writer.write(b"abc") == DROPPED
    made.set(Ok(None))
    assert transmission.value == Ok()
    contents = GuestContents(None, trailers()[1])
    transmission = Watched(contents.transmission.future)
    contents.drop(HttpError("HTTP-request-denied"))
    assert transmission.value == Err(Variant("HTTP-request-denied"))
    body = Body()
    HostContents(body).drop()
    assert body.closed


def test_a_guest_may_consume_what_a_guest_made():
    writer = GuestWriter()
    made, future = trailers()
    contents = GuestContents(writer.stream, future)
    transmission = Watched(contents.transmission.future)
    handled, result = make_future(RESULT)
    stream, given = contents.consume(result)
    reader = GuestReader(stream)
    assert writer.write(b"abc") is None
    assert reader.read() == b"abc"
    assert writer.event() == 3
    made.set(Ok(None))
    assert Watched(given).value == Ok()
    assert transmission.value is None
    handled.set(Err(Variant("loop-detected")))
    assert transmission.value == Err(Variant("loop-detected"))
    contents = GuestContents(None, trailers()[1])
    transmission = Watched(contents.transmission.future)
    handled, result = make_future(RESULT)
    assert GuestReader(contents.consume(result)[0]).read() == DROPPED
    handled.close()
    assert transmission.value == Ok()


def test_the_first_outcome_counts():
    transmission = Transmission()
    future = Watched(transmission.future)
    transmission.settle(None)
    transmission.settle(HttpError("loop-detected"))
    assert future.value == Ok()


# ---- a Body that a guest passes on -------------------------------------------------------------------------


class PassedOn:
    """A guest that passes the contents of one message on as those of another."""

    def __init__(self, expected=None, own_trailers=False, read=0):
        self.source = Body()
        self.result, result = make_future(RESULT)
        if read:
            self.source.try_write(bytes(range(read)))
        stream, future = HostContents(self.source).consume(result)
        reader = GuestReader(stream)
        if read:
            assert reader.read(read) == bytes(range(read))
        if own_trailers:
            self.trailers, future = trailers()
        made = GuestContents(reader.pass_on(), future)
        self.transmission = Watched(made.transmission.future)
        self.body = made.to_body(ContentLength(expected), SIZE)


@pytest.mark.parametrize("read", [0, 5])
def test_bytes_move_on_without_a_copy(read):
    passed = PassedOn(read=read)
    data = bytes(50_000)
    passed.source.try_write(data)
    assert passed.source.buffered == 0
    assert passed.body.take(1 << 20) is data
    passed.source.try_write(b"end")
    passed.source.finish([("t", b"1")])
    assert passed.body.take(100) == b"end"
    assert passed.body.ended
    assert passed.body.trailers == [("t", b"1")]
    assert passed.transmission.value == Ok()


def test_passed_on_contents_are_bounded():
    passed = PassedOn()
    while passed.source.try_write(bytes(BUFFER)):
        pass
    assert passed.source.buffered == CAPACITY
    assert passed.body.buffered == CAPACITY
    passed.body.take(CAPACITY)
    assert (passed.source.buffered, passed.body.buffered) == (0, CAPACITY)
    assert passed.source.permit() == CAPACITY


def test_an_aborted_source_aborts_the_passed_on_body():
    passed = PassedOn()
    passed.source.try_write(b"abc")
    passed.source.abort(HttpError("connection-terminated"))
    assert passed.body.take(100) == b"abc"
    assert passed.body.error.code.case == "connection-terminated"
    passed = PassedOn()
    passed.source.close()
    assert passed.body.error.code.case == "connection-terminated"


def test_closing_a_passed_on_body_closes_the_source():
    passed = PassedOn()
    passed.body.close()
    assert passed.source.closed
    assert passed.transmission.value == Err(Variant("connection-terminated"))


def test_trailers_of_the_guest_s_own():
    passed = PassedOn(own_trailers=True)
    passed.source.finish([("t", b"1")])
    assert not passed.body.finished
    passed.trailers.set(Ok(None))
    assert passed.body.ended
    assert passed.body.trailers is None


@pytest.mark.parametrize(("size", "whole"), [(2, False), (3, True), (4, False)])
def test_the_length_is_held_to(size, whole):
    passed = PassedOn(expected=3)
    passed.source.try_write(bytes(size))
    passed.source.finish()
    passed.body.take(100)
    assert passed.transmission.value == (Ok() if whole else Err(Variant(SIZE, size)))


def test_a_stream_that_was_passed_on_is_at_its_end():
    body = Body.of(b"abc")
    stream = BodyStream(body)
    assert stream.take_body() is body
    assert stream.dropped
    assert not body.closed


# ---- the end of contents and the time of trailers ----------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "order"),
    [(None, "wtd"), (None, "twd"), (None, "wdt"), (None, "td"), (3, "wt"), (3, "tw"), (3, "wdt"), (0, "t")],
)
def test_trailers_come_before_with_or_after_the_contents(expected, order):
    """The letters are steps: w writes, d drops the stream, t sets the trailers. The last step ends the body."""
    sent = Sent(expected)
    steps = {
        "w": lambda: sent.writer.write(b"abc"),
        "d": lambda: sent.writer.drop(),
        "t": lambda: sent.trailers.set(Ok(Fields.from_list([("t", b"1")]).value)),
    }
    for step in order:
        assert not sent.body.finished
        steps[step]()
    assert sent.body.finished
    assert sent.body.take(100) == (b"abc" if "w" in order else b"")
    assert sent.body.trailers == [("t", b"1")]
    assert sent.transmission.value == Ok()


def test_contents_of_the_announced_length_have_been_sent_when_they_were_taken():
    """A guest may then decide about trailers. An abort at that point aborts nothing."""
    sent = Sent(2000)
    sent.writer.write(bytes(1000))
    sent.body.take(1000)
    assert sent.transmission.value is None
    sent.writer.write(bytes(1000))
    assert sent.body.complete
    sent.body.take(400)
    assert sent.transmission.value is None
    sent.body.take(600)
    assert sent.transmission.value == Ok()
    assert not sent.body.ended
    sent.body.abort(HttpError("internal-error"))
    assert (sent.body.ended, sent.body.error) == (True, None)


def test_contents_of_the_announced_length_survive_their_guest():
    sent = Sent(3)
    sent.writer.write(b"abc")
    sent.trailers.close()
    assert sent.body.take(100) == b"abc"
    assert (sent.body.ended, sent.body.error) == (True, None)


def test_no_contents_were_announced_and_the_stream_is_kept():
    sent = Sent(0)
    assert not sent.body.ended
    sent.trailers.set(Ok(None))
    assert sent.body.ended
    assert sent.writer.write(b"a") == DROPPED
    assert sent.transmission.value == Ok()


def test_one_byte_more_than_was_announced():
    sent = Sent(3)
    sent.writer.write(b"abc")
    sent.writer.write(b"d")
    assert sent.body.error.code == Variant(SIZE, 4)


def test_a_full_body_of_the_announced_length():
    """The guest waits for room, and so does the outlet."""
    sent = Sent(CAPACITY + 10)
    while sent.writer.write(bytes(BUFFER)) == BUFFER:
        pass
    assert sent.body.buffered == CAPACITY
    sent.body.take(CAPACITY)
    assert sent.writer.event() == DROPPED or sent.body.error is not None  # 10 bytes remained to be written
    sent = Sent(CAPACITY)
    while sent.body.buffered < CAPACITY:
        sent.writer.write(bytes(BUFFER))
    assert sent.transmission.value is None
    sent.body.take(CAPACITY)
    assert sent.transmission.value == Ok()


def test_an_error_in_place_of_trailers_ends_the_body_at_once():
    sent = Sent()
    sent.writer.write(b"abc")
    sent.trailers.set(Err(Variant("loop-detected")))
    assert sent.body.take(100) == b"abc"
    assert sent.body.error.code == Variant("loop-detected")
    assert sent.transmission.value == Err(Variant("loop-detected"))
    assert sent.writer.write(b"d") == DROPPED


def test_the_outcome_of_a_request_is_reported_after_its_response():
    for read, error, told in (
        (True, None, Ok()),
        (True, "connection-refused", Err(Variant("connection-refused"))),
        (False, "connection-refused", Err(Variant("connection-refused"))),
    ):
        transmission = Transmission()
        transmission.awaits_answer = True
        future = Watched(transmission.future)
        if read:
            transmission.settle(None)
        assert future.value is None
        transmission.answered(None if error is None else HttpError(error))
        assert future.value == told
        transmission.settle(HttpError("loop-detected"))
        assert future.value == told
    transmission = Transmission()
    transmission.awaits_answer = True
    future = Watched(transmission.future)
    transmission.answered(None)
    assert future.value is None  # answered early
    transmission.settle(HttpError("connection-terminated"))
    assert future.value == Err(Variant("connection-terminated"))


def test_a_stream_that_the_guest_gives_up_is_no_failure():
    body = Body()
    _, result = make_future(RESULT)
    stream, future = HostContents(body).consume(result)
    told = Watched(future)
    GuestReader(stream).drop()
    assert told.value == Ok(None)
