"""Sending of a guest's data over a connection, in WASI 0.3."""

from __future__ import annotations

import trio

from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.wasi._time_slice import TimeSlice
from wasi_trio.wasi.p3._stdio import Outcome, OutputDrain
from wasi_trio.wasi.sockets._flows import Sending


class Upload(OutputDrain):
    """Sends the data of a guest's stream, and its end."""

    __slots__ = ("_sending", "_time_slice")

    def __init__(self, stream: SharedStream, sending: Sending, nursery: trio.Nursery | None, outcome: Outcome) -> None:
        self._sending = sending
        self._time_slice = TimeSlice()
        super().__init__(stream, sending, nursery, outcome)

    def copied(self) -> None:
        if self._time_slice.may_continue() or self._nursery is None:
            super().copied()
        else:
            # Other tasks of the instance run first.
            self.stream.pending = None
            self._nursery.start_soon(self._wait_for_room)

    def ended(self) -> None:
        self._sending.close()
        super().ended()
