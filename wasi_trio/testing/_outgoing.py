"""Guests' outgoing requests, answered by a function of the test instead of the network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import trio

from wasi_trio.testing._messages import Content, Feed, Fields, Incoming, encode, fields
from wasi_trio.wasi.http import _messages as messages
from wasi_trio.wasi.http._body import Body, BodyAborted
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._lengths import may_have_content, response_headers
from wasi_trio.wasi.http._request_options import RequestOptions


class OutgoingRequest(Incoming):
    """A guest's outgoing request. Its content may arrive later: ``async for`` yields it piece by piece."""

    def __init__(self, request: messages.Request) -> None:
        super().__init__(request.body, request.headers)
        self.method = request.method
        self.scheme = request.scheme or "https"
        self.authority = request.authority or ""
        #: Includes the query.
        self.path = request.path_with_query or "/"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def __repr__(self) -> str:
        return f"<OutgoingRequest {self.method} {self.url}>"


class Answer:
    """A response for a guest. ``json`` is encoded as the content. Raises ValueError for invalid fields.

    Content in pieces is sent even after the handler has returned, until the guest stops reading. So
    ``Answer(content=request)`` is an echo.
    """

    def __init__(
        self,
        status: int = 200,
        content: Content | None = None,
        *,
        headers: Fields = (),
        json: object = None,
        trailers: Fields = (),
    ) -> None:
        if not 200 <= status <= 999:
            raise ValueError(f"{status} is not the status of a response")
        self.status = status
        self.headers = fields(headers)
        self._body, self._feed = encode(self.headers, content, json, trailers, always=False)

    def take(self) -> tuple[messages.Response, Feed | None]:
        """Return the message and the feed of its content. Must be called once."""
        return messages.Response(self.status, self.headers, self._body), self._feed


class Tape(ABC):
    """Answers requests as a ``Client`` does, and saves its records if a block of the test ends without failure."""

    @abstractmethod
    async def send(
        self,
        outgoing: OutgoingRequest,
        request: messages.Request,
        options: RequestOptions,
        nursery: trio.Nursery,
        fail: Callable[[BaseException], None],
    ) -> messages.Response: ...

    @abstractmethod
    def save(self) -> None: ...


#: A function that answers a guest's requests, or a cassette. The function raises HttpError, for example
#: ``HttpError("connection-refused")``, to let a request fail.
OutgoingHandler: TypeAlias = Callable[[OutgoingRequest], Awaitable[Answer]] | Tape


class UnexpectedRequest(Exception):
    """A guest made a request for which the test has no answer."""

    def __init__(self, request: OutgoingRequest) -> None:
        super().__init__(
            f"the guest asked for {request.method} {request.url}, but a test has no network: pass outgoing=, an"
            " async function from the request to an Answer"
        )
        self.request = request


class Outgoing:
    """Replaces the network. ``fail`` receives the errors of the test's own code."""

    def __init__(self, handler: OutgoingHandler | None, fail: Callable[[BaseException], None]) -> None:
        self._handler = handler
        self._fail = fail

    async def send(
        self, request: messages.Request, options: RequestOptions, nursery: trio.Nursery
    ) -> messages.Response:
        """Send a request, as ``wasi_trio.wasi.http._client.Client.send`` does."""
        outgoing = OutgoingRequest(request)
        if self._handler is None:
            self._fail(UnexpectedRequest(outgoing))
            raise HttpError("HTTP-request-denied")
        timeout = options.first_byte_timeout
        try:
            with trio.move_on_after(math.inf if timeout is None else timeout):
                if isinstance(self._handler, Tape):
                    return await self._handler.send(outgoing, request, options, nursery, self._fail)
                return self._begin(await self._handler(outgoing), request, options, nursery)
            raise HttpError("connection-read-timeout")
        except BodyAborted as aborted:  # the guest aborted the request that the handler reads
            raise aborted.error from None
        except (HttpError, trio.Cancelled, GeneratorExit):
            raise
        except BaseException as error:  # includes pytest.fail() and pytest.skip()
            self._fail(error)
            raise HttpError("internal-error", "the test's handler of outgoing requests failed") from None

    def _begin(
        self, answer: Answer, request: messages.Request, options: RequestOptions, nursery: trio.Nursery
    ) -> messages.Response:
        if not isinstance(answer, Answer):
            raise TypeError(f"outgoing= returned {answer!r}: return an Answer")
        response, feed = answer.take()
        if not may_have_content(request.method, response.status):
            headers = response_headers(request.method, response.status, response.headers)
            response, feed = messages.Response(response.status, headers, Body.empty()), None
        response.body.subscribe_left(nursery.cancel_scope.cancel)
        nursery.start_soon(self._complete, response.body, feed, request.body, options.between_bytes_timeout)
        return response

    async def _complete(self, body: Body, feed: Feed | None, request: Body, pause: float | None) -> None:
        """Write content in pieces, and receive the rest of the request, like a server."""
        if feed is not None:
            try:
                await feed.run(pause)
            except trio.TooSlowError:
                body.abort(HttpError("connection-read-timeout"))
            except BodyAborted as aborted:  # the content comes from the request, which the guest aborted
                body.abort(aborted.error)
            except HttpError as error:
                body.abort(error)
            except (trio.Cancelled, GeneratorExit):
                raise
            except BaseException as error:
                self._fail(error)
                body.abort(HttpError("internal-error", "the test's content failed"))
        await drain(request)


async def drain(request: Body) -> None:
    """Receive and discard the rest of a request, like a server."""
    with suppress(BodyAborted):
        while await request.receive_some():
            await trio.lowlevel.checkpoint()
