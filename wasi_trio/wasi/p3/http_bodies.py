"""The contents of messages in wasi:http 0.3: ``stream<u8>`` and futures on the guest's side, a Body on the other.

None of this takes a task: whoever moves one end of a body moves the other. A body that a guest passes on unread as
the contents of another message goes from Body to Body, without a copy and without the guest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from wasi_trio.component.concurrency.copying import CopyResult
from wasi_trio.component.concurrency.futures import SharedFuture
from wasi_trio.component.concurrency.host_ends import Given, HostFutureReader
from wasi_trio.component.concurrency.streams import SharedStream
from wasi_trio.component.types import U8
from wasi_trio.component.values import Err, Ok
from wasi_trio.runtime.streams import discard
from wasi_trio.wasi.drain import Drain
from wasi_trio.wasi.http.body import Body, BodyEnd
from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.p3.http_fields import Fields
from wasi_trio.wasi.p3.http_types import RESULT, TRAILERS

_NO_TRAILERS: Final = Given(TRAILERS, Ok(None))
_WENT_WELL: Final = Given(RESULT, Ok())


# ---- from a Body to a guest --------------------------------------------------------------------------------


class BodyStream(SharedStream):
    """A ``stream<u8>`` that gives what a Body holds in the moment it is read, and ends with it.

    To drop the stream before its end closes the Body.
    """

    __slots__ = ("body",)

    def __init__(self, body: Body) -> None:
        super().__init__(U8)
        self.body = body
        self.pending = _BodySource(self)
        self.watchers.append(self._dropped)

    def _dropped(self) -> None:
        self.body.on_readable = None
        if not self.body.ended:
            self.body.close()

    def take_body(self) -> Body:
        """What is left of the Body, from a stream that nothing holds: the stream itself is at its end from here on."""
        self.body.on_readable = None
        self.pending = None
        self.watchers.clear()
        self.discard()
        return self.body


class _BodySource:
    """The source of the copies out of a BodyStream (a ``Party``). It is pending whenever no reader is."""

    __slots__ = ("body", "progress", "stream")

    instance: Final = None

    def __init__(self, stream: BodyStream) -> None:
        self.stream = stream
        self.body = stream.body
        self.progress = 0

    @property
    def length(self) -> int:
        return self.progress + self.body.available()

    def give(self, count: int) -> bytes | memoryview:
        return self.body.take_view(count)

    def copied(self) -> None:
        pass

    def done(self, result: CopyResult) -> None:
        if result is not CopyResult.COMPLETED:
            return
        # A reader waits, and nothing is there.
        if self.body.ended:
            self.stream.drop()
        else:
            self.body.on_readable = self._readable

    def _readable(self) -> None:
        stream = self.stream
        sink = stream.pending
        if sink is None:
            stream.pending = self  # the reader has withdrawn
        elif self.body.ended:
            stream.drop()
        else:
            # As if the reader had come only now: it is to have what is there, and no more behind its back.
            stream.pending = self
            stream.read(sink)


def trailers_of(body: Body) -> SharedFuture:
    """The future that resolves when a Body has ended: with its trailers, or the error that it ended with.

    A Body that its reader closed early has no trailers.
    """
    future = SharedFuture(TRAILERS)

    def resolve(end: BodyEnd) -> None:
        if end is BodyEnd.CUT and body.error is not None:
            future.write(Given(TRAILERS, Err(body.error.code)))
        elif end is BodyEnd.WHOLE and body.trailers:
            future.write(Given(TRAILERS, Ok(Fields.received(body.trailers))))
        else:
            future.write(_NO_TRAILERS)

    body.subscribe_end(resolve)
    return future


def watch_result(future: SharedFuture, then: Callable[[HttpError | None], None]) -> None:
    """Have ``then`` called with how a guest says that something went; a future that it gave up counts as well."""
    reader = HostFutureReader(future)

    def done(result: CopyResult, value: Any) -> None:
        if result is not CopyResult.CANCELLED:
            then(HttpError.of(value.value) if isinstance(value, Err) else None)

    reader.start_read(done)


class Transmission:
    """What becomes of a message, for the guest that made it. The first to say so is right."""

    __slots__ = ("_settled", "future")

    def __init__(self) -> None:
        #: the future that the guest gets
        self.future = SharedFuture(RESULT)
        self._settled = False

    def settle(self, error: HttpError | None) -> None:
        """It went well, or failed with ``error``."""
        if not self._settled:
            self._settled = True
            self.future.write(_WENT_WELL if error is None else Given(RESULT, Err(error.code)))


# ---- from a guest to a Body --------------------------------------------------------------------------------


class Outlet:
    """The Body that the contents of a guest's message go to, held to the length that its headers announce.

    Contents are followed by what the future ``trailers`` gives. When the Body has ended, or whoever reads it has
    closed it, ``transmission`` is settled. ``bodiless`` says that the message is one whose contents nobody is to read.
    """

    __slots__ = ("_expected", "_size_case", "_trailers", "_transmission", "bodiless", "body", "written")

    def __init__(
        self, transmission: Transmission, trailers: SharedFuture, expected: int | None, size_case: str
    ) -> None:
        self.body = Body()
        self.body.subscribe_end(self._body_ended)
        self.bodiless = False
        self.written = 0
        self._trailers = HostFutureReader(trailers)
        self._transmission = transmission
        self._expected = expected
        #: the ``error-code`` for contents of another length
        self._size_case = size_case

    @property
    def open(self) -> bool:
        """Whether anybody still wants contents."""
        return not self.body.finished and not self.body.closed

    def count(self, size: int) -> bool:
        """Account for so many more bytes; false, and the Body is cut, where they are too many."""
        self.written += size
        if self._expected is not None and self.written > self._expected:
            self.fail(HttpError(self._size_case, self.written))
            return False
        return True

    def fail(self, error: HttpError) -> None:
        """The contents end short."""
        self.body.abort(error)

    def finish_contents(self) -> None:
        """All contents are in the Body: trailers come next."""
        if self._expected is not None and self.written != self._expected and not self.bodiless:
            self.fail(HttpError(self._size_case, self.written))
        elif self.open:
            self._trailers.start_read(self._finish)

    def _finish(self, result: CopyResult, value: Any) -> None:
        if result is not CopyResult.COMPLETED:
            self.fail(HttpError("internal-error", "the guest is gone and has not said whether there are trailers"))
        elif isinstance(value, Err):
            self.fail(HttpError.of(value.value))
        else:
            fields: Fields | None = value.value
            self.body.finish(None if fields is None else fields.for_wire())

    def _body_ended(self, end: BodyEnd) -> None:
        body = self.body
        error = None
        if end is not BodyEnd.WHOLE:
            error = body.error or body.refusal
            if error is None and not self.bodiless:
                error = HttpError("connection-terminated")
        self._transmission.settle(error)
        self._trailers.drop()


class _GuestFeed(Drain):
    """Puts what a guest writes into an outlet."""

    __slots__ = ("outlet",)

    def __init__(self, stream: SharedStream, outlet: Outlet) -> None:
        super().__init__(stream)
        self.outlet = outlet
        outlet.body.subscribe_end(self._body_ended)

    def _body_ended(self, end: BodyEnd) -> None:
        self.stop()

    def room(self) -> int:
        return self.outlet.body.permit()

    def put(self, data: bytes) -> None:
        if self.outlet.count(len(data)):
            self.outlet.body.try_write(data)
        else:
            self.stop()

    def await_room(self) -> None:
        if self.outlet.open:
            self.outlet.body.on_permit = self.pull
        else:
            self.stop()

    def ended(self) -> None:
        self.outlet.body.on_permit = None
        self.outlet.finish_contents()


class _BodyFeed:
    """Moves a Body that a guest passed on, unread or in part, into an outlet."""

    __slots__ = ("outlet", "source")

    def __init__(self, source: Body, outlet: Outlet) -> None:
        self.source = source
        self.outlet = outlet
        outlet.body.subscribe_end(self._body_ended)

    def move(self) -> None:
        source, outlet = self.source, self.outlet
        body = outlet.body
        while outlet.open:
            if source.buffered:
                if not body.permit():
                    body.on_permit = self.move
                    return
                if not outlet.count(source.buffered):
                    break
                body.move_from(source)
            elif not source.ended:
                source.on_readable = self.move
                return
            elif source.error is not None or source.closed:
                outlet.fail(source.error or HttpError("connection-terminated"))
            else:
                outlet.finish_contents()
                return
        self.stop()

    def _body_ended(self, end: BodyEnd) -> None:
        self.stop()

    def stop(self) -> None:
        self.source.on_readable = None
        if not self.source.ended:
            self.source.close()


# ---- contents, by where they come from ---------------------------------------------------------------------


class Contents(ABC):
    """What a request or response holds."""

    __slots__ = ()

    @abstractmethod
    def consume(self, result: SharedFuture) -> tuple[SharedStream, SharedFuture]:
        """Hand everything to a guest, which tells in ``result`` how it goes: the contents and the trailers."""

    @abstractmethod
    def to_body(self, expected: int | None, size_case: str) -> Body:
        """Hand everything to the host."""

    @abstractmethod
    def drop(self, error: HttpError | None = None) -> None:
        """Nobody wants it, because of ``error`` if there is one."""


class HostContents(Contents):
    """Those of a message that came from the host."""

    __slots__ = ("body",)

    def __init__(self, body: Body) -> None:
        self.body = body

    def consume(self, result: SharedFuture) -> tuple[SharedStream, SharedFuture]:
        watch_result(result, self._handled)
        body = self.body
        return _empty_stream() if body.ended else BodyStream(body), trailers_of(body)

    def _handled(self, error: HttpError | None) -> None:
        """A guest that could not handle the message wants no more of it."""
        if error is not None and not self.body.ended:
            self.body.close(error)

    def to_body(self, expected: int | None, size_case: str) -> Body:
        return self.body

    def drop(self, error: HttpError | None = None) -> None:
        self.body.close(error)


class GuestContents(Contents):
    """Those of a message that a guest made."""

    __slots__ = ("bodiless", "stream", "trailers", "trailers_expected", "transmission")

    def __init__(self, stream: SharedStream | None, trailers: SharedFuture) -> None:
        self.stream = stream
        self.trailers = trailers
        self.transmission = Transmission()
        #: nobody is to read the contents: those of a response to HEAD, or with a status that has none
        self.bodiless = False
        #: where there is no stream: whether there may be trailers all the same
        self.trailers_expected = True

    def consume(self, result: SharedFuture) -> tuple[SharedStream, SharedFuture]:
        watch_result(result, self.transmission.settle)
        return _empty_stream() if self.stream is None else self.stream, self.trailers

    def to_body(self, expected: int | None, size_case: str) -> Body:
        outlet = Outlet(self.transmission, self.trailers, expected, size_case)
        outlet.bodiless = self.bodiless
        stream = self.stream
        if stream is None:
            outlet.finish_contents()
            if outlet.open and not self.trailers_expected:
                outlet.body.finish()
        elif isinstance(stream, BodyStream):
            _BodyFeed(stream.take_body(), outlet).move()
        else:
            _GuestFeed(stream, outlet).begin()
        return outlet.body

    def drop(self, error: HttpError | None = None) -> None:
        if self.stream is not None:
            discard(self.stream)
        discard(self.trailers)
        self.transmission.settle(error)


def _empty_stream() -> SharedStream:
    stream = SharedStream(U8)
    stream.drop()
    return stream
