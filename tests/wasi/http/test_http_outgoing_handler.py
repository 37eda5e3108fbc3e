"""wasi:http/outgoing-handler 0.2, over the network and over transports of the embedder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from http_origin import content, read_all, read_head
from trio.testing import wait_all_tasks_blocked

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._context import HttpOptions
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Response
from wasi_trio.wasi.p2._http import HTTP_INTERFACES

Types = HTTP_INTERFACES["wasi:http/types"]
OutgoingHandler = HTTP_INTERFACES["wasi:http/outgoing-handler"]


def handler(nursery, **options):
    return OutgoingHandler(WasiContext(replace(WasiOptions(), http=HttpOptions(**options)), nursery=nursery))


def request(authority="somewhere.test", method="get", path="/", headers=()):
    fields = Types.Fields.from_list(list(headers)).value
    made = Types.OutgoingRequest(fields)
    made.set_method(Variant(method))
    made.set_scheme(Variant("HTTP"))
    made.set_authority(authority)
    made.set_path_with_query(path)
    return made


async def get(future):
    ready = future.subscribe()
    await ready.block()
    assert ready.ready()
    outcome = future.get()
    assert future.get() == Err(None)
    return outcome.value


async def test_a_request_over_the_network(origin, nursery):
    await origin.answer(
        b"HTTP/1.1 201 Made\r\nConnection: x\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: v\r\n\r\n"
    )
    future = handler(nursery).handle(request(f"127.0.0.1:{origin.port}"), None).value
    assert future.get() is None
    assert not future.subscribe().ready()
    response = (await get(future)).value
    assert response.status() == 201
    assert response.headers().entries() == [("A", b"b")]
    incoming = response.consume().value
    assert response.consume() == Err(None)
    stream = incoming.stream().value
    assert await stream.blocking_read(100) == Ok(b"ok")
    assert await stream.blocking_read(100) == Err(Variant("closed"))
    stream.on_drop()
    assert Types.IncomingBody.finish(incoming).get().value.value.entries() == [("T", b"v")]


async def test_timeouts_reach_the_network(origin, nursery):
    await origin.start(read_all)
    options = Types.RequestOptions()
    options.set_first_byte_timeout(10_000_000)
    future = handler(nursery).handle(request(f"127.0.0.1:{origin.port}"), options).value
    assert await get(future) == Err(Variant("connection-read-timeout"))


async def test_writing_the_request_while_reading_the_response(origin, nursery):
    async def echo(stream):
        _, rest = await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
        async for data in stream:
            await stream.send_all(data)

    await origin.start(echo)
    outgoing = request(f"127.0.0.1:{origin.port}", "post")
    body = outgoing.body().value
    writer = body.write().value
    future = handler(nursery).handle(outgoing, None).value
    incoming = (await get(future)).value.consume().value
    reader = incoming.stream().value
    for line in (b"one", b"two"):
        assert await writer.blocking_write_and_flush(line) == Ok(None)
        assert await reader.blocking_read(100) == Ok(line)
    writer.on_drop()
    body.on_drop()  # not finished: the request is aborted, and so is its response
    failed = await reader.blocking_read(100)
    assert Types.http_error_code(None, failed.value.value) == Variant("HTTP-protocol-error")


async def test_a_transport_of_the_embedders(nursery):
    async def send(request, options, nursery):
        assert options.connect_timeout == 1.0
        return Response(200, [], Body.of(f"{request.method} {request.authority}".encode()))

    options = Types.RequestOptions()
    options.set_connect_timeout(1_000_000_000)
    outgoing = request(method="delete")
    body = outgoing.body().value
    response = (await get(handler(nursery, send=send).handle(outgoing, options).value)).value
    assert await content(response.response.body) == b"DELETE somewhere.test"
    await wait_all_tasks_blocked()
    assert body.body.closed  # the request has no reader


async def test_a_transport_that_gives_the_content_back(nursery):
    async def send(request, options, nursery):
        return Response(200, [], request.body)

    outgoing = request(method="post")
    body = outgoing.body().value
    response = (await get(handler(nursery, send=send).handle(outgoing, None).value)).value
    await wait_all_tasks_blocked()
    body.write().value.write(b"hello")
    assert await response.response.body.receive_some() == b"hello"


async def test_a_transport_that_fails(nursery):
    async def send(request, options, nursery):
        raise HttpError("loop-detected")

    future = handler(nursery, send=send).handle(request(), None).value
    assert await get(future) == Err(Variant("loop-detected"))


async def test_requests_may_be_denied(nursery):
    async def send(request, options, nursery):
        return Response(200, [], Body.empty())

    outgoing = handler(nursery, send=send, allow=lambda request: request.authority == "good.test")
    denied = request("bad.test")
    body = denied.body().value
    assert outgoing.handle(denied, None) == Err(Variant("HTTP-request-denied"))
    assert body.body.closed
    assert (await get(outgoing.handle(request("good.test"), None).value)).value.status() == 200


def test_an_instance_without_a_nursery_makes_no_requests():
    assert handler(None).handle(request(), None) == Err(Variant("HTTP-request-denied"))


@pytest.mark.parametrize(
    ("made", "case"),
    [
        (lambda: Types.OutgoingRequest(Types.Fields()), "HTTP-request-URI-invalid"),
        (lambda: request("user@somewhere.test"), "HTTP-request-URI-invalid"),
        (lambda: request(method="connect"), "HTTP-request-method-invalid"),
        (lambda: request(headers=[("content-length", b"1"), ("content-length", b"2")]), "HTTP-protocol-error"),
    ],
)
async def test_unsendable_requests(nursery, made, case):
    assert handler(nursery).handle(made(), None) == Err(Variant(case))


async def test_other_schemes_are_not_spoken(nursery):
    made = request()
    made.set_scheme(Variant("other", "gopher"))
    assert handler(nursery).handle(made, None) == Err(Variant("HTTP-protocol-error"))
    made = request()
    made.set_scheme(None)
    assert made.to_request().scheme == "https"


async def test_requests_under_way_are_bounded(nursery):
    answer = trio.Event()

    async def send(request, options, nursery):
        await answer.wait()
        return Response(200, [], Body.empty())

    outgoing = handler(nursery, send=send, max_outgoing=2)
    futures = [outgoing.handle(request(), None).value for _ in range(2)]
    assert outgoing.handle(request(), None) == Err(Variant("connection-limit-reached"))
    futures.pop().on_drop()
    await wait_all_tasks_blocked()
    futures.append(outgoing.handle(request(), None).value)
    assert outgoing.handle(request(), None) == Err(Variant("connection-limit-reached"))
    answer.set()
    for future in futures:
        assert (await get(future)).value.status() == 200
    await wait_all_tasks_blocked()
    assert outgoing.http.outgoing == 0


async def hold(stream):
    """Begin a response, and wait until the client leaves."""
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nsome")
    await read_all(stream)


@pytest.mark.parametrize(
    "dropped", ["pending future", "ready future", "response", "body", "stream and body", "trailers"]
)
async def test_any_drop_ends_the_exchange(origin, dropped):
    await origin.start(read_all if dropped == "pending future" else hold)
    async with trio.open_nursery() as nursery:
        outgoing = handler(nursery)
        made = request(f"127.0.0.1:{origin.port}", "post")
        body = made.body().value
        future = outgoing.handle(made, None).value
        if dropped == "pending future":
            await wait_all_tasks_blocked()
            future.on_drop()
        else:
            await future.subscribe().block()
            if dropped == "ready future":
                future.on_drop()
            else:
                response = future.get().value.value
                future.on_drop()
                if dropped == "response":
                    response.on_drop()
                else:
                    incoming = response.consume().value
                    response.on_drop()
                    if dropped == "body":
                        incoming.on_drop()
                    elif dropped == "trailers":
                        Types.IncomingBody.finish(incoming).on_drop()
                    else:
                        stream = incoming.stream().value
                        assert await stream.blocking_read(100) == Ok(b"some")
                        incoming.on_drop()
                        stream.on_drop()
    # The nursery has ended, so the exchange's tasks are gone.
    assert outgoing.http.outgoing == 0
    assert body.body.closed


async def test_the_end_of_the_instance_ends_its_requests(origin):
    left = trio.Event()

    async def wait(stream):
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await read_all(stream)
        left.set()

    await origin.start(wait)
    async with trio.open_nursery() as nursery:
        outgoing = handler(nursery)
        response = (await get(outgoing.handle(request(f"127.0.0.1:{origin.port}"), None).value)).value
        nursery.cancel_scope.cancel()
    await left.wait()
    assert outgoing.http.outgoing == 0
    assert response.response.body.finished


async def test_a_finished_child_is_needed_for_the_trailers(nursery):
    async def send(request, options, nursery):
        return Response(200, [], Body.of(b"x"))

    response = (await get(handler(nursery, send=send).handle(request(), None).value)).value
    incoming = response.consume().value
    incoming.stream()
    with pytest.raises(Trap):
        Types.IncomingBody.finish(incoming)


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), GeneratorExit(), BaseExceptionGroup("", [SystemExit(3)])]
)
async def test_a_transport_that_fails_fails_its_request_alone(nursery, caplog, error):
    async def send(request, timeouts, nursery):
        if request.authority == "good.test":
            return Response(200, [], Body.empty())
        raise error

    outgoing = handler(nursery, send=send)
    assert (await get(outgoing.handle(request("bad.test"), None).value)).value == Variant("internal-error", None)
    assert "raise error" in caplog.text
    assert (await get(outgoing.handle(request("good.test"), None).value)).value.status() == 200


async def test_a_transport_that_fails_after_its_response_cuts_that(nursery, caplog):
    fail = trio.Event()

    async def go_on():
        await fail.wait()
        raise SystemExit(3)

    async def send(request, timeouts, nursery):
        nursery.start_soon(go_on)
        return Response(200, [], Body())

    response = (await get(handler(nursery, send=send).handle(request(), None).value)).value
    stream = response.consume().value.stream().value
    fail.set()
    answer = await stream.blocking_read(100)
    assert isinstance(answer, Err)
    assert answer.value.case == "last-operation-failed"
    assert "raise SystemExit(3)" in caplog.text
