"""The contents of messages in wasi:http 0.3: ``stream<u8>`` and futures on the guest's side, a Body on the other.

None of this takes a task: whoever moves one end of a body moves the other. A body that a guest passes on unread as
the contents of another message goes from Body to Body, without a copy and without the guest.
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
_WENT_WELL: Final = Given(RESULT, Ok())


# ---- from a Body to a guest --------------------------------------------------------------------------------


class BodyStream(SharedStream):
    """A ``stream<u8>`` that gives what a Body holds in the moment it is read, and ends with it.

    To drop the stream before its end closes the Body; ``given_up`` says that this was done.
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


def trailers_of(body: Body, stream: BodyStream | None = None) -> SharedFuture:
    """The future that resolves when a Body has ended: with its trailers, or the error that it ended with.

    Where the guest has dropped ``stream``, its end of the contents, before their end there are no trailers. Where the
    host has closed the Body, no more of the message will come.
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
    """Have ``then`` called with how a guest says that something went; a future that it gave up counts as well."""
    HostFutureReader(future).start_read(partial(_tell_result, then))


def _tell_result(then: Callable[[HttpError | None], None], result: CopyResult, value: Any) -> None:
    if result is not CopyResult.CANCELLED:
        then(HttpError.of(value.value) if isinstance(value, Err) else None)


class Transmission:
    """What becomes of a message, for the guest that made it. The first to say so is right.

    A response has been transmitted when its reader has had it. Of a request that ``awaits_answer`` nothing is told
    before there is a response, or the request has failed: its contents may be taken without ever reaching a server, and
    whoever sends it knows best why they are not.
    """

    __slots__ = ("_is_told", "_outcome", "awaits_answer", "future")

    def __init__(self) -> None:
        #: the future that the guest gets
        self.future = SharedFuture(RESULT)
        self.awaits_answer = False
        self._outcome: Given | None = None
        self._is_told = False

    def settle(self, error: HttpError | None) -> None:
        """It went well, or failed with ``error``."""
        if self._outcome is None:
            self._outcome = _outcome(error)
            self._tell()

    def answered(self, error: HttpError | None) -> None:
        """The request has its response, or failed with ``error``."""
        self.awaits_answer = False
        if error is not None:
            self._outcome = _outcome(error)
        self._tell()

    def _tell(self) -> None:
        if self._outcome is not None and not self._is_told and not self.awaits_answer:
            self._is_told = True
            self.future.write(self._outcome)


def _outcome(error: HttpError | None) -> Given:
    return _WENT_WELL if error is None else Given(RESULT, Err(error.code))


# ---- from a guest to a Body --------------------------------------------------------------------------------


class Outlet:
    """The Body that the contents of a guest's message go to, held to the length that its headers announce.

    The Body has all of them when that length is reached or ``finish_contents`` is called. It ends when the future
    ``trailers`` is there as well, which may be before or after; an error in it ends the Body at once. When the Body has
    ended, or whoever reads it has closed it, ``transmission`` is settled.
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
        #: the ``error-code`` for contents of another length
        self._size_case = size_case
        self._contents_done = False
        self._trailers_done = False
        self._fields: Fields | None = None

    @property
    def open(self) -> bool:
        """Whether anybody still wants contents."""
        return not self.body.finished and not self.body.closed

    def _awaits_guest(self) -> bool:
        if not self.open:
            return False
        if not self._contents_done:
            return self._stream is not None and self._stream.guest_ends > 0
        return not self._trailers_done and self._trailers.shared.guest_ends > 0

    def await_room(self, then: Callable[[], None] | None) -> None:
        """Have ``then`` called, once, when there may be room for contents, or nobody wants any more; None: do not."""
        self._on_room = then
        self.body.on_permit = self._permitted

    def _permitted(self) -> None:
        then, self._on_room = self._on_room, None
        if then is not None:
            then()
        if self.body.complete:
            self._when_taken()

    def count(self, size: int) -> bool:
        """Account for so many more bytes; false, and the Body is cut, where they are too many."""
        if self._length.add(size):
            return True
        self.fail(HttpError(self._size_case, self._length.written))
        return False

    def check_length(self) -> None:
        """What was counted is in the Body: see whether that is all there is to be."""
        if self._length.reached and self.open:
            self.body.complete = True
            self._when_taken()
            self.finish_contents()

    def fail(self, error: HttpError) -> None:
        """The contents end short, or are not to be believed."""
        self.body.complete = False
        self.body.abort(error)

    def finish_contents(self) -> None:
        """All contents are in the Body."""
        if self._length.wrong:
            self.fail(HttpError(self._size_case, self._length.written))
            return
        self._contents_done = True
        if self._trailers_done and self.open:
            self._finish()

    def read_trailers(self) -> None:
        """Begin to wait for the trailers."""
        if self.open:
            self._trailers.start_read(self._trailers_came)

    def _trailers_came(self, result: CopyResult, value: Any) -> None:
        if result is not CopyResult.COMPLETED:
            self.body.abort(
                HttpError("internal-error", "the guest is gone and has not said whether there are trailers")
            )
        elif isinstance(value, Err):
            self.fail(HttpError.of(value.value))
        else:
            self._trailers_done = True
            self._fields = value.value
            if self._contents_done:
                self._finish()

    def _finish(self) -> None:
        self.body.finish(None if self._fields is None else self._fields.for_wire())

    def _when_taken(self) -> None:
        """Contents of the announced length have gone out when the reader has taken them, whatever trailers may follow.

        So a guest may wait for that before it says what trailers there are.
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
        # Or they would keep each other until garbage is collected.
        body.on_permit = body.awaits_guest = self._on_room = None


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


# ---- contents, by where they come from ---------------------------------------------------------------------


class Contents(ABC):
    """What a request or response holds."""

    __slots__ = ()

    @abstractmethod
    def bill(self, account: Account) -> None:
        """Count what the host holds of it in an account."""

    @abstractmethod
    def consume(self, result: SharedFuture) -> tuple[SharedStream, SharedFuture]:
        """Hand everything to a guest, which tells in ``result`` how it goes: the contents and the trailers."""

    @abstractmethod
    def to_body(self, length: ContentLength, size_case: str) -> Body:
        """Hand everything to the host, which is held to this length. ``size_case`` is what another one fails with."""

    @abstractmethod
    def drop(self, error: HttpError | None = None) -> None:
        """Nobody wants it, because of ``error`` if there is one."""


class HostContents(Contents):
    """Those of a message that came from the host."""

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
        stream = BodyStream(body)
        return stream, trailers_of(body, stream)

    def _handled(self, error: HttpError | None) -> None:
        """A guest that could not handle the message wants no more of it."""
        if error is not None and not self.body.ended:
            self.body.close(error)

    def to_body(self, length: ContentLength, size_case: str) -> Body:
        return self.body

    def drop(self, error: HttpError | None = None) -> None:
        self.body.close(error)


class GuestContents(Contents):
    """Those of a message that a guest made."""

    __slots__ = ("account", "stream", "trailers", "trailers_expected", "transmission")

    def __init__(self, stream: SharedStream | None, trailers: SharedFuture) -> None:
        self.stream = stream
        self.trailers = trailers
        self.transmission = Transmission()
        #: where there is no stream: whether there may be trailers all the same
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
        outlet.check_length()  # it may be none
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
