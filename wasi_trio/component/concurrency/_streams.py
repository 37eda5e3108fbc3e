"""Streams ("Stream State" of the Canonical ABI)."""

from __future__ import annotations

from wasi_trio.component._errors import Trap
from wasi_trio.component.concurrency._copying import (
    CopyResult,
    CopyState,
    GuestEnd,
    ReadableBuffer,
    Shared,
    WritableBuffer,
)
from wasi_trio.component.concurrency._instance import ComponentInstance
from wasi_trio.component.concurrency._waitables import Event, EventCode


class SharedStream(Shared):
    """A stream. The first end waits for the other, and elements are copied directly from source to destination."""

    __slots__ = ()

    kind = "stream"

    def read(self, destination: WritableBuffer) -> None:
        if self.dropped:
            destination.done(CopyResult.DROPPED)
            return
        source: ReadableBuffer | None = self.pending
        if source is None:
            self.pending = destination
            return
        if not self.element.plain:
            self.check_instances(source, destination)
        available = source.length - source.progress
        if available == 0:
            self.pending = destination
            source.done(CopyResult.COMPLETED)
            return
        wanted = destination.length - destination.progress
        if wanted:
            self.move(source, destination, min(available, wanted))
            source.copied()
        destination.done(CopyResult.COMPLETED)

    def write(self, source: ReadableBuffer) -> None:
        if self.dropped:
            source.done(CopyResult.DROPPED)
            return
        destination: WritableBuffer | None = self.pending
        if destination is None:
            self.pending = source
            return
        if not self.element.plain:
            self.check_instances(source, destination)
        wanted = destination.length - destination.progress
        available = source.length - source.progress
        if wanted:
            if available:
                self.move(source, destination, min(available, wanted))
                destination.copied()
            source.done(CopyResult.COMPLETED)
        elif source.length == 0 and destination.length == 0:
            source.done(CopyResult.COMPLETED)
        else:
            self.pending = source
            destination.done(CopyResult.COMPLETED)

    def readable_end(self, instance: ComponentInstance) -> ReadableStreamEnd:
        return ReadableStreamEnd(instance, self)


class StreamEnd(GuestEnd[SharedStream]):
    __slots__ = ()

    def check_idle(self) -> None:
        if self.state is CopyState.DONE:
            raise Trap(self.done_message("write to" if self.writes else "read from"))
        if self.state is CopyState.COPYING:
            raise Trap("cannot have concurrent operations active on a future/stream")

    def take_event(self) -> Event:
        self.reclaim()
        self.state = CopyState.DONE if self.result is CopyResult.DROPPED else CopyState.IDLE
        return self.event_code, self.index, self.result | self.progress << 4

    def note_drop(self) -> None:
        super().note_drop()
        if self.pending and self.result is CopyResult.COMPLETED:
            self.result = CopyResult.DROPPED  # the event of the last copy reports the drop as well

    def withdraw(self) -> None:
        super().withdraw()
        if self.result is CopyResult.COMPLETED:
            self.result = CopyResult.CANCELLED

    def done_message(self, action: str) -> str:
        other = "readable" if self.writes else "writable"
        return f"cannot {action} stream after being notified that the {other} end dropped"


class ReadableStreamEnd(StreamEnd):
    __slots__ = ()

    event_code = EventCode.STREAM_READ
    writes = False
    readable = "stream"

    def copy(self) -> None:
        self.shared.read(self)


class WritableStreamEnd(StreamEnd):
    __slots__ = ()

    event_code = EventCode.STREAM_WRITE
    writes = True

    def copy(self) -> None:
        self.shared.write(self)
