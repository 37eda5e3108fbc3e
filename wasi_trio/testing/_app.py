"""Runs a component without a socket: requests go directly to its handler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypedDict

from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import CpuTimeExceeded, ExchangeFailed
from wasi_trio.testing import _standstill as standstill
from wasi_trio.testing._failures import ResponseCut, explain
from wasi_trio.testing._messages import Content, Fields, Incoming, request
from wasi_trio.testing._running import Failable, Running, load
from wasi_trio.testing._settings import Settings
from wasi_trio.testing._snapshot import Varying, snapshot
from wasi_trio.testing._sources import Source
from wasi_trio.testing._tasks import open_nursery
from wasi_trio.wasi.http import _messages as messages
from wasi_trio.wasi.http._body import BodyAborted
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._lengths import may_have_content

if TYPE_CHECKING:
    from typing import Unpack

    from wasi_trio.serve._middleware import Handler


class RequestParts(TypedDict, total=False):
    """The optional parts of a request.

    ``content`` is bytes, text, or an asynchronous iterator of bytes. ``json`` is encoded. ``trailers`` are fields that
    follow the content.
    """

    headers: Fields
    content: Content | None
    json: object
    trailers: Fields


class Response(Incoming):
    """A component's response."""

    def __init__(self, message: messages.Response, exchange: Exchange, app: App) -> None:
        super().__init__(message.body, message.headers)
        self.status = message.status
        #: The number of the instance that answered, as in ``App.instances``.
        self.instance = getattr(exchange, "instance", None)  # None if no guest got the request
        self._exchange = exchange
        self._app = app
        if not may_have_content(exchange.request.method, message.status):
            message.body.close()  # Discards further output of the guest.

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    async def snapshot(self, *varying: Varying) -> str:
        """Return the response as text that is the same in every run, for ``syrupy`` or another snapshot library.

        The text has the status, the fields in order, the content (JSON indented, binary data in base64), and the
        trailers. ``varying`` are parts that differ from run to run: names of fields and of members of JSON, paths to
        members of JSON such as ``$.items[*].id``, and regular expressions. Dates and ids of requests and traces are
        known. Raises ValueError for an invalid path.
        """
        content = await self.read()
        return snapshot(self.status, self.headers.raw, content, self.trailers.raw, varying)

    async def _receive(self) -> bytes:
        __tracebackhide__ = True
        try:
            return await super()._receive()
        except BodyAborted as aborted:
            error = aborted.error
        cut = ResponseCut(f"{self._exchange.request.method} {self._exchange.request.path_with_query}: {error}")
        raise self._app._explained(cut, self._exchange)


class App(Running):
    """A component that any number of tasks can send requests to, without a socket.

    If no response or only a part of one arrives, the request raises ExchangeFailed. Its notes contain the cause and the
    guest's standard error. A response from the component is a response, even with a status such as 500.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self._handler: Handler | None = None
        self._requests: dict[Failable, None] = {}

    def _fail(self, error: BaseException) -> None:
        """End the oldest request in progress with an error of the test's own code, or else the whole block.

        The harness does not know for which request a guest makes an outgoing request.
        """
        for visit in self._requests:
            if not visit.failed:
                visit.fail(error)
                return
        super()._fail(error)

    def _explained(self, error: ExchangeFailed, exchange: Exchange) -> ExchangeFailed:
        """Return the error with notes."""
        instance = self._pools.find(exchange.component, exchange.instance)
        if instance is None:
            explain(error, exchange.cause, self.stderr)
        else:
            explain(error, exchange.cause, instance.stderr, instance.name)
        if isinstance(error, CpuTimeExceeded) and standstill.clock_may_stand_still():
            error.add_note(f"{standstill.EXPLANATION} max_cpu_time limits its processor time.")
        return error

    async def request(self, method: str, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        """Send a request and return the whole response, including its content and trailers.

        ``url`` is a path, or a URL for a host other than ``http://localhost``. When the response ends, sending the
        request's content stops. For the guest, cancellation means that its client has left. Raises ExchangeFailed, and
        ValueError for a request that HTTP forbids.
        """
        __tracebackhide__ = True
        async with self.stream(method, url, **parts) as response:
            await response.read()
        return response

    @asynccontextmanager
    async def stream(self, method: str, url: str = "/", **parts: Unpack[RequestParts]) -> AsyncIterator[Response]:
        """Send a request and yield the response as soon as it begins. Its content arrives while the block runs.

        The rest of the request's content is sent meanwhile. If the block ends before the response, the guest's client
        has left.
        """
        __tracebackhide__ = True
        assert self._handler is not None
        message, feed = request(
            method,
            url,
            parts.get("headers", ()),
            parts.get("content"),
            parts.get("json"),
            parts.get("trailers", ()),
        )
        visit = Failable()
        self._requests[visit] = None
        try:
            with visit.block():
                async with open_nursery() as nursery:
                    if feed is not None:
                        nursery.start_soon(feed.run)
                    exchange = self._handler.submit(message)
                    try:
                        failure: ExchangeFailed | None = None
                        try:
                            answer = await exchange.wait()
                        except ExchangeFailed as failed:
                            failure = failed
                        if failure is not None:
                            raise self._explained(failure, exchange)
                        yield Response(answer, exchange, self)
                    finally:
                        message.body.abort(HttpError("connection-terminated"))
                        self._leave(exchange)
        finally:
            del self._requests[visit]

    def _leave(self, exchange: Exchange) -> None:
        """End the client's interest. The guest learns of it unless the client has the whole response."""
        response = exchange.response
        if response is None:
            self._watched = None
            return
        had_all = response.body.ended
        response.body.close()
        if not had_all:
            self._watched = None  # The guest may take any time to finish.
            exchange.cancel()

    async def get(self, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        """Send a request with the method GET, as ``request`` does. The other methods are equal to this."""
        __tracebackhide__ = True
        return await self.request("GET", url, **parts)

    async def head(self, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        __tracebackhide__ = True
        return await self.request("HEAD", url, **parts)

    async def post(self, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        __tracebackhide__ = True
        return await self.request("POST", url, **parts)

    async def put(self, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        __tracebackhide__ = True
        return await self.request("PUT", url, **parts)

    async def patch(self, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        __tracebackhide__ = True
        return await self.request("PATCH", url, **parts)

    async def delete(self, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        __tracebackhide__ = True
        return await self.request("DELETE", url, **parts)

    async def options(self, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        __tracebackhide__ = True
        return await self.request("OPTIONS", url, **parts)


@asynccontextmanager
async def component(*sources: Source, **settings: Unpack[Settings]) -> AsyncIterator[App]:
    """Run an HTTP component without a socket.

    A source is the path of a component, its bytes, or its text. With several sources, each component answers the
    requests that the previous one makes through ``wasi:http/handler``. For the settings see ``Settings``. Compiling a
    large component for the first time on a machine blocks the event loop for seconds.

    The end of the block drops all work in progress. ``await app.idle()`` waits for work of guests after a response.
    Raises LoadError and any exception of the block.
    """
    __tracebackhide__ = True
    names, chain = load(sources, settings)
    app = App(names)
    async with app._open(chain, settings) as handler:
        app._handler = handler
        yield app
