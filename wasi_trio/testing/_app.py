"""A component without a socket: requests go to its handler as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypedDict

from wasi_trio.serve.pool._exchange import CpuTimeExceeded, Exchange, ExchangeFailed
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

    from wasi_trio.serve._middleware import Answerer


class RequestParts(TypedDict, total=False):
    """What a request may have beside its method and URL.

    ``content`` is bytes, text, or bytes that come one piece after the other from an asynchronous iterator; ``json`` is
    encoded. ``trailers`` are fields that follow the content.
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
        #: the number of the instance that answered, as in ``App.instances``
        self.instance = getattr(exchange, "instance", None)  # none where no guest was asked
        self._exchange = exchange
        self._app = app
        if not may_have_content(exchange.request.method, message.status):
            message.body.close()  # what a guest writes there goes nowhere

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    async def snapshot(self, *varying: Varying) -> str:
        """The response as text that is the same in every run: for ``syrupy``, or whatever keeps snapshots.

        The status, the fields in the order in which they came, the content (JSON indented, and what is no text in
        base64), and the trailers. ``varying`` are parts that differ from run to run: fields and members of JSON by
        their names, members of JSON by a path such as ``$.items[*].id``, and regular expressions. Dates and ids of
        requests and traces need not be named. Raises ValueError for a path that is none.
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
    """A component that is asked without a socket, by any number of tasks.

    Where no response comes of a request, or only a part of one, that raises ExchangeFailed, with notes of what ended
    the guest and of what it wrote to standard error. A response with a status like 500 that the component gave is one
    like any other.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self._handler: Answerer | None = None
        self._requests: dict[Failable, None] = {}

    def _fail(self, error: BaseException) -> None:
        """End the oldest request under way with an error of the test's own code; where there is none, the whole block.

        Which request a guest makes one of its own for is not known.
        """
        for visit in self._requests:
            if not visit.failed:
                visit.fail(error)
                return
        super()._fail(error)

    def _explained(self, error: ExchangeFailed, exchange: Exchange) -> ExchangeFailed:
        """The error, with notes on it."""
        instance = self._pools.find(exchange.component, exchange.instance)
        if instance is None:
            explain(error, exchange.cause, self.stderr)
        else:
            explain(error, exchange.cause, instance.stderr, instance.name)
        if isinstance(error, CpuTimeExceeded) and standstill.clock_may_stand_still():
            error.add_note(f"{standstill.EXPLANATION} max_cpu_time bounds what it may use meanwhile.")
        return error

    async def request(self, method: str, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        """The whole response to a request: its content, with which it was read, is at hand, and so are its trailers.

        ``url`` is a path, or a URL for a host other than ``http://localhost``. Content that is still being sent when
        the response ends is given up. Cancelling this is to the guest that its client left. Raises ExchangeFailed, and
        ValueError for a request that HTTP does not have.
        """
        __tracebackhide__ = True
        async with self.stream(method, url, **parts) as response:
            await response.read()
        return response

    @asynccontextmanager
    async def stream(self, method: str, url: str = "/", **parts: Unpack[RequestParts]) -> AsyncIterator[Response]:
        """The response to a request, as soon as it begins; its content comes while the block runs.

        So does what is left of the request's. Leaving the block before the response has ended is to the guest that its
        client left.
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
        """The client wants no more; where it had all, that is no news to the guest."""
        response = exchange.response
        if response is None:
            self._watched = None
            return
        had_all = response.body.ended
        response.body.close()
        if not had_all:
            self._watched = None  # The guest may finish in its own time.
            exchange.cancel()

    async def get(self, url: str = "/", **parts: Unpack[RequestParts]) -> Response:
        """``request`` with the method GET; so are the others with theirs."""
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
    """An HTTP component to be asked without a socket.

    A source is the path of a component, its bytes, or its text. Of several, each answers the requests that the one
    before makes of ``wasi:http/handler``. Of what there is to set see ``Settings``. Compiling a large component that
    this machine has not compiled before holds up the event loop for seconds.

    When the block ends all is dropped as it stands: ``await app.idle()`` waits for what guests do after a response.
    Raises LoadError, and what the block raises.
    """
    __tracebackhide__ = True
    names, chain = load(sources, settings)
    app = App(names)
    async with app._open(chain, settings) as handler:
        app._handler = handler
        yield app
