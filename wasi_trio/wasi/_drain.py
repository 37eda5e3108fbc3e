"""Consumption of a guest's ``stream<u8>`` without a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from wasi_trio.component.concurrency._copying import CopyResult
from wasi_trio.component.concurrency._streams import SharedStream


class Drain(ABC):
    """A consumer that takes a guest's bytes during the guest's own write, if it has room.

    Without room, the guest waits until ``pull`` is called. A subclass defines the room and the destination of the
    bytes. The class is the writable buffer of the stream's reader.
    """

    __slots__ = ("_putting", "_stopping", "progress", "stopped", "stream", "views")

    instance: Final = None

    def __init__(self, stream: SharedStream) -> None:
        """Hold a stream that was passed to a host function."""
        stream.hold()
        self.stream = stream
        self.progress = 0
        #: whether ``put`` accepts a view of the guest's memory, because it does not keep the view
        self.views = False
        self.stopped = False
        self._putting = False
        self._stopping = False

    @abstractmethod
    def room(self) -> int:
        """Return the number of bytes that ``put`` accepts at the moment."""

    @abstractmethod
    def put(self, data: Any) -> None:
        """Consume bytes, at most as many as the room. They may be a view of the guest's memory if ``views`` is set."""

    @abstractmethod
    def await_room(self) -> None:
        """Arrange a call of ``pull`` or ``stop`` when room may be available."""

    @abstractmethod
    def ended(self) -> None:
        """Handle the end of the stream: the guest has closed it, and ``put`` has received all bytes."""

    def begin(self) -> None:
        """Start to consume the stream."""
        if self.stream.dropped:
            self._dropped()
        else:
            self.stream.watchers.append(self._dropped)
            self.pull()

    def pull(self) -> None:
        """Consume more bytes."""
        if self.stopped:
            return
        if self.room():
            buffer: Any = self  # the type WritableBuffer requires ``length`` to be a variable
            self.stream.read(buffer)
        else:
            self.await_room()

    def stop(self) -> None:
        """Stop, and drop the stream for the guest. ``ended`` is not called."""
        if self._putting:  # in the middle of a copy; ``copied`` or ``done`` stops later
            self._stopping = True
        elif not self.stopped:
            self.stopped = True
            self.stream.drop()

    def _dropped(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.ended()

    # ---- as a buffer -------------------------------------------------------------------------------------

    @property
    def length(self) -> int:
        return self.progress + self.room()

    def write(self, block: Any, count: int) -> None:
        self._putting = True
        try:
            self.put(block if self.views else bytes(block))
        finally:
            self._putting = False

    def copied(self) -> None:
        if self._stopping:
            self.stop()
        elif not self.room():
            self.stream.pending = None
            self.await_room()

    def done(self, result: CopyResult) -> None:
        if result is CopyResult.COMPLETED:
            if self._stopping:
                self.stop()
            else:
                self.pull()
