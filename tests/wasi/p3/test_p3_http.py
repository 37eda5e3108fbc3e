"""wasi:http 0.3: the resources ``request`` and ``response``, ``client.send``, and both sides of ``handler``."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import trio
from p3_guest import DROPPED, GuestReader, GuestWriter, Watched, trailers
from trio.testing import wait_all_tasks_blocked

from tests.wasi.http.http_origin import Origin, content, read_all, read_head
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.runtime._streams import FutureReader, StreamReader, make_future
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi.http import _messages as messages
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._context import HttpOptions
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._request_options import RequestOptions as Timeouts
from wasi_trio.wasi.p3 import INTERFACES
from wasi_trio.wasi.p3._http import handler_interface, incoming_request, outgoing_response
from wasi_trio.wasi.p3._http_types import RESULT

Types = INTERFACES["wasi:http/types"]
Client = INTERFACES["wasi:http/client"]
Fields = Types.Fields


@pytest.fixture
async def origin(nursery):
    return Origin(nursery)


def client(nursery, **options):
    context = WasiContext(replace(WasiOptions(), http=HttpOptions(**options)), nursery=nursery)
    return Client(context), context


class Made:
    """A request or response from a guest."""

    def __init__(self, of, headers=(), contents=False, options=()):
        self.writer = GuestWriter() if contents else None
        self.trailers, future = trailers()
        stream = StreamReader(self.writer.stream) if contents else None
        self.message, transmission = of.new(
            Fields.from_list(list(headers)).value, stream, FutureReader(future), *options
        )
        self.transmission = Watched(transmission)

    def end(self, value=None):
        if self.writer is not None:
            self.writer.drop()
        self.trailers.set(Ok(value))


def request(authority="somewhere.test", method="get", path="/", headers=(), contents=False, options=None):
    made = Made(Types.Request, headers, contents, (options,))
    assert made.message.set_method(Variant(method)) == Ok()
    assert made.message.set_scheme(Variant("HTTP")) == Ok()
    assert made.message.set_authority(authority) == Ok()
    assert made.message.set_path_with_query(path) == Ok()
    return made


def response(headers=(), contents=False):
    return Made(Types.Response, headers, contents)


def neutral(method="GET", headers=(), body=None):
    body = Body.empty() if body is None else body
    return messages.Request(method, "http", "here.test", "/", list(headers), body)


def consume(message):
    """Return a guest's reader of a message's contents, its trailers, and the future for the guest's outcome."""
    told, result = make_future(RESULT)
    stream, future = type(message).consume_body(message, FutureReader(result))
    return GuestReader(stream), Watched(future), told


# ---- the resources -----------------------------------------------------------------------------------------


def test_initial_state_of_a_request():
    made = Made(Types.Request, [("a", b"1")], options=(None,)).message
    assert made.get_method() == Variant("get")
    assert made.get_path_with_query() is made.get_scheme() is made.get_authority() is made.get_options() is None
    assert made.get_headers().append("b", b"2") == Err(Variant("immutable"))


def test_setters_of_a_request():
    made = request(method="patch", path="/a?b").message
    assert made.get_method() == Variant("patch")
    assert made.get_scheme() == Variant("HTTP")
    assert made.get_authority() == "somewhere.test"
    assert made.get_path_with_query() == "/a?b"
    assert made.set_method(Variant("other", "a b")) == Err()
    assert made.set_scheme(Variant("other", "1:")) == Err()
    assert made.set_authority("a b") == Err()
    assert made.set_path_with_query("a\n") == Err()
    assert made.get_method() == Variant("patch")
    assert made.set_method(Variant("other", "PURGE")) == Ok()
    for clear in (made.set_scheme, made.set_authority, made.set_path_with_query):
        assert clear(None) == Ok()
    assert made.get_scheme() is made.get_authority() is made.get_path_with_query() is None


def test_the_options_of_a_request_are_immutable():
    options = Types.RequestOptions()
    assert options.set_connect_timeout(1) == Ok()
    made = request(options=options).message
    assert made.get_options().get_connect_timeout() == 1
    assert made.get_options().set_connect_timeout(2) == Err(Variant("immutable"))
    assert made.get_options().clone().set_connect_timeout(2) == Ok()
    assert made.timeouts() == Timeouts(connect_timeout=1e-9)


@pytest.mark.parametrize(("status", "valid"), [(99, False), (100, True), (599, True), (600, False), (0, False)])
def test_status_codes(status, valid):
    made = response().message
    assert made.get_status_code() == 200
    assert made.set_status_code(status) == (Ok() if valid else Err())
    assert made.get_status_code() == (status if valid else 200)


def test_a_request_as_a_guest_is_given_it():
    given = incoming_request(neutral("PURGE", [("Host", b"here.test"), ("A", b"1")]))
    assert given.get_method() == Variant("other", "PURGE")
    assert given.get_scheme() == Variant("HTTP")
    assert (given.get_authority(), given.get_path_with_query()) == ("here.test", "/")
    assert given.get_headers().copy_all() == [("A", b"1")]
    assert given.get_options() is None
    assert incoming_request(messages.Request("GET", None, None, None, [], Body.empty())).get_scheme() is None


def test_the_contents_of_a_request():
    body = Body()
    given = incoming_request(neutral("POST", body=body))
    reader, ends, told = consume(given)
    body.try_write(b"abc")
    assert reader.read() == b"abc"
    body.finish([("t", b"1")])
    assert reader.read() == DROPPED
    assert ends.value.value.copy_all() == [("t", b"1")]
    told.set(Ok())


def test_a_request_that_a_guest_drops():
    body = Body()
    incoming_request(neutral("POST", body=body)).on_drop()
    assert body.closed
    made = request(contents=True)
    made.message.on_drop()
    assert made.writer.write(b"abc") == DROPPED
    assert made.transmission.value == Ok()


# ---- the handler that a guest exports ----------------------------------------------------------------------


def test_a_guest_s_response():
    made = response([("A", b" 1 "), ("content-length", b"5")], contents=True)
    assert made.message.set_status_code(404) == Ok()
    answer = outgoing_response(Ok(made.message), neutral())
    assert (answer.status, answer.headers) == (404, [("A", b"1"), ("content-length", b"5")])
    assert made.writer.write(b"hello") == 5
    made.end(Fields.from_list([("t", b"1")]).value)
    assert answer.body.take(100) == b"hello"
    assert answer.body.ended
    assert answer.body.trailers == [("t", b"1")]
    assert made.transmission.value == Ok()


def test_an_error_in_place_of_a_response():
    with pytest.raises(HttpError) as caught:
        outgoing_response(Err(Variant("HTTP-request-denied")), neutral())
    assert caught.value.code == Variant("HTTP-request-denied")


@pytest.mark.parametrize("status", [100, 103, 199])
def test_an_informational_status_is_no_response(status):
    made = response(contents=True)
    assert made.message.set_status_code(status) == Ok()
    with pytest.raises(HttpError, match="HTTP-protocol-error"):
        outgoing_response(Ok(made.message), neutral())
    assert made.writer.write(b"abc") == DROPPED
    assert made.transmission.value == Err(Variant("HTTP-protocol-error"))


def test_two_lengths_are_no_response():
    made = response([("content-length", b"1"), ("content-length", b"2")], contents=True)
    with pytest.raises(HttpError, match="HTTP-protocol-error"):
        outgoing_response(Ok(made.message), neutral())
    assert made.transmission.value == Err(Variant("HTTP-protocol-error"))


def test_the_response_is_held_to_its_length():
    made = response([("content-length", b"3")], contents=True)
    answer = outgoing_response(Ok(made.message), neutral())
    made.writer.write(b"abcd")
    assert answer.body.error.code == Variant("HTTP-response-body-size", 4)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_response_with_unread_contents(method, status):
    made = response([("content-length", b"3")])
    assert made.message.set_status_code(status) == Ok()
    answer = outgoing_response(Ok(made.message), neutral(method))
    answer.body.close()
    assert made.transmission.value == Ok()


def test_a_client_that_leaves():
    made = response(contents=True)
    answer = outgoing_response(Ok(made.message), neutral())
    made.writer.write(b"abc")
    answer.body.close()
    assert made.transmission.value == Err(Variant("connection-terminated"))
    assert made.writer.write(b"d") == DROPPED


async def test_an_echo_that_hands_the_request_s_contents_on():
    body = Body()
    request = neutral("POST", body=body)
    _, result = make_future(RESULT)
    stream, ends = Types.Request.consume_body(incoming_request(request), FutureReader(result))
    guest = GuestReader(stream)
    made, transmission = Types.Response.new(Fields(), guest.pass_on(), ends)
    done = Watched(transmission)
    answer = outgoing_response(Ok(made), request)
    data = bytes(60_000)
    body.try_write(data)
    assert answer.body.take(1 << 20) is data
    body.finish([("t", b"1")])
    assert await content(answer.body) == b""
    assert answer.body.trailers == [("t", b"1")]
    assert done.value == Ok()


def test_a_response_that_is_passed_on_unchanged():
    body = Body()
    given = Types.Response.received(messages.Response(203, [("a", b"1")], body))
    answer = outgoing_response(Ok(given), neutral())
    assert (answer.status, answer.headers) == (203, [("a", b"1")])
    assert answer.body is body


# ---- requests over the network -----------------------------------------------------------------------------


async def test_a_request_over_the_network(origin, nursery):
    await origin.answer(
        b"HTTP/1.1 201 Made\r\nConnection: x\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: v\r\n\r\n"
    )
    made = request(f"127.0.0.1:{origin.port}")
    answer = (await client(nursery)[0].send(made.message)).value
    assert answer.get_status_code() == 201
    assert answer.get_headers().copy_all() == [("A", b"b")]
    reader, ends, _ = consume(answer)
    received = reader.read()
    if received is None:
        await wait_all_tasks_blocked()
        received = reader.event()
    assert received == b"ok"
    await wait_all_tasks_blocked()
    assert reader.read() == DROPPED
    assert ends.value.value.copy_all() == [("T", b"v")]
    assert made.transmission.value == Ok()


async def test_a_request_without_contents_is_sent_without(origin, nursery):
    heads = []

    async def handler(stream):
        heads.append((await read_head(stream))[0].lower())
        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    await origin.start(handler)
    sender = client(nursery)[0]
    made = request(f"127.0.0.1:{origin.port}")
    assert isinstance(await sender.send(made.message), Ok)
    assert b"transfer-encoding" not in heads[0]
    made.trailers.set(Ok(None))
    made = request(f"127.0.0.1:{origin.port}", "post")
    made.end()
    assert isinstance(await sender.send(made.message), Ok)
    assert b"content-length: 0" in heads[1]


async def test_writing_the_request_while_reading_the_response(origin, nursery):
    async def echo(stream):
        _, rest = await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
        async for data in stream:
            await stream.send_all(data)

    await origin.start(echo)
    made = request(f"127.0.0.1:{origin.port}", "post", contents=True)
    answer = (await client(nursery)[0].send(made.message)).value
    reader, ends, _ = consume(answer)
    for line in (b"one", b"two"):
        assert reader.read() is None
        assert made.writer.write(line) == len(line)
        while (received := reader.event()) is None:
            await trio.lowlevel.checkpoint()
        assert received == line
    made.end(Fields.from_list([("t", b"1")]).value)
    while ends.value is None:
        await trio.lowlevel.checkpoint()
    assert ends.value.value.copy_all() == [("t", b"1")]
    assert made.transmission.value == Ok()


async def test_timeouts_reach_the_network(origin, nursery):
    await origin.start(read_all)
    options = Types.RequestOptions()
    options.set_first_byte_timeout(10_000_000)
    made = request(f"127.0.0.1:{origin.port}", contents=True, options=options)
    assert await client(nursery)[0].send(made.message) == Err(Variant("connection-read-timeout"))
    assert made.transmission.value == Err(Variant("connection-read-timeout"))
    assert made.writer.write(b"abc") == DROPPED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda made: made.set_scheme(Variant("other", "ftp")), "HTTP-protocol-error"),
        (lambda made: made.set_authority(None), "HTTP-request-URI-invalid"),
        (lambda made: made.set_method(Variant("connect")), "HTTP-request-method-invalid"),
    ],
)
async def test_unsendable_requests(nursery, change, code):
    made = request(contents=True)
    change(made.message)
    assert await client(nursery)[0].send(made.message) == Err(Variant(code))
    assert made.transmission.value == Err(Variant(code))
    assert made.writer.write(b"abc") == DROPPED


async def test_requests_that_may_not_be_sent(nursery):
    denied = Err(Variant("HTTP-request-denied"))
    made = request(contents=True)
    assert await client(nursery, allow=lambda request: False)[0].send(made.message) == denied
    assert made.transmission.value == denied
    assert await client(None)[0].send(request().message) == denied
    full = Err(Variant("connection-limit-reached"))
    assert await client(nursery, max_outgoing=0)[0].send(request().message) == full


async def test_two_lengths_are_no_request(nursery):
    made = request(headers=[("content-length", b"1"), ("content-length", b"2")], contents=True)
    assert await client(nursery)[0].send(made.message) == Err(Variant("HTTP-protocol-error"))
    assert made.writer.write(b"a") == DROPPED


async def test_a_request_body_of_another_length(origin, nursery):
    await origin.start(read_all)
    made = request(f"127.0.0.1:{origin.port}", "post", headers=[("content-length", b"3")], contents=True)
    made.writer.write(b"abcd")
    size = Err(Variant("HTTP-request-body-size", 4))
    assert await client(nursery)[0].send(made.message) == size
    assert made.transmission.value == size


async def test_a_request_that_is_cancelled(nursery, autojump_clock):
    ended = []

    async def never(request, timeouts, nursery):
        try:
            await trio.sleep(math.inf)
        finally:
            ended.append(request)

    sender, context = client(nursery, send=never)
    made = request(contents=True)
    with trio.move_on_after(1) as scope:
        await sender.send(made.message)
    assert scope.cancelled_caught
    await wait_all_tasks_blocked()
    assert len(ended) == 1
    assert context.http.outgoing == 0
    assert made.transmission.value == Err(Variant("connection-terminated"))
    assert made.writer.write(b"abc") == DROPPED


async def test_a_response_that_a_guest_drops_ends_the_exchange(nursery):
    async def stream_on(request, timeouts, nursery):
        nursery.start_soon(trio.sleep_forever)
        return messages.Response(200, [], Body())

    sender, context = client(nursery, send=stream_on)
    answer = (await sender.send(request().message)).value
    assert context.http.outgoing == 1
    answer.on_drop()
    await wait_all_tasks_blocked()
    assert context.http.outgoing == 0


async def test_an_exchange_counts_until_its_response_has_ended(nursery):
    bodies = []

    async def answer(request, timeouts, nursery):
        body = Body()
        nursery.start_soon(wait_ended, body)
        bodies.append(body)
        return messages.Response(200, [], body)

    async def wait_ended(body):
        while not body.finished:
            await trio.lowlevel.checkpoint()

    sender, context = client(nursery, send=answer, max_outgoing=1)
    assert isinstance(await sender.send(request().message), Ok)
    assert await sender.send(request().message) == Err(Variant("connection-limit-reached"))
    bodies[0].finish()
    await wait_all_tasks_blocked()
    assert context.http.outgoing == 0


# ---- a handler that a guest imports ------------------------------------------------------------------------


def handler(answer):
    return handler_interface(answer)(WasiContext())


async def test_a_guest_before_another_handler():
    async def answer(request):
        assert (request.method, request.scheme, request.authority) == ("POST", "http", "here.test")
        assert request.headers == [("a", b"1")]
        return messages.Response(200, [("b", b"2")], request.body)

    body = Body()
    given = incoming_request(neutral("POST", [("Host", b"x"), ("a", b"1")], body))
    answered = (await handler(answer).handle(given)).value
    assert answered.get_headers().copy_all() == [("b", b"2")]
    assert outgoing_response(Ok(answered), neutral()).body is body
    assert not body.closed


async def test_a_guest_that_modifies_a_message():
    async def answer(request):
        return messages.Response(200, [], Body.of(await content(request.body), request.body.trailers))

    made = request("here.test", "post", contents=True)
    async with trio.open_nursery() as nursery:

        async def call():
            reader, ends, _ = consume((await handler(answer).handle(made.message)).value)
            assert reader.read() == b"abc"
            assert reader.read() == DROPPED
            assert ends.value.value.copy_all() == [("t", b"1")]

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        assert made.writer.write(b"abc") == 3
        made.end(Fields.from_list([("t", b"1")]).value)
    assert made.transmission.value == Ok()


async def test_a_handler_that_fails():
    async def answer(request):
        raise HttpError("loop-detected")

    made = request(contents=True)
    assert await handler(answer).handle(made.message) == Err(Variant("loop-detected"))
    assert made.transmission.value == Err(Variant("loop-detected"))
    made = request(headers=[("content-length", b"1"), ("content-length", b"2")])
    assert await handler(answer).handle(made.message) == Err(Variant("HTTP-protocol-error"))


async def test_a_handler_is_cancelled_with_the_call(autojump_clock):
    async def answer(request):
        await trio.sleep(math.inf)

    made = request(contents=True)
    with trio.move_on_after(1) as scope:
        await handler(answer).handle(made.message)
    assert scope.cancelled_caught
    assert made.writer.write(b"a") == DROPPED
    assert made.transmission.value == Err(Variant("connection-terminated"))
