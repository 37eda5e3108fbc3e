"""wasi:io 0.2: ``error``, ``poll`` and ``streams``.

The classes here are also what every other interface builds its streams and pollables from. A kind of input
stream implements ``_take``, ``_ready`` and ``_wait``; a kind of output stream ``_permit``, ``_put`` and
``_wait``, and ``_flushed`` where what was put takes time to arrive; the rules of the WIT are kept here, once.

A hook fails by raising ``failed(reason)`` or ``closed()``, again and again for as long as it is asked: the
base reports it to the guest once and answers ``closed`` from then on. A ``_wait`` returns when the answers of
the other hooks may have changed; it may be waited in by several tasks at once, and may be cancelled. No
blocking method awaits anything when it can be met at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant

if TYPE_CHECKING:
    from wasi_trio.wasi._context import WasiContext

#: the most bytes one read gives, however many the guest asks for
READ_LIMIT = 256 * 1024
#: the most bytes one write may have, however much room the stream has
WRITE_LIMIT = 1024 * 1024
#: the most bytes the ``blocking-*-and-flush`` functions take (streams.wit)
BLOCKING_WRITE_LIMIT = 4096
#: how many pollables one call takes: each may cost a task, and these many are made in some 50 ms
POLL_LIMIT = 1024

#: ``stream-error`` of streams.wit
StreamError: TypeAlias = Variant

_DONE: Ok[None] = Ok(None)


class Error:
    """The resource ``error``: why a stream failed.

    ``reason`` is a Python exception, or any payload that another interface knows how to turn into an error
    code of its own (``http-error-code``, ``filesystem-error-code``).
    """

    __slots__ = ("reason",)

    def __init__(self, reason: Any) -> None:
        self.reason = reason

    def to_debug_string(self) -> str:
        reason = self.reason
        if isinstance(reason, BaseException):
            return f"{type(reason).__name__}: {reason}"
        return str(reason)


def closed() -> Err[StreamError]:
    """``stream-error::closed``, to return or to raise."""
    return Err(Variant("closed"))


def failed(reason: Any) -> Err[StreamError]:
    """``stream-error::last-operation-failed`` with an ``error`` made of ``reason``, to return or to raise."""
    return Err(Variant("last-operation-failed", Error(reason)))


class Pollable(ABC):
    """The resource ``pollable``: one event that may be ready.

    A pollable that becomes ready by the clock alone says when in ``deadline`` (trio time), so that waiting
    for it beside others costs no task.
    """

    __slots__ = ()

    deadline: float | None = None

    @abstractmethod
    def ready(self) -> bool:
        """Whether the event is there; never blocks."""

    @abstractmethod
    async def block(self) -> None:
        """Return once the event is there, at once when it is there already. May be cancelled at no loss."""


class AlwaysReady(Pollable):
    """An event that has happened."""

    __slots__ = ()

    def ready(self) -> bool:
        return True

    async def block(self) -> None:
        return None


class InputStream(ABC):
    """The resource ``input-stream``."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed = False

    @abstractmethod
    def _take(self, limit: int) -> bytes | None:
        """At most ``limit`` (may be 0) of the bytes at hand, empty when there are none now, None at the end."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether ``_take`` would give bytes, the end, or an error; raises nothing itself."""

    @abstractmethod
    async def _wait(self) -> None:
        """Return once ``_ready`` may have become true."""

    def read(self, len: int) -> Ok[bytes] | Err[StreamError]:
        if self._closed:
            return closed()
        try:
            data = self._take(len if len < READ_LIMIT else READ_LIMIT)
        except Err as error:
            self._closed = True
            return error.with_traceback(None)
        if data is None:
            self._closed = True
            return closed()
        return Ok(data)

    async def blocking_read(self, len: int) -> Ok[bytes] | Err[StreamError]:
        """Cancelling it loses no byte."""
        if len == 0:
            await self._until_ready()
            return self.read(0)
        while True:
            outcome = self.read(len)
            if isinstance(outcome, Err) or outcome.value:
                return outcome
            await self._wait()

    def skip(self, len: int) -> Ok[int] | Err[StreamError]:
        return _size(self.read(len))

    async def blocking_skip(self, len: int) -> Ok[int] | Err[StreamError]:
        return _size(await self.blocking_read(len))

    def subscribe(self) -> Pollable:
        return InputReady(self)

    async def _until_ready(self) -> None:
        while not (self._closed or self._ready()):
            await self._wait()


class InputReady(Pollable):
    """Ready when its stream has bytes, has ended or has failed."""

    __slots__ = ("stream",)

    def __init__(self, stream: InputStream) -> None:
        self.stream = stream

    def ready(self) -> bool:
        return self.stream._closed or self.stream._ready()

    async def block(self) -> None:
        await self.stream._until_ready()


class OutputStream(ABC):
    """The resource ``output-stream``."""

    __slots__ = ("_closed", "_flushing", "_granted")

    def __init__(self) -> None:
        self._closed = False
        self._flushing = False
        #: bytes that the last check-write permitted and no write has used since
        self._granted = 0

    @abstractmethod
    def _permit(self) -> int:
        """How many bytes ``_put`` takes now; 0 when there is no room."""

    @abstractmethod
    def _put(self, data: bytes) -> None:
        """Take these bytes, no more than ``_permit`` last answered; must not block."""

    @abstractmethod
    async def _wait(self) -> None:
        """Return once the answer of ``_permit`` or ``_flushed`` may have changed."""

    def _begin_flush(self) -> None:  # noqa: B027, a hook that most leave empty
        """The guest wants what it wrote to go out. Nothing to do unless bytes are held back until told."""

    def _flushed(self) -> bool:
        """Whether all that was put has arrived where this stream leads."""
        return True

    def check_write(self) -> Ok[int] | Err[StreamError]:
        try:
            self._granted = self._available()
        except Err as error:
            return self._failed(error)
        return Ok(self._granted)

    def write(self, contents: bytes) -> Ok[None] | Err[StreamError]:
        """Raises Trap for more bytes than were permitted."""
        try:
            self._claim(len(contents))
            if contents:
                self._put(contents)
        except Err as error:
            return self._failed(error)
        return _DONE

    async def blocking_write_and_flush(self, contents: bytes) -> Ok[None] | Err[StreamError]:
        """Raises Trap for more than 4096 bytes. When it is cancelled, some of them may have been written."""
        if len(contents) > BLOCKING_WRITE_LIMIT:
            raise Trap(f"blocking-write-and-flush of {len(contents)} bytes: {BLOCKING_WRITE_LIMIT} is the most")
        self._granted = 0
        try:
            while (permit := self._available()) < len(contents):
                if permit:
                    self._put(contents[:permit])
                    contents = contents[permit:]
                else:
                    await self._wait()
            if contents:
                self._put(contents)
        except Err as error:
            return self._failed(error)
        try:
            self._flushing = True
            self._begin_flush()
            while not self._flushed():
                await self._wait()
            self._flushing = False
        except Err as error:
            # Everything was written: that the stream is closed by now is for the next call to find out.
            return _DONE if self._failed(error).value.case == "closed" else error
        return _DONE

    def flush(self) -> Ok[None] | Err[StreamError]:
        if self._closed:
            return closed()
        self._granted = 0
        try:
            self._begin_flush()
        except Err as error:
            return self._failed(error)
        self._flushing = True
        return _DONE

    async def blocking_flush(self) -> Ok[None] | Err[StreamError]:
        outcome = self.flush()
        if isinstance(outcome, Err):
            return outcome
        error = await self._until_ready()
        return _DONE if error is None else self._failed(error)

    def subscribe(self) -> Pollable:
        return OutputReady(self)

    def write_zeroes(self, len: int) -> Ok[None] | Err[StreamError]:
        """Raises Trap for more bytes than were permitted."""
        try:
            self._claim(len)
            if len:
                self._put(bytes(len))
        except Err as error:
            return self._failed(error)
        return _DONE

    async def blocking_write_zeroes_and_flush(self, len: int) -> Ok[None] | Err[StreamError]:
        """Raises Trap for more than 4096 bytes."""
        if len > BLOCKING_WRITE_LIMIT:
            raise Trap(f"blocking-write-zeroes-and-flush of {len} bytes: {BLOCKING_WRITE_LIMIT} is the most")
        return await self.blocking_write_and_flush(bytes(len))

    def splice(self, src: InputStream, len: int) -> Ok[int] | Err[StreamError]:
        room = self.check_write()
        if isinstance(room, Err):
            return room
        if room.value < len:
            len = room.value
        if len == 0:
            return Ok(0)
        data = src.read(len)
        if isinstance(data, Err):
            return data
        outcome = self.write(data.value)
        return outcome if isinstance(outcome, Err) else _size(data)

    async def blocking_splice(self, src: InputStream, len: int) -> Ok[int] | Err[StreamError]:
        """Cancelling it loses no byte: the wait comes before the splice."""
        while True:
            error = await self._until_ready()
            if error is not None:
                return self._failed(error)
            await src._until_ready()
            outcome = self.splice(src, len)
            if isinstance(outcome, Err) or outcome.value or len == 0:
                return outcome

    def _available(self) -> int:
        """How many bytes may be written now; raises Err when the stream is closed or has failed."""
        if self._closed:
            raise closed()
        if self._flushing:
            if not self._flushed():
                return 0
            self._flushing = False
        permit = self._permit()
        return permit if permit < WRITE_LIMIT else WRITE_LIMIT

    async def _until_ready(self) -> Err[StreamError] | None:
        """Wait for room, or for the error that there will never be any; gives that error, not yet reported."""
        while True:
            try:
                if self._available():
                    return None
            except Err as error:
                return error
            await self._wait()

    def _claim(self, size: int) -> None:
        """Use up a permit for ``size`` bytes. Raises Err where that is the answer, Trap where there is none."""
        if self._closed:
            raise closed()
        if size > self._granted:
            self._granted = self._available()
            if size > self._granted:
                raise Trap(f"write of {size} bytes where check-write permits {self._granted}")
        self._granted -= size

    def _failed(self, error: Err[StreamError]) -> Err[StreamError]:
        self._closed = True
        self._flushing = False
        self._granted = 0
        return error.with_traceback(None)


class OutputReady(Pollable):
    """Ready when its stream has room and no flush under way, is closed or has failed."""

    __slots__ = ("stream",)

    def __init__(self, stream: OutputStream) -> None:
        self.stream = stream

    def ready(self) -> bool:
        try:
            return self.stream._available() > 0
        except Err:  # to be reported by the operation that follows
            return True

    async def block(self) -> None:
        await self.stream._until_ready()


#: the name means the class's own attribute inside Poll
_Event: TypeAlias = Pollable


class Streams:
    """The interface wasi:io/streams."""

    InputStream = InputStream
    OutputStream = OutputStream

    def __init__(self, context: WasiContext) -> None:
        pass


class IoError:
    """The interface wasi:io/error."""

    Error = Error

    def __init__(self, context: WasiContext) -> None:
        pass


class Poll:
    """The interface wasi:io/poll."""

    Pollable = Pollable

    def __init__(self, context: WasiContext) -> None:
        pass

    async def poll(self, in_: Sequence[_Event]) -> list[int]:
        """The indices of all pollables that are ready, once at least one is.

        Does not checkpoint when one is ready at once. Raises Trap for an empty list, and for one longer than
        ``POLL_LIMIT``.
        """
        if not in_:
            raise Trap("poll of an empty list would never return")
        if len(in_) > POLL_LIMIT:
            raise Trap(f"poll of {len(in_)} pollables: {POLL_LIMIT} is the most")
        while True:
            ready = [index for index, pollable in enumerate(in_) if pollable.ready()]
            if ready:
                return ready
            await _any_event(in_)


async def _any_event(pollables: Iterable[Pollable]) -> None:
    """Return once one of the pollables may be ready."""
    deadline = math.inf
    waits: dict[int, Pollable] = {}
    for pollable in pollables:
        if pollable.deadline is None:
            waits[id(pollable)] = pollable
        elif pollable.deadline < deadline:
            deadline = pollable.deadline
    with trio.CancelScope(deadline=deadline):
        if not waits:
            await trio.sleep_forever()
        elif len(waits) == 1:
            await next(iter(waits.values())).block()
        else:
            await _first(waits.values())


async def _first(pollables: Collection[Pollable]) -> None:
    failures: list[Exception] = []

    async def wait(pollable: Pollable) -> None:
        try:
            await pollable.block()
        except Exception as error:  # raised below, bare: one exception, not a group, ends the guest's call
            failures.append(error)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for pollable in pollables:
            nursery.start_soon(wait, pollable)
    if failures:
        raise failures[0]


def _size(outcome: Ok[bytes] | Err[StreamError]) -> Ok[int] | Err[StreamError]:
    return outcome if isinstance(outcome, Err) else Ok(len(outcome.value))
