"""Guests that miss their deadlines, one for each operation in which a guest or its host function can be stuck."""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from dataclasses import dataclass

import trio

from tests.guests import wat
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._loading import link

#: Numbers in the path for the guests host_call and p3_host_call.
SLEEP, LOOP, RECEIVE, LATER, IN_A_THREAD, SHIELDED, SWALLOWING = 1, 2, 3, 100, 101, 102, 103
#: Seconds until an uncancellable host function ends.
UNCANCELLABLE = 0.7


class Work:
    """acme:host/work: functions of a user that do not return in time."""

    def work(self, which: int) -> None:
        if which == SLEEP:
            time.sleep(3600)
        elif which == LOOP:
            while True:
                pass
        elif which == RECEIVE:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.recv(1)

    async def later(self, which: int) -> None:
        if which == IN_A_THREAD:
            await trio.to_thread.run_sync(time.sleep, UNCANCELLABLE)
        elif which == SHIELDED:
            with trio.CancelScope(shield=True):
                await trio.sleep(UNCANCELLABLE)
        elif which == SWALLOWING:
            end = trio.current_time() + UNCANCELLABLE
            while trio.current_time() < end:
                with contextlib.suppress(trio.Cancelled):
                    await trio.sleep_until(end)
        else:
            await trio.sleep_forever()


@dataclass(frozen=True)
class Late:
    """A guest that does not answer a request for ``path``, and the operation in which it is stuck."""

    what: str
    guest: str
    path: str = "/"

    def __str__(self) -> str:
        return f"WASI {'0.3' if self.guest.startswith('p3_') else '0.2'}, {self.what}"

    def link(self, engine: Engine) -> LinkedComponent:
        """Return the guest, compiled and linked."""
        return _linked(engine, self.guest)


@functools.cache
def _linked(engine: Engine, guest: str) -> LinkedComponent:
    imports = Imports({"acme:host/work": Work()}) if "host_call" in guest else Imports({})
    return link(engine, wat.load(guest), guest, imports)


LATE = (
    Late("awaiting the host in its callback", "p3_sleep", "/3600000"),
    Late("awaiting the host in a synchronous call", "p3_sync", "/3600000"),
    Late("awaiting the host in a synchronous call", "sleep", "/3600000"),
    Late("awaiting a host function of the user's", "host_call", f"/{LATER}"),
    Late("awaiting a host function of the user's", "p3_host_call", f"/{LATER}"),
    Late("awaiting a thread that is not given up", "host_call", f"/{IN_A_THREAD}"),
    Late("awaiting a thread that is not given up", "p3_host_call", f"/{IN_A_THREAD}"),
    Late("awaiting a shielded scope", "host_call", f"/{SHIELDED}"),
    Late("awaiting a shielded scope", "p3_host_call", f"/{SHIELDED}"),
    Late("awaiting code that swallows cancellation", "host_call", f"/{SWALLOWING}"),
    Late("awaiting code that swallows cancellation", "p3_host_call", f"/{SWALLOWING}"),
    Late("spinning in wasm", "spin"),
    Late("spinning in wasm", "p3_spin", "/0"),
    Late("spinning in its callback", "p3_spin", "/2"),
    Late("yielding without end", "p3_spin", "/3"),
    Late("spinning in its start function", "spin_in_start"),
    Late("spinning in its start function", "p3_spin_in_start"),
    Late("spinning in realloc", "spin_in_realloc"),
    Late("spinning in realloc", "p3_spin_in_realloc"),
    Late("spinning in a destructor", "spin_in_destructor"),
    Late("spinning in a destructor", "p3_spin_in_destructor"),
    Late("in a host function that sleeps", "host_call", f"/{SLEEP}"),
    Late("in a host function that sleeps", "p3_host_call", f"/{SLEEP}"),
    Late("in a host function that loops", "host_call", f"/{LOOP}"),
    Late("in a host function that loops", "p3_host_call", f"/{LOOP}"),
    Late("in a host function that receives", "host_call", f"/{RECEIVE}"),
    Late("in a host function that receives", "p3_host_call", f"/{RECEIVE}"),
)
