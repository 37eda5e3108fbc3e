"""Static files. They are opened like the files of guests: no path and no link leads out of the folder."""

from __future__ import annotations

import errno
import mimetypes
import stat
from collections.abc import Coroutine
from http import HTTPStatus
from types import TracebackType
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote_to_bytes

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve._mounting import below
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._observer import Observer
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._states import Event
from wasi_trio.serve.pool._tracing import RequestStream
from wasi_trio.serve.routing._conditions import Representation, Verdict, judge
from wasi_trio.wasi.filesystem._opened import BUFFER_SIZE, Files, Opened, OpenFlags
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.filesystem._streams import FileSource
from wasi_trio.wasi.http._body import Body, BodyClosed
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response

logger = get_logger("wasi_trio.serve")

T = TypeVar("T")

#: The file that answers a request for its folder.
INDEX = "index.html"
#: The maximum number of files of one folder that are sent at the same time.
MAX_OPEN_FILES = 1024
#: Names that begin with a dot but are visible (RFC 8615).
_SHOWN = frozenset({".well-known"})
#: The errors for a file that does not exist, or that clients may not see.
_ABSENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO}
)
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
#: The media types by extension, without the system's additions, which differ between systems.
_KINDS = mimetypes.MimeTypes()


class _Wait(Exception):
    """The operation cannot be done without waiting."""


class _Refused(Exception):
    """The request is answered with a status alone."""

    def __init__(self, status: HTTPStatus, *headers: tuple[str, bytes]) -> None:
        super().__init__(status.phrase)
        self.status = status
        self.headers = headers


class StaticFiles:
    """Answers requests with the files of a folder. Use it as an async context manager.

    It has the interface of a ``ProxyHandler``. The part of a path below ``prefix`` is the file's name. Names that begin
    with a dot are not found, except for ``.well-known``. ``index.html`` answers for its folder. Folders are never
    listed. On exit it finishes the responses being sent, within the ``drain_timeout`` of ``options``.
    """

    def __init__(self, folder: Preopen, prefix: str, options: HandlerOptions) -> None:
        self._prefix = prefix
        self._options = options
        self._name = folder.host
        self._files = Files((folder,), MAX_OPEN_FILES)
        self._root = Opened.preopen(self._files, folder)
        self._observer: Observer | None = None
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> StaticFiles:
        self._nursery = await self._nursery_manager.__aenter__()
        options = self._options
        if options.metrics is not None or options.observed or options.tracer is not None:
            metrics = None
            if options.metrics is not None:
                metrics = options.metrics.of(self._name, options.route, options.generation)
            self._observer = Observer(self._name, metrics, (), options.instance_prefix, options.tracer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self.begin_to_drain()
        try:
            return await self._nursery_manager.__aexit__(kind, error, traceback)
        finally:
            self._root.close()
            self._files.close()

    def begin_to_drain(self) -> None:
        """Cut the responses that are not sent within ``drain_timeout``."""
        assert self._nursery is not None
        limit = self._options.drain_timeout
        if limit is not None:
            scope = self._nursery.cancel_scope
            scope.deadline = min(scope.deadline, trio.current_time() + limit)

    def submit(self, request: Request, stream: RequestStream | None = None) -> Exchange:
        """Submit a request without waiting for its response. ``stream`` transported it, if given."""
        exchange = Exchange(request)
        if self._observer is not None:
            self._observer.submitted(exchange, stream)
        exchange.advance(Event.PLACE)
        exchange.advance(Event.BEGIN)
        request.body.close()
        try:
            # Most files are small and cached in memory, and need no task.
            self._answer(exchange, at_once=True).send(None)
        except StopIteration:
            return exchange
        except _Wait:
            assert self._nursery is not None, "the folder must be entered before it receives requests"
            self._nursery.start_soon(self._answer, exchange, False)
            return exchange
        raise AssertionError("an immediate answer never waits")

    async def _answer(self, exchange: Exchange, at_once: bool) -> None:
        request = exchange.request
        try:
            response, source, left = await self._respond(request, at_once)
        except _Refused as refused:
            content = b"" if refused.status is HTTPStatus.NOT_MODIFIED else f"{refused.status.phrase}\n".encode()
            headers = [*refused.headers]
            if content:
                headers += [("content-type", b"text/plain; charset=utf-8"), ("content-length", b"%d" % len(content))]
            response, source, left = Response(refused.status, headers, Body.of(content)), None, 0
        exchange.respond(response)
        observer = self._observer
        if observer is not None:
            response.body.subscribe_end(lambda end: observer.ended(exchange))
        if source is not None:
            await self._send(source, response.body, left)

    async def _respond(self, request: Request, at_once: bool) -> tuple[Response, FileSource | None, int]:
        """Return the response, and the source and size of the content still to be sent. Raise _Refused."""
        if request.method not in ("GET", "HEAD"):
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, ("allow", b"GET, HEAD"))
        target = (request.path_with_query or "/").partition("?")[0]
        name = _name_of(below(self._prefix, target) if self._prefix else target)
        try:
            opened = await self._open(name, target, at_once)
            try:
                return await self._content(opened, name, request, at_once)
            finally:
                opened.close()
        except OSError as error:
            if error.errno in _ABSENT:
                raise _Refused(HTTPStatus.NOT_FOUND) from None
            logger.error("Cannot send %s of %s: %s", name, self._name, error.strerror or error)
            if error.errno in _EXHAUSTED:
                raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, ("retry-after", b"1")) from None
            raise _Refused(HTTPStatus.INTERNAL_SERVER_ERROR) from None

    async def _open(self, name: str, target: str, at_once: bool) -> Opened:
        opened = await _open(self._root, name, at_once)
        if not opened.is_directory:
            return opened
        try:
            if not target.endswith("/"):
                # Relative, because the client may see another path before this one.
                last = quote(unquote_to_bytes(target.rpartition("/")[2]))
                raise _Refused(HTTPStatus.PERMANENT_REDIRECT, ("location", f"./{last}/".encode()))
            return await _open(opened, INDEX, at_once)
        finally:
            opened.close()

    async def _content(
        self, opened: Opened, name: str, request: Request, at_once: bool
    ) -> tuple[Response, FileSource | None, int]:
        status = await _result(opened.stat(), at_once)
        if not stat.S_ISREG(status.st_mode):
            raise _Refused(HTTPStatus.NOT_FOUND)
        what = Representation(status.st_size, status.st_mtime_ns)
        verdict = judge(request.method, request.headers, what)
        common = [*what.validators(), ("accept-ranges", b"bytes")]
        if verdict.status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _Refused(verdict.status, *common, ("content-range", b"bytes */%d" % what.size))
        if verdict.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise _Refused(verdict.status, *common)
        length = verdict.end - verdict.start
        headers = [
            *common,
            ("content-length", b"%d" % length),
            ("content-type", _kind_of(name if name != "." and not name.endswith("/") else INDEX)),
            ("x-content-type-options", b"nosniff"),
        ]
        if verdict.status is HTTPStatus.PARTIAL_CONTENT:
            headers.append(("content-range", b"bytes %d-%d/%d" % (verdict.start, verdict.end - 1, what.size)))
        if request.method == "HEAD" or not length:
            return Response(verdict.status, headers, Body.empty()), None, 0
        if length <= BUFFER_SIZE:
            content = bytes(await _result(_read(opened, verdict), at_once))
            if len(content) == length:
                return Response(verdict.status, headers, Body.of(content)), None, 0
        if at_once:
            raise _Wait
        return Response(verdict.status, headers, Body(BUFFER_SIZE)), FileSource(opened, verdict.start), length

    async def _send(self, source: FileSource, body: Body, left: int) -> None:
        """Send part of a file. If the file has become shorter, cut the response."""
        try:
            while left:
                await body.wait_permit()
                piece = source.take(min(body.permit() or 1, left))
                if piece is None:
                    raise OSError(errno.EIO, "the file has become shorter")
                if not piece:
                    await source.wait()
                    continue
                left -= len(piece)
                await body.send_all(piece)
            body.finish()
        except BodyClosed:
            pass  # the client has left
        except OSError as error:
            logger.error("Cut the response with a file of %s: %s", self._name, error.strerror or error)
        finally:
            source.close()
            if not body.finished:
                body.abort(HttpError("internal-error"))


def _name_of(path: str) -> str:
    """Return the path within the folder for the rest of a request's path. Raise _Refused."""
    names = []
    *folders, last = path.removeprefix("/").split("/")
    for segment in (*folders, last) if last else folders:
        try:
            name = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            raise _Refused(HTTPStatus.NOT_FOUND) from None
        # An encoded slash does not separate segments, and no file name contains one.
        if not name or "/" in name or "\0" in name or (name.startswith(".") and name not in _SHOWN):
            raise _Refused(HTTPStatus.NOT_FOUND)
        names.append(name)
    return "/".join(names) + ("/" if names and not last else "") or "."


def _kind_of(name: str) -> bytes:
    kind, coding = _KINDS.guess_type(name)
    if kind is None or coding is not None:
        return b"application/octet-stream"
    return f"{kind}; charset=utf-8".encode() if kind.startswith("text/") else kind.encode()


def _read(opened: Opened, verdict: Verdict) -> Any:
    return opened.read(verdict.end - verdict.start, verdict.start)


async def _open(folder: Opened, name: str, at_once: bool) -> Opened:
    if at_once:
        opened = folder.open_now(name, follow=True)
        if opened is None:
            raise _Wait
        return opened
    return await _result(folder.open_at(name, OpenFlags(read=True), follow=True), at_once)


async def _result(value: T | Coroutine[Any, Any, T], at_once: bool) -> T:
    """Return the result of an operation. Raise _Wait if it needs to wait and must be done at once."""
    if not isinstance(value, Coroutine):
        return value
    if at_once:
        value.close()
        raise _Wait
    return cast(T, await value)
