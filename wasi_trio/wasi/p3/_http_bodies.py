"""Contents of messages in wasi:http 0.3: ``stream<u8>`` and futures for the guest, a Body for the host.

None of this needs a task: an operation on one end of a body moves data to or from the other end. A guest can pass on an
unread body as the contents of another message. Then the data moves from Body to Body, without a copy and without the
guest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from wasi_trio.component._account import Account
from wasi_trio.component._types import U8
from wasi_trio.component._values import Err, Ok
from wasi_trio.component.concurrency._copying import CopyResult
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._host_ends import Given, HostFutureReader
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.runtime._streams import discard
from wasi_trio.wasi._drain import Drain
from wasi_trio.wasi.http._body import Body, BodyEnd
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._lengths import ContentLength
from wasi_trio.wasi.p3._http_fields import Fields
from wasi_trio.wasi.p3._http_types import RESULT, TRAILERS

_NO_TRAILERS: Final = Given(TRAILERS, Ok(None))
_SUCCESS: Final = Given(RESULT, Ok())


# ---- from a Body to a guest --------------------------------------------------------------------------------


class BodyStream(SharedStream):
    """A ``stream<u8>`` whose reads take from a Body. It ends with the Body.

    Dropping the stream before its end closes the Body, and sets ``given_up``.
    """

    __slots__ = ("body", "given_up")

    def __init__(self, body: Body) -> None:
        super().__init__(U8)
        self.body = body
        self.given_up = False
        self.pending = _BodySource(self)
        self.watchers.append(self._dropped)

    def _dropped(self) -> None:
        self.body.on_readable = None
        if not self.body.ended:
            self.given_up = True
            self.body.close()

    def take_body(self) -> Body:
        """Return the rest of the Body of a stream without other users. The stream ends."""
        self.body.on_readable = None
        self.pending = None
        self.watchers.clear()
        self.discard()
        return self.body


class _BodySource:
    """The readable buffer of a BodyStream. It is pending whenever no reader is."""

    __slots__ = ("body", "progress", "stream")

    instance: Final = None

    def __init__(self, stream: BodyStream) -> None:
        self.stream = stream
        self.body = stream.body
        self.progress = 0

    @property
    def length(self) -> int:
        return self.progress + self.body.available()

    def read(self, count: int) -> bytes | memoryview:
        return self.body.take_view(count)

    def copied(self) -> None:
        pass

    def done(self, result: CopyResult) -> None:
        if result is not CopyResult.COMPLETED:
            return
        # A reader waits, and no data is available.
        if self.body.ended:
            self.stream.drop()
        else:
            self.body.on_readable = self._readable

    def _readable(self) -> None:
        stream = self.stream
        destination = stream.pending
        if destination is None:
            stream.pending = self  # the reader has withdrawn
        elif self.body.ended:
            stream.drop()
        else:
            # Repeat the read, as if the reader had just arrived, so that it receives only the available data.
            stream.pending = self
            stream.read(destination)


def trailers_of(body: Body, stream: BodyStream | None = None) -> SharedFuture:
    """Return a future that resolves at the end of a Body, to its trailers or to its error.

    If the guest drops ``stream`` before the end of the contents, the message has no trailers. If the host closes the
    Body, the future resolves to an error.
    """
    future = SharedFuture(TRAILERS)
    body.subscribe_end(partial(_write_trailers, future, body, stream))
    return future


def _write_trailers(future: SharedFuture, body: Body, stream: BodyStream | None, end: BodyEnd) -> None:
    if end is BodyEnd.WHOLE and body.trailers:
        future.write(Given(TRAILERS, Ok(Fields.received(body.trailers))))
    elif end is BodyEnd.WHOLE or (stream is not None and stream.given_up):
        future.write(_NO_TRAILERS)
    else:
        error = body.error or body.refusal or HttpError("connection-terminated")
        future.write(Given(TRAILERS, Err(error.code)))


def watch_result(future: SharedFuture, then: Callable[[HttpError | None], None]) -> None:
    """Call ``then`` with the outcome that a guest writes to a future. A dropped future also counts."""
    HostFutureReader(future).start_read(partial(_tell_result, then))


def _tell_result(then: Callable[[HttpError | None], None], result: CopyResult, value: Any) -> None:
    if result is not CopyResult.CANCELLED:
        then(HttpError.of(value.value) if isinstance(value, Err) else None)


class Transmission:
    """The outcome of transmitting a message, for the guest that made it. The first outcome counts.

    A response is transmitted when its reader has received it. A request that ``awaits_answer`` reports nothing before
    it has a response or has failed, for two reasons: its contents may be taken without ever reaching a server, and the
    sender knows best why they are not taken.
    """

    __slots__ = ("_is_reported", "_outcome", "awaits_answer", "future")

    def __init__(self) -> None:
        #: the guest's future
        self.future = SharedFuture(RESULT)
        self.awaits_answer = False
        self._outcome: Given | None = None
        self._is_reported = False

    def settle(self, error: HttpError | None) -> None:
        """Record success, or a failure with ``error``."""
        if self._outcome is None:
            self._outcome = _outcome(error)
            self._report()

    def answered(self, error: HttpError | None) -> None:
        """Record that the request has a response, or has failed with ``error``."""
        self.awaits_answer = False
        if error is not None:
            self._outcome = _outcome(error)
        self._report()

    def _report(self) -> None:
        if self._outcome is not None and not self._is_reported and not self.awaits_answer:
            self._is_reported = True
            self.future.write(self._outcome)


def _outcome(error: HttpError | None) -> Given:
    return _SUCCESS if error is None else Given(RESULT, Err(error.code))


# ---- from a guest to a Body --------------------------------------------------------------------------------


class Outlet:
    """The destination of the contents of a guest's message: a Body, checked against the announced length.

    The contents are complete at the announced length or when ``finish_contents`` is called. The Body ends when the
    future ``trailers`` has also resolved, before or after that. An error in the future ends the Body at once. When the
    Body has ended or its reader has closed it, ``transmission`` is settled.
    """

    __slots__ = (
        "_contents_done",
        "_fields",
        "_length",
        "_on_room",
        "_size_case",
        "_stream",
        "_trailers",
        "_trailers_done",
        "_transmission",
        "body",
    )

    def __init__(
        self,
        transmission: Transmission,
        stream: SharedStream | None,
        trailers: SharedFuture,
        length: ContentLength,
        size_case: str,
    ) -> None:
        self.body = Body()
        self.body.subscribe_end(self._body_ended)
        self.body.awaits_guest = self._awaits_guest
        self._stream = stream
        self._on_room: Callable[[], None] | None = None
        self._trailers = HostFutureReader(trailers)
        self._transmission = transmission
        self._length = length
        #: the ``error-code`` for contents that differ from the announced length
        self._size_case = size_case
        self._contents_done = False
        self._trailers_done = False
        self._fields: Fields | None = None

    @property
    def open(self) -> bool:
        """Whether the Body accepts contents."""
        return not self.body.finished and not self.body.closed

    def _awaits_guest(self) -> bool:
        if not self.open:
            return False
        if not self._contents_done:
            return self._stream is not None and self._stream.guest_ends > 0
        return not self._trailers_done and self._trailers.shared.guest_ends > 0

    def await_room(self, then: Callable[[], None] | None) -> None:
        """Call ``then`` once when the Body may have room or is closed. None cancels an earlier request."""
        self._on_room = then
        self.body.on_permit = self._permitted

    def _permitted(self) -> None:
        then, self._on_room = self._on_room, None
        if then is not None:
            then()
        if self.body.complete:
            self._settle_when_taken()

    def count(self, size: int) -> bool:
        """Count bytes. Return false, and abort the Body, if they exceed the announced length."""
        if self._length.add(size):
            return True
        self.fail(HttpError(self._size_case, self._length.written))
        return False

    def check_length(self) -> None:
        """Check whether the Body has received all announced contents."""
        if self._length.reached and self.open:
            self.body.complete = True
            self._settle_when_taken()
            self.finish_contents()

    def fail(self, error: HttpError) -> None:
        """Abort the Body, because the contents are incomplete or invalid."""
        self.body.complete = False
        self.body.abort(error)

    def finish_contents(self) -> None:
        """Record that the Body has received all contents."""
        if self._length.wrong:
            self.fail(HttpError(self._size_case, self._length.written))
            return
        self._contents_done = True
        if self._trailers_done and self.open:
            self._finish()

    def read_trailers(self) -> None:
        """Start to wait for the trailers."""
        if self.open:
            self._trailers.start_read(self._trailers_came)

    def _trailers_came(self, result: CopyResult, value: Any) -> None:
        if result is not CopyResult.COMPLETED:
            self.body.abort(HttpError("internal-error", "the guest ended without writing the trailers future"))
        elif isinstance(value, Err):
            self.fail(HttpError.of(value.value))
        else:
            self._trailers_done = True
            self._fields = value.value
            if self._contents_done:
                self._finish()

    def _finish(self) -> None:
        self.body.finish(None if self._fields is None else self._fields.for_wire())

    def _settle_when_taken(self) -> None:
        """Settle the transmission when the reader has taken contents of the announced length, before any trailers.

        So a guest can wait for that before it decides about the trailers.
        """
        if not self.body.buffered:
            self._transmission.settle(None)
        else:
            self.body.on_permit = self._permitted

    def _body_ended(self, end: BodyEnd) -> None:
        body = self.body
        error = None
        if end is not BodyEnd.WHOLE:
            error = body.error or body.refusal
            if error is None and self._length.applies:
                error = HttpError("connection-terminated")
        self._transmission.settle(error)
        self._trailers.drop()
        # Break a reference cycle.
        body.on_permit = body.awaits_guest = self._on_room = None


class _GuestFeed(Drain):
    """Moves data that a guest writes into an outlet."""

    __slots__ = ("outlet",)

    def __init__(self, stream: SharedStream, outlet: Outlet) -> None:
        super().__init__(stream)
        self.outlet = outlet
        outlet.body.subscribe_end(self._body_ended)

    def _body_ended(self, end: BodyEnd) -> None:
        self.stop()

    def room(self) -> int:
        return self.outlet.body.permit()

    def put(self, data: Any) -> None:
        if self.outlet.count(len(data)):
            self.outlet.body.try_write(data)
            self.outlet.check_length()
        else:
            self.stop()

    def await_room(self) -> None:
        if self.outlet.open:
            self.outlet.await_room(self.pull)
        else:
            self.stop()

    def ended(self) -> None:
        self.outlet.await_room(None)
        self.outlet.finish_contents()


class _BodyFeed:
    """Moves a Body that a guest passed on, completely or partly unread, into an outlet."""

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
                    outlet.await_room(self.move)
                    return
                if not outlet.count(source.buffered):
                    break
                body.move_from(source)
                outlet.check_length()
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


# ---- contents, by their origin -----------------------------------------------------------------------------


class Contents(ABC):
    """The contents of a request or response."""

    __slots__ = ()

    @abstractmethod
    def bill(self, account: Account) -> None:
        """Charge the host's part to an account."""

    @abstractmethod
    def consume(self, result: SharedFuture) -> tuple[SharedStream, SharedFuture]:
        """Pass the contents and the trailers to a guest, which reports its outcome in ``result``."""

    @abstractmethod
    def to_body(self, length: ContentLength, size_case: str) -> Body:
        """Pass the contents to the host, checked against a length. ``size_case`` is the error for a different one."""

    @abstractmethod
    def drop(self, error: HttpError | None = None) -> None:
        """Discard the contents, because of ``error`` if it is set."""


class HostContents(Contents):
    """The contents of a message from the host."""

    __slots__ = ("body",)

    def __init__(self, body: Body) -> None:
        self.body = body

    def bill(self, account: Account) -> None:
        self.body.bill(account)

    def consume(self, result: SharedFuture) -> tuple[SharedStream, SharedFuture]:
        watch_result(result, self._handled)
        body = self.body
        if body.ended:
            return _empty_stream(), trailers_of(body)
        body.wanted = True
        stream = BodyStream(body)
        return stream, trailers_of(body, stream)

    def _handled(self, error: HttpError | None) -> None:
        """Close the body if the guest reports a failure."""
        if error is not None and not self.body.ended:
            self.body.close(error)

    def to_body(self, length: ContentLength, size_case: str) -> Body:
        return self.body

    def drop(self, error: HttpError | None = None) -> None:
        self.body.close(error)


class GuestContents(Contents):
    """The contents of a message from a guest."""

    __slots__ = ("account", "stream", "trailers", "trailers_expected", "transmission")

    def __init__(self, stream: SharedStream | None, trailers: SharedFuture) -> None:
        self.stream = stream
        self.trailers = trailers
        self.transmission = Transmission()
        #: without a stream: whether trailers are still possible
        self.trailers_expected = True
        self.account: Account | None = None

    def bill(self, account: Account) -> None:
        self.account = account

    def consume(self, result: SharedFuture) -> tuple[SharedStream, SharedFuture]:
        watch_result(result, self.transmission.settle)
        return _empty_stream() if self.stream is None else self.stream, self.trailers

    def to_body(self, length: ContentLength, size_case: str) -> Body:
        stream = self.stream
        outlet = Outlet(self.transmission, stream, self.trailers, length, size_case)
        if self.account is not None:
            outlet.body.bill(self.account)
        outlet.check_length()  # the length may be 0
        if stream is None:
            outlet.finish_contents()
        elif isinstance(stream, BodyStream):
            _BodyFeed(stream.take_body(), outlet).move()
        else:
            _GuestFeed(stream, outlet).begin()
        outlet.read_trailers()
        if stream is None and outlet.open and not self.trailers_expected:
            outlet.body.finish()
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
