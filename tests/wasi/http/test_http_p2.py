"""The resources of wasi:http/types 0.2, called like a guest calls them."""

from __future__ import annotations

import pytest
import trio
from http_origin import content
from trio.testing import wait_all_tasks_blocked

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.http._body import Body, BodyAborted
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._fields import MAX_SIZE
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.p2._http import Types
from wasi_trio.wasi.p2._http_bodies import IncomingBody
from wasi_trio.wasi.p2._io import Error

types = Types(WasiContext())
NOT_READY = None
TAKEN = Err(None)


def ok(result):
    assert isinstance(result, Ok), result
    return result.value


def fields(*entries):
    return ok(types.Fields.from_list(list(entries)))


# ---- fields ------------------------------------------------------------------------------------------------


def test_fields():
    made = types.Fields()
    assert made.append("A", b"1") == Ok(None)
    assert made.append("a", b"2") == Ok(None)
    assert made.set("B", [b"3"]) == Ok(None)
    assert made.get("a") == [b"1", b"2"]
    assert made.has("b")
    assert made.entries() == [("A", b"1"), ("A", b"2"), ("B", b"3")]
    copy = made.clone()
    assert made.delete("A") == Ok(None)
    assert not made.has("a")
    assert copy.entries() == [("A", b"1"), ("A", b"2"), ("B", b"3")]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("a b", b"", "invalid-syntax"), ("a", b"\r\n", "invalid-syntax"), ("Host", b"x", "forbidden")],
)
def test_refused_fields(name, value, reason):
    made = types.Fields()
    refused = Err(Variant(reason))
    assert made.append(name, value) == refused
    assert made.set(name, [value]) == refused
    assert types.Fields.from_list([("ok", b""), (name, value)]) == refused
    if value != b"\r\n":
        assert made.delete(name) == refused
    assert made.get(name) == []
    assert not made.has(name)


def test_fields_that_grow_too_large_are_a_trap():
    with pytest.raises(Trap):
        types.Fields().append("a", bytes([0x20]) * MAX_SIZE)
    with pytest.raises(Trap):
        types.Fields.from_list([("a", b"")] * MAX_SIZE)


def test_the_headers_of_a_message_are_immutable_and_a_copy_is_not():
    given = fields(("a", b"1"))
    incoming = types.IncomingRequest(Request("GET", "http", "h", "/", [("Host", b"h"), ("a", b"1")], Body.empty()))
    for headers in (
        incoming.headers(),
        types.OutgoingRequest(fields(("a", b"1"))).headers(),
        types.OutgoingResponse(given).headers(),
        given,
    ):
        assert headers.append("b", b"") == Err(Variant("immutable"))
        assert headers.set("b", [b""]) == Err(Variant("immutable"))
        assert headers.delete("a") == Err(Variant("immutable"))
        assert headers.entries() == [("a", b"1")]
        assert headers.clone().append("b", b"") == Ok(None)
        assert headers.entries() == [("a", b"1")]


# ---- incoming messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "variant"),
    [
        ("GET", Variant("get")),
        ("PATCH", Variant("patch")),
        ("get", Variant("other", "get")),
        ("QUERY", Variant("other", "QUERY")),
    ],
)
def test_incoming_request(method, variant):
    request = types.IncomingRequest(Request(method, "https", "h:1", "/p?q", [], Body.empty()))
    assert request.method() == variant
    assert request.scheme() == Variant("HTTPS")
    assert request.authority() == "h:1"
    assert request.path_with_query() == "/p?q"
    ok(request.consume())
    assert request.consume() == TAKEN


def test_an_incoming_request_without_a_target():
    request = types.IncomingRequest(Request("OPTIONS", None, None, None, [], Body.empty()))
    assert (request.scheme(), request.authority(), request.path_with_query()) == (None, None, None)
    assert types.IncomingRequest(Request("GET", "ws", None, None, [], Body.empty())).scheme() == Variant("other", "ws")


@pytest.mark.parametrize("message", ["request", "response"])
def test_an_incoming_message_dropped_unread_closes_its_body(message):
    def make(body):
        if message == "request":
            return types.IncomingRequest(Request("GET", None, None, None, [], body))
        return types.IncomingResponse(Response(200, [], body))

    body = Body()
    make(body).on_drop()
    assert body.closed
    body = Body()
    incoming = make(body)
    kept = ok(incoming.consume())
    incoming.on_drop()
    assert not body.closed
    kept.on_drop()
    assert body.closed


async def test_an_incoming_body_and_its_trailers():
    body = Body()
    incoming = types.IncomingBody(body)
    stream = ok(incoming.stream())
    assert incoming.stream() == TAKEN
    assert stream.read(10) == Ok(b"")
    ready = stream.subscribe()
    assert not ready.ready()
    body.try_write(b"hello")
    assert ready.ready()
    assert stream.read(2) == Ok(b"he")
    assert await stream.blocking_read(100) == Ok(b"llo")
    with pytest.raises(Trap):
        IncomingBody.finish(incoming)
    body.finish([("Sum", b"5")])
    assert ready.ready()
    assert stream.read(1) == Err(Variant("closed"))
    stream.on_drop()
    future = IncomingBody.finish(incoming)
    assert future.subscribe().ready()
    trailers = ok(ok(future.get()))
    assert trailers.entries() == [("Sum", b"5")]
    assert trailers.append("a", b"") == Err(Variant("immutable"))
    assert future.get() == TAKEN


async def test_trailers_of_an_unread_body():
    body = Body(10)
    future = types.IncomingBody.finish(types.IncomingBody(body))
    assert future.get() is NOT_READY
    async with trio.open_nursery() as nursery:
        nursery.start_soon(future.subscribe().block)
        await body.send_all(bytes(1000))
        await wait_all_tasks_blocked()
        assert future.get() is NOT_READY
        body.finish()
    assert future.get() == Ok(Ok(None))


async def test_a_body_cut_short():
    body = Body()
    incoming = types.IncomingBody(body)
    stream = ok(incoming.stream())
    body.try_write(b"some")
    body.abort(HttpError("HTTP-response-incomplete"))
    assert stream.read(100) == Ok(b"some")
    failed = await stream.blocking_read(100)
    assert failed.value.case == "last-operation-failed"
    assert types.http_error_code(failed.value.value) == Variant("HTTP-response-incomplete")
    assert stream.read(100) == Err(Variant("closed"))
    stream.on_drop()
    assert IncomingBody.finish(incoming).get() == Ok(Err(Variant("HTTP-response-incomplete")))


def test_other_errors_have_no_http_code():
    assert types.http_error_code(Error(OSError("disk"))) is None


@pytest.mark.parametrize("order", ["stream first", "body first", "body alone", "trailers"])
def test_the_last_drop_closes_the_body(order):
    body = Body()
    incoming = types.IncomingBody(body)
    if order == "body alone":
        incoming.on_drop()
    elif order == "trailers":
        future = IncomingBody.finish(incoming)
        assert not body.closed
        future.on_drop()
    else:
        stream = ok(incoming.stream())
        first, last = (stream, incoming) if order == "stream first" else (incoming, stream)
        first.on_drop()
        assert not body.closed
        body.try_write(b"x")
        if last is stream:
            assert stream.read(1) == Ok(b"x")
        last.on_drop()
    assert body.closed


# ---- outgoing messages -------------------------------------------------------------------------------------


def test_outgoing_request():
    request = types.OutgoingRequest(fields(("a", b" 1 ")))
    assert request.method() == Variant("get")
    assert (request.scheme(), request.authority(), request.path_with_query()) == (None, None, None)
    assert request.set_method(Variant("other", "QUERY")) == Ok(None)
    assert request.set_scheme(Variant("HTTP")) == Ok(None)
    assert request.set_authority("[::1]:8080") == Ok(None)
    assert request.set_path_with_query("/p?q=%20") == Ok(None)
    message = request.to_request()
    assert message.method == request.method().value == "QUERY"
    assert message.scheme == "http"
    assert message.authority == request.authority() == "[::1]:8080"
    assert message.path_with_query == request.path_with_query() == "/p?q=%20"
    assert message.headers == [("a", b"1")]
    assert message.body.ended


@pytest.mark.parametrize("method", ["", "a b", "GET\r\n", "é"])
def test_refused_methods(method):
    request = types.OutgoingRequest(fields())
    assert request.set_method(Variant("other", method)) == Err(None)
    assert request.method() == Variant("get")


@pytest.mark.parametrize("scheme", ["", "1a", "a b", "http:", "é"])
def test_refused_schemes(scheme):
    request = types.OutgoingRequest(fields())
    assert request.set_scheme(Variant("other", scheme)) == Err(None)
    assert request.scheme() is None


@pytest.mark.parametrize(
    "authority",
    ["", " ", "a b", "a/b", "a:", "a:x", "a:65536", "a:-1", "[::1", "[x]", "::1", "é", "a\r\n", "a?b", "%zz"],
)
def test_refused_authorities(authority):
    request = types.OutgoingRequest(fields())
    assert request.set_authority(authority) == Err(None)
    assert request.authority() is None


@pytest.mark.parametrize("authority", ["a", "a:0", "a.b-c_d:65535", "127.0.0.1", "[2001:db8::1]", "user:pw@a:1", "%41"])
def test_admitted_authorities(authority):
    request = types.OutgoingRequest(fields())
    assert request.set_authority(authority) == Ok(None)
    assert request.set_authority(None) == Ok(None)
    assert request.authority() is None


@pytest.mark.parametrize("path", [" ", "/a b", "/\r\n", "/\0", "/a#b", "/\x7f", "<", "/>", "`", "?<", "?>", "?`", '?"'])
def test_refused_paths(path):
    request = types.OutgoingRequest(fields())
    assert request.set_path_with_query(path) == Err(None)
    assert request.path_with_query() is None


@pytest.mark.parametrize(
    ("path", "sendable"),
    [
        ("", True),
        ("/", True),
        ("*", True),
        ("?q", True),
        ("/a%20b?c=/?&d=[]{}|~", True),
        ('/{"a"}', True),
        ("/\x80é?\U0010ffff", True),
        ("a/b/c", False),
        ("../..", False),
        ("http://a/", False),
    ],
)
def test_admitted_paths(path, sendable):
    """Whether a path is valid after an authority is checked when the request is sent."""
    request = types.OutgoingRequest(fields())
    assert request.set_path_with_query(path) == Ok(None)
    assert request.path_with_query() == (path or "/")
    request.set_authority("a.test")
    if sendable:
        assert request.to_request().path_with_query == (path or "/")
    else:
        with pytest.raises(HttpError, match="HTTP-request-URI-invalid"):
            request.to_request()


METHODS = ["get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_the_case_that_wit_has_for_it(method):
    request = types.OutgoingRequest(fields())
    assert request.set_method(Variant("other", method.upper())) == Ok(None)
    assert request.method() == Variant(method)
    assert request.set_method(Variant("other", method)) == Ok(None)  # methods are case-sensitive
    assert request.method() == Variant("other", method)


@pytest.mark.parametrize(
    ("scheme", "variant"),
    [
        ("http", Variant("HTTP")),
        ("HTTP", Variant("HTTP")),
        ("https", Variant("HTTPS")),
        ("Https", Variant("HTTPS")),
        ("Ftp", Variant("other", "Ftp")),
    ],
)
def test_a_scheme_is_the_case_that_wit_has_for_it(scheme, variant):
    request = types.OutgoingRequest(fields())
    assert request.set_scheme(Variant("other", scheme)) == Ok(None)
    assert request.scheme() == variant


def test_outgoing_response():
    response = types.OutgoingResponse(fields(("A", b"1")))
    assert response.status_code() == 200
    assert response.set_status_code(99) == Err(None)
    assert response.set_status_code(1000) == Err(None)
    assert response.status_code() == 200
    assert response.set_status_code(404) == Ok(None)
    assert response.status_code() == 404
    message = response.to_response("GET")
    assert (message.status, message.headers) == (404, [("A", b"1")])


def test_request_options():
    options = types.RequestOptions()
    assert (options.connect_timeout(), options.first_byte_timeout(), options.between_bytes_timeout()) == (None,) * 3
    for duration in (2_000_000_000, None, 2**64 - 1):
        for name in ("connect", "first_byte", "between_bytes"):
            assert getattr(options, f"set_{name}_timeout")(duration) == Ok(None)
            assert getattr(options, f"{name}_timeout")() == duration
    options.set_connect_timeout(1_500_000_000)
    options.set_first_byte_timeout(None)
    options.set_between_bytes_timeout(1)
    timeouts = options.timeouts()
    assert (timeouts.connect_timeout, timeouts.first_byte_timeout, timeouts.between_bytes_timeout) == (1.5, None, 1e-9)


def outgoing(kind="response", headers=()):
    resource = types.OutgoingResponse if kind == "response" else types.OutgoingRequest
    message = resource(fields(*headers))
    body = ok(message.body())
    assert message.body() == TAKEN
    return message, body


async def test_an_outgoing_body_and_its_trailers():
    message, body = outgoing()
    stream = ok(body.write())
    assert body.write() == TAKEN
    assert await stream.blocking_write_and_flush(b"hello ") == Ok(None)
    assert stream.check_write().value > 0
    assert stream.write(b"world") == Ok(None)
    with pytest.raises(Trap):
        types.OutgoingBody.finish(body, None)
    stream.on_drop()
    assert types.OutgoingBody.finish(body, fields(("Sum", b" 11"))) == Ok(None)
    pipe = message.to_response("GET").body
    assert await content(pipe) == b"hello world"
    assert pipe.trailers == [("Sum", b"11")]


async def test_a_writer_waits_only_while_the_body_is_full():
    message, body = outgoing()
    pipe = message.content()
    stream = ok(body.write())
    for _ in range(pipe.capacity // 4096):
        # Not even a checkpoint: the coroutine ends at its first step.
        with pytest.raises(StopIteration) as stopped:
            stream.blocking_write_and_flush(bytes(4096)).send(None)
        assert stopped.value.value == Ok(None)
    assert stream.check_write() == Ok(0)
    assert not stream.subscribe().ready()
    done = []
    async with trio.open_nursery() as nursery:

        async def write():
            done.append(await stream.blocking_write_and_flush(b"more"))

        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        assert not done
        pipe.take(pipe.capacity - 5_000)
    assert done == [Ok(None)]
    assert stream.subscribe().ready()


async def test_a_reader_that_leaves_closes_the_stream():
    message, body = outgoing()
    stream = ok(body.write())
    permit = stream.check_write().value
    assert permit == message.content().capacity
    message.content().close()
    assert stream.subscribe().ready()
    assert stream.write(b"late") == Err(Variant("closed"))
    assert await stream.blocking_write_and_flush(b"later") == Err(Variant("closed"))
    stream.on_drop()
    assert types.OutgoingBody.finish(body, None) == Ok(None)


@pytest.mark.parametrize("drops", [["body"], ["stream", "body"], ["body", "stream"]])
def test_a_body_dropped_unfinished_is_cut(drops):
    message, body = outgoing()
    pipe = message.content()
    stream = None
    if "stream" in drops:
        stream = ok(body.write())
        assert stream.write(b"some") == Ok(None)
    for name in drops:
        (body if name == "body" else stream).on_drop()
    assert pipe.error.code == Variant("HTTP-protocol-error")
    assert pipe.take(10) == (b"some" if stream else b"")
    if stream is not None:
        assert stream.write(b"x") == Err(Variant("closed"))


@pytest.mark.parametrize(
    ("kind", "case"), [("request", "HTTP-request-body-size"), ("response", "HTTP-response-body-size")]
)
async def test_a_body_shorter_than_announced_is_cut(kind, case):
    message, body = outgoing(kind, [("content-length", b"5")])
    stream = ok(body.write())
    stream.write(b"four")
    stream.on_drop()
    assert types.OutgoingBody.finish(body, None) == Err(Variant(case, 4))
    with pytest.raises(BodyAborted) as caught:
        await content(message.content())
    assert caught.value.error.code == Variant(case, 4)


@pytest.mark.parametrize(
    ("kind", "case"), [("request", "HTTP-request-body-size"), ("response", "HTTP-response-body-size")]
)
def test_a_body_longer_than_announced_is_cut(kind, case):
    message, body = outgoing(kind, [("Content-Length", b"5")])
    stream = ok(body.write())
    assert stream.write(b"five!") == Ok(None)
    failed = stream.write(b"x")
    assert failed.value.case == "last-operation-failed"
    assert types.http_error_code(failed.value.value) == Variant(case, 6)
    assert stream.check_write() == Err(Variant("closed"))
    stream.on_drop()
    assert types.OutgoingBody.finish(body, None) == Err(Variant(case, 6))
    assert message.content().error.code == Variant(case, 6)
    assert message.content().take(10) == b"five!"


def test_a_body_as_long_as_announced():
    message, body = outgoing("response", [("content-length", b"5")])
    stream = ok(body.write())
    stream.write(b"five!")
    stream.on_drop()
    assert types.OutgoingBody.finish(body, None) == Ok(None)
    assert message.content().error is None


def test_lengths_that_disagree_leave_no_body():
    message = types.OutgoingResponse(fields(("content-length", b"5"), ("content-length", b"6")))
    assert message.body() == Err(None)


def test_dropping_an_outgoing_message_closes_its_body():
    message, body = outgoing()
    stream = ok(body.write())
    message.on_drop()
    assert stream.check_write() == Err(Variant("closed"))
    types.OutgoingResponse(fields()).on_drop()
