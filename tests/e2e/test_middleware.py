"""Chains of components, each with its own instances."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.e2e.process import on_disk
from tests.e2e.support import PATIENCE, Client, content, engine, handle, request, until
from tests.serve.support import serving_asgi
from wasi_trio.asgi import App
from wasi_trio.serve._listening import bind
from wasi_trio.serve._middleware import Chain, NextHandler
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.pool._failures import ExchangeFailed
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.http._body import Body, BodyAborted
from wasi_trio.wasi.http._errors import HttpError


@asynccontextmanager
async def chain(folder: Path, *names: str, options: HandlerOptions | None = None) -> AsyncIterator[list[ProxyHandler]]:
    """Run the handlers of a chain of guests during the block. Cancel everything at the end."""
    loaded = Chain(engine(), [str(on_disk(folder, name)) for name in names])
    with trio.fail_after(PATIENCE), trio.CancelScope() as scope:
        async with loaded.open(options) as handlers:
            yield handlers
            scope.cancel()


@asynccontextmanager
async def served(handler: ProxyHandler) -> AsyncIterator[Client]:
    """Serve a handler during the block, and yield a client."""
    listener = bind(("127.0.0.1", 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(HandlerService(handler)).run, [listener], trio.Event())
        async with Client(listener.getsockname()[1]) as client:
            yield client
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("behind", ["p3_hello", "hello"])
async def test_hello(tmp_path: Path, behind: str) -> None:
    async with chain(tmp_path, "p3_middleware", behind) as (outer, inner), served(outer) as client:
        for _ in range(3):
            answer = await client.ask("/")
            assert (answer.status, answer.body, answer.cut) == (200, b"Hello, world!\n", False)
            assert answer.headers["content-type"] == "text/plain"
            assert answer.headers["x-middleware"] == "passed"
        assert outer.started == 1
        assert inner.started == (1 if behind == "p3_hello" else 3)
        await until(lambda: not outer.active and not inner.active)


async def test_a_long_chain(tmp_path: Path) -> None:
    async with chain(tmp_path, "p3_middleware", "p3_middleware", "p3_middleware", "p3_echo") as handlers:
        response = await handlers[0].handle(request("/", "POST", Body.of(b"content")))
        assert response.headers.count(("x-middleware", b"passed")) == 3
        assert await content(response) == b"content"
        assert [handler.started for handler in handlers] == [1, 1, 1, 1]


@pytest.mark.parametrize("behind", ["p3_echo", "echo"])
async def test_bodies_stream_through(tmp_path: Path, behind: str) -> None:
    async with chain(tmp_path, "p3_middleware", behind) as (outer, _), served(outer) as client:
        await client.start("/", "POST", ("transfer-encoding", "chunked"))
        await client.write(b"first")
        answer = await client.head()
        assert await client.content(5) == b"first"
        await client.write(b"second")
        assert await client.content(6) == b"second"
        await client.end()
        await client.rest(answer)
        assert (answer.body, answer.cut) == (b"", False)


async def test_a_large_body(tmp_path: Path) -> None:
    block = bytes(range(256)) * 256
    async with chain(tmp_path, "p3_middleware", "p3_echo") as (outer, _), trio.open_nursery() as nursery:
        body = Body()

        async def send() -> None:
            for _ in range(320):
                await body.send_all(block)
            body.finish()

        nursery.start_soon(send)
        response = await outer.handle(request("/", "POST", body))
        received = await content(response)
        assert len(received) == 320 * len(block)
        assert received == block * 320


async def test_trailers_pass_in_both_directions(tmp_path: Path) -> None:
    trailers = [("x-sent", b"with the request")]
    async with chain(tmp_path, "p3_middleware", "p3_trailers") as (outer, _):
        response = await outer.handle(request("/0"))
        assert await content(response) == b"trailers follow\n"
        assert response.body.trailers == [("x-trailer", b"value")]
        response = await outer.handle(request("/1", "POST", Body.of(b"content", trailers)))
        assert await content(response) == b"trailers follow\n"
        assert response.body.trailers == trailers
        response = await outer.handle(request("/2"))
        with pytest.raises(BodyAborted, match="configuration-error"):
            await content(response)


@pytest.mark.parametrize("path", ["/0", "/2"])
async def test_a_trap_is_an_error_for_the_caller(tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with chain(tmp_path, "p3_middleware", "p3_trap") as (outer, inner):
        for _ in range(2):
            with pytest.raises(ExchangeFailed, match="internal-error: the next handler failed"):
                await outer.handle(request(path))
        assert (outer.started, inner.started) == (1, 2), "the instance in front lives on"
    assert "trapped: wasm trap: wasm `unreachable` instruction executed" in caplog.text


@pytest.mark.parametrize("path", ["/1", "/3"])
async def test_a_trap_cuts_a_begun_response(tmp_path: Path, path: str) -> None:
    async with chain(tmp_path, "p3_middleware", "p3_trap") as (outer, inner):
        for _ in range(2):
            response = await outer.handle(request(path))
            with pytest.raises(BodyAborted, match="internal-error: the guest trapped"):
                await content(response)
        assert (outer.started, inner.started) == (1, 2)


@pytest.mark.parametrize(
    ("guest", "path", "error"),
    [
        ("p3_no_response", "/1", "HTTP-request-denied"),
        ("p3_no_response", "/3", "DNS-error"),
        ("p3_no_response", "/0", "internal-error: the guest trapped"),
        ("p3_exit", "/0", "internal-error: the guest exited with code 0"),
        ("trap", "/", "internal-error: the guest trapped"),
        ("no_response", "/", "internal-error: the guest returned without setting a response"),
        ("trap_in_start", "/", "internal-error: no instance could be created"),
    ],
)
async def test_errors_for_the_caller(guest: str, path: str, error: str) -> None:
    async with handle(guest) as pool:
        link = NextHandler()
        link.handler = pool.handler
        with pytest.raises(HttpError, match=error):
            await link.answer(request(path))


async def test_a_client_that_leaves_cancels_the_inner_call(tmp_path: Path) -> None:
    async with chain(tmp_path, "p3_middleware", "p3_cancel") as (outer, inner):
        async with served(outer) as client:
            await client.start("/0")
            await until(lambda: inner.active == 1)
        await until(lambda: not outer.active and not inner.active)
        response = await outer.handle(request("/9"))
        assert await content(response) == b"1\n", "the guest behind has seen it"
        assert (outer.started, inner.started) == (1, 1)


@pytest.mark.parametrize("behind", ["endless_body", "p3_endless_body"])
@pytest.mark.parametrize("path", ["/0", "/1"])
async def test_a_dropped_response(tmp_path: Path, behind: str, path: str) -> None:
    options = HandlerOptions(idle_instance_timeout=0)
    async with chain(tmp_path, "p3_middleware", behind, options=options) as (outer, inner):
        response = await outer.handle(request(path))
        assert await response.body.receive_some(1)
        response.body.close()
        await until(lambda: not outer.active and not inner.active)


async def test_a_deadline_of_the_caller(tmp_path: Path) -> None:
    async with chain(tmp_path, "p3_deadline", "p3_sleep") as (outer, inner):
        response = await outer.handle(request("/3600000"))
        assert response.status == 504
        assert await content(response) == b"4\n", "cancelled before it returned"
        await trio.testing.wait_all_tasks_blocked()  # while it ends that, the inner instance takes no other request
        response = await outer.handle(request("/1"))
        assert response.status == 200
        assert await content(response) == b"slept\n"
        assert inner.started == 1


async def test_the_deadline_of_a_request(tmp_path: Path) -> None:
    options = HandlerOptions(request_timeout=0.1)
    async with chain(tmp_path, "p3_middleware", "p3_sleep", options=options) as (outer, inner):
        with pytest.raises(ExchangeFailed) as caught:
            await outer.handle(request("/3600000"))
        assert caught.value.status in (500, 504), "either deadline may come first"
        await until(lambda: not outer.active and not inner.active)


async def test_leaving_lets_active_requests_finish(tmp_path: Path) -> None:
    loaded = Chain(engine(), [str(on_disk(tmp_path, name)) for name in ("p3_middleware", "p3_sleep")])
    answers: list[bytes] = []

    async def ask(handler: ProxyHandler) -> None:
        answers.append(await content(await handler.handle(request("/200"))))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            async with loaded.open() as (outer, inner):
                nursery.start_soon(ask, outer)
                await until(lambda: inner.active == 1)
            assert not outer.active
    assert answers == [b"slept\n"]


async def test_in_an_asgi_application(tmp_path: Path) -> None:
    app = App([on_disk(tmp_path, "p3_middleware"), on_disk(tmp_path, "p3_hello")])
    async with serving_asgi(app) as port, Client(port) as client:
        assert (await client.ask("/")).headers["x-middleware"] == "passed"
