"""Futures ("Future State" of the Canonical ABI)."""

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


class SharedFuture(Shared):
    """A future, which copies one element once from its writable to its readable end."""

    __slots__ = ()

    kind = "future"

    def read(self, destination: WritableBuffer) -> None:
        if self.dropped:
            destination.done(CopyResult.DROPPED)
        elif self.pending is None:
            self.pending = destination
        else:
            if not self.element.plain:
                self.check_instances(self.pending, destination)
            self.move(self.pending, destination, 1)
            self.finish(CopyResult.COMPLETED)
            destination.done(CopyResult.COMPLETED)

    def write(self, source: ReadableBuffer) -> None:
        if self.dropped:
            source.done(CopyResult.DROPPED)
        elif self.pending is None:
            self.pending = source
        else:
            if not self.element.plain:
                self.check_instances(self.pending, source)
            self.move(source, self.pending, 1)
            self.finish(CopyResult.COMPLETED)
            source.done(CopyResult.COMPLETED)

    def readable_end(self, instance: ComponentInstance) -> ReadableFutureEnd:
        return ReadableFutureEnd(instance, self)


class FutureEnd(GuestEnd[SharedFuture]):
    __slots__ = ()

    def check_idle(self) -> None:
        if self.state is CopyState.DONE:
            raise Trap(self.done_message("write to" if self.writes else "read from"))
        if self.state is CopyState.COPYING:
            raise Trap("cannot have concurrent operations active on a future/stream")

    def take_event(self) -> Event:
        self.reclaim()
        if self.result is CopyResult.DROPPED and not self.writes:
            # Only the host can do this, because a guest cannot drop a writable end before it writes.
            raise Trap("the host dropped the writable end of a future without writing a value")
        self.state = CopyState.IDLE if self.result is CopyResult.CANCELLED else CopyState.DONE
        return self.event_code, self.index, int(self.result)

    def done_message(self, action: str) -> str:
        if self.writes:
            return f"cannot {action} future after previous write succeeded or readable end dropped"
        return f"cannot {action} future after previous read succeeded"


class ReadableFutureEnd(FutureEnd):
    __slots__ = ()

    event_code = EventCode.FUTURE_READ
    writes = False
    readable = "future"

    def copy(self) -> None:
        self.shared.read(self)

    def note_drop(self) -> None:
        """Do nothing: no value can come, so a read traps, and only a read."""

    @property
    def awaits_host(self) -> bool:
        return self.pending or (self.state is CopyState.COPYING and self.shared.guest_ends < 2)


class WritableFutureEnd(FutureEnd):
    __slots__ = ()

    event_code = EventCode.FUTURE_WRITE
    writes = True

    def copy(self) -> None:
        self.shared.write(self)

    def drop(self) -> None:
        if self.state is not CopyState.DONE:
            raise Trap("cannot drop future write end without first writing a value")
        super().drop()
