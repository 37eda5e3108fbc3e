"""wasi:io 0.2: ``error``, ``streams``, and the pollables of ``poll``.

Other interfaces derive their streams and pollables from these classes. An input stream implements the hooks ``_take``,
``_ready`` and ``_wait``. An output stream implements ``_permit``, ``_put`` and ``_wait``, and ``_flushed`` if data does
not arrive at once. The base classes enforce the rules of the WIT.

A hook fails by raising ``failed(reason)`` or ``closed()``, at each call. The base class reports that to the guest once
and reports ``closed`` after that. ``_wait`` returns when the results of other hooks may have changed. Several tasks may
call it at once, and it may be cancelled. A blocking method awaits nothing if it can return at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant

if TYPE_CHECKING:
    from wasi_trio.component._account import Account
    from wasi_trio.wasi._context import WasiContext

#: maximum bytes of one read, regardless of the guest's request
READ_LIMIT = 256 * 1024
#: maximum bytes of one write, regardless of the stream's room
WRITE_LIMIT = 1024 * 1024
#: maximum bytes of the ``blocking-*-and-flush`` functions (streams.wit)
BLOCKING_WRITE_LIMIT = 4096

#: a file descriptor and the events on it, POLLIN or POLLOUT of ``select``
Interest: TypeAlias = tuple[int, int]
#: ``stream-error`` of streams.wit
StreamError: TypeAlias = Variant

_DONE: Ok[None] = Ok(None)


class Error:
    """The resource ``error``: the reason of a stream's failure.

    ``reason`` is a Python exception, or a payload that another interface converts to its own error code
    (``http-error-code``, ``filesystem-error-code``).
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
    """Return ``stream-error::closed``, to be returned or raised."""
    return Err(Variant("closed"))


def failed(reason: Any) -> Err[StreamError]:
    """Return ``stream-error::last-operation-failed`` with an ``error`` for ``reason``, to be returned or raised."""
    return Err(Variant("last-operation-failed", Error(reason)))


class Pollable(ABC):
    """The resource ``pollable``: an event.

    A pollable that depends only on time sets ``deadline`` (trio's time), so that waiting for it needs no task.
    ``source`` identifies the object that makes it ready. Of pollables with equal sources, ``poll`` waits for one.
    """

    __slots__ = ("_account",)

    _account: Account

    deadline: float | None = None

    @property
    def source(self) -> object:
        return id(self)

    @property
    def interest(self) -> Interest | None:
        """The events for which ``block`` would wait, if it would wait for nothing else. Then ``poll`` needs no task."""
        return None

    @property
    def account(self) -> Account | None:
        """The account of the instance whose guest has this pollable, or None without a guest."""
        return getattr(self, "_account", None)

    def bill(self, account: Account) -> None:
        """Set the account for the tasks that wait for this pollable."""
        self._account = account

    @abstractmethod
    def ready(self) -> bool:
        """Return whether the event has occurred, without blocking."""

    @abstractmethod
    async def block(self) -> None:
        """Wait for the event, or return at once if it has occurred. Cancellation loses nothing."""


class AlwaysReady(Pollable):
    """An event that has occurred."""

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
    def _take(self, limit: int) -> bytes | memoryview | None:
        """Return at most ``limit`` (possibly 0) available bytes, empty if none are available, or None at the end."""

    @abstractmethod
    def _ready(self) -> bool:
        """Return whether ``_take`` would return bytes or the end, or raise an error. Must not raise."""

    @abstractmethod
    async def _wait(self) -> None:
        """Wait until ``_ready`` may have become true."""

    def _interest(self) -> Interest | None:
        """Return the events for which ``_wait`` would wait, if it would wait for nothing else."""
        return None

    def read(self, len: int) -> Ok[bytes | memoryview] | Err[StreamError]:
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

    async def blocking_read(self, len: int) -> Ok[bytes | memoryview] | Err[StreamError]:
        """Wait for data and return it. Cancellation loses no data."""
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
    """A pollable that is ready when its stream has data, has ended or has failed."""

    __slots__ = ("stream",)

    def __init__(self, stream: InputStream) -> None:
        self.stream = stream

    @property
    def source(self) -> object:
        return InputReady, id(self.stream)

    @property
    def interest(self) -> Interest | None:
        return self.stream._interest()

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
        #: bytes that the last check-write permitted and no write has used
        self._granted = 0

    @abstractmethod
    def _permit(self) -> int:
        """Return the number of bytes that ``_put`` accepts, or 0 without room."""

    @abstractmethod
    def _put(self, data: bytes) -> None:
        """Accept data without blocking, at most as much as the last result of ``_permit``."""

    @abstractmethod
    async def _wait(self) -> None:
        """Wait until the result of ``_permit`` or ``_flushed`` may have changed."""

    def _begin_flush(self) -> None:  # noqa: B027, a hook that most leave empty
        """Begin to flush. Only streams that hold data back need to override this."""

    def _flushed(self) -> bool:
        """Return whether all data has arrived at the destination."""
        return True

    def check_write(self) -> Ok[int] | Err[StreamError]:
        try:
            self._granted = self._available()
        except Err as error:
            return self._failed(error)
        return Ok(self._granted)

    def write(self, contents: bytes) -> Ok[None] | Err[StreamError]:
        """Write data. Raises Trap for more bytes than permitted."""
        try:
            self._claim(len(contents))
            if contents:
                self._put(contents)
        except Err as error:
            return self._failed(error)
        return _DONE

    async def blocking_write_and_flush(self, contents: bytes) -> Ok[None] | Err[StreamError]:
        """Write and flush. Raises Trap for more than 4096 bytes. After a cancellation, a part may have been written."""
        if len(contents) > BLOCKING_WRITE_LIMIT:
            raise Trap(f"blocking-write-and-flush of {len(contents)} bytes: the limit is {BLOCKING_WRITE_LIMIT}")
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
            # All data was written. The next call reports that the stream is closed.
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
        """Write zeroes. Raises Trap for more bytes than permitted."""
        try:
            self._claim(len)
            if len:
                self._put(bytes(len))
        except Err as error:
            return self._failed(error)
        return _DONE

    async def blocking_write_zeroes_and_flush(self, len: int) -> Ok[None] | Err[StreamError]:
        """Write zeroes and flush. Raises Trap for more than 4096 bytes."""
        if len > BLOCKING_WRITE_LIMIT:
            raise Trap(f"blocking-write-zeroes-and-flush of {len} bytes: the limit is {BLOCKING_WRITE_LIMIT}")
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
        outcome = self.write(bytes(data.value))
        return outcome if isinstance(outcome, Err) else _size(data)

    async def blocking_splice(self, src: InputStream, len: int) -> Ok[int] | Err[StreamError]:
        """Wait and splice. Cancellation loses no data, because the wait precedes the splice."""
        while True:
            error = await self._until_ready()
            if error is not None:
                return self._failed(error)
            await src._until_ready()
            outcome = self.splice(src, len)
            if isinstance(outcome, Err) or outcome.value or len == 0:
                return outcome

    def _available(self) -> int:
        """Return the number of bytes that can be written. Raises Err if the stream is closed or has failed."""
        if self._closed:
            raise closed()
        if self._flushing:
            if not self._flushed():
                return 0
            self._flushing = False
        permit = self._permit()
        return permit if permit < WRITE_LIMIT else WRITE_LIMIT

    async def _until_ready(self) -> Err[StreamError] | None:
        """Wait for room, or for a failure of the stream. Return the failure, which the guest has not seen."""
        while True:
            try:
                if self._available():
                    return None
            except Err as error:
                return error
            await self._wait()

    def _claim(self, size: int) -> None:
        """Use the permit for ``size`` bytes.

        Raises Err if the stream is closed or has failed, else Trap without a permit.
        """
        if self._closed:
            raise closed()
        if size > self._granted:
            self._granted = self._available()
            if size > self._granted:
                raise Trap(f"write of {size} bytes, but check-write permits {self._granted}")
        self._granted -= size

    def _failed(self, error: Err[StreamError]) -> Err[StreamError]:
        self._closed = True
        self._flushing = False
        self._granted = 0
        return error.with_traceback(None)


class OutputReady(Pollable):
    """A pollable that is ready when its stream has room and no flush in progress, is closed or has failed."""

    __slots__ = ("stream",)

    def __init__(self, stream: OutputStream) -> None:
        self.stream = stream

    @property
    def source(self) -> object:
        return OutputReady, id(self.stream)

    def ready(self) -> bool:
        try:
            return self.stream._available() > 0
        except Err:  # the next operation reports the error
            return True

    async def block(self) -> None:
        await self.stream._until_ready()


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


def _size(outcome: Ok[bytes | memoryview] | Err[StreamError]) -> Ok[int] | Err[StreamError]:
    return outcome if isinstance(outcome, Err) else Ok(len(outcome.value))
