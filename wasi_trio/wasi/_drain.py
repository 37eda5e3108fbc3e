"""Taking a guest's ``stream<u8>`` without a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from wasi_trio.component.concurrency._copying import CopyResult
from wasi_trio.component.concurrency._streams import SharedStream


class Drain(ABC):
    """Takes what a guest writes to a stream in the moment it is written, as long as there is room for it.

    Where there is none the guest waits until ``pull`` is called. A subclass says what room there is and where the
    bytes go. This is the sink of the stream's copies (a ``Party``).
    """

    __slots__ = ("_putting", "_stopping", "progress", "stopped", "stream", "views")

    instance: Final = None

    def __init__(self, stream: SharedStream) -> None:
        """The stream must be one that was given to a host function; it is held from here on."""
        stream.hold()
        self.stream = stream
        self.progress = 0
        #: whether ``put`` may be given a view of the guest's memory, as it keeps nothing of it
        self.views = False
        self.stopped = False
        self._putting = False
        self._stopping = False

    @abstractmethod
    def room(self) -> int:
        """How many bytes ``put`` takes now."""

    @abstractmethod
    def put(self, data: bytes) -> None:
        """Take some bytes, of which there are no more than there was room for."""

    @abstractmethod
    def await_room(self) -> None:
        """There is no room: see to it that ``pull`` is called, or ``stop``, when there may be some."""

    @abstractmethod
    def ended(self) -> None:
        """The guest has closed the stream, and all that it wrote was put."""

    def begin(self) -> None:
        """Take what there is, and what will come."""
        if self.stream.dropped:
            self._dropped()
        else:
            self.stream.watchers.append(self._dropped)
            self.pull()

    def pull(self) -> None:
        """Take more."""
        if self.stopped:
            return
        if self.room():
            sink: Any = self  # Sink would have its length be a variable
            self.stream.read(sink)
        else:
            self.await_room()

    def stop(self) -> None:
        """Take no more: the guest finds the stream dropped. ``ended`` will not be called."""
        if self._putting:  # in the middle of a copy; once that is made
            self._stopping = True
        elif not self.stopped:
            self.stopped = True
            self.stream.drop()

    def _dropped(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.ended()

    # ---- as a party --------------------------------------------------------------------------------------

    @property
    def length(self) -> int:
        return self.progress + self.room()

    def take(self, block: Any, count: int) -> None:
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
