"""A log for the tests of the host's ends."""

from __future__ import annotations

from typing import Any

from tests.component.concurrency.world import Guest, World
from wasi_trio.component._context import Context
from wasi_trio.component._types import U8, Stream, ValType
from wasi_trio.component.concurrency import (
    CopyResult,
    HostReader,
    HostWriter,
    SharedStream,
)

COMPLETED, DROPPED, CANCELLED = CopyResult.COMPLETED, CopyResult.DROPPED, CopyResult.CANCELLED


class Log:
    """A callback that records its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[CopyResult, Any]] = []

    def __call__(self, result: CopyResult, data: Any) -> None:
        self.calls.append((result, data))

    def take(self) -> Any:
        (call,) = self.calls
        self.calls.clear()
        return call


def context(guest: Guest) -> Context:
    return guest.instance.context(guest.options())


def read(guest: Guest, index: int, pointer: int, count: int, element: ValType | None = U8) -> int:
    return int(guest.call("stream.read", index, pointer, count, type_=Stream(element), is_async=True))


def write(guest: Guest, index: int, pointer: int, count: int, element: ValType | None = U8) -> int:
    return int(guest.call("stream.write", index, pointer, count, type_=Stream(element), is_async=True))


def take_event(guest: Guest, index: int) -> tuple[int, int]:
    wset = guest.call("waitable-set.new")
    guest.call("waitable.join", index, wset)
    code = guest.call("waitable-set.poll", wset, 0)
    guest.call("waitable.join", index, 0)
    return code, guest.word(4)


def host_to_guest(world: World, element: ValType | None = U8) -> tuple[HostWriter, Guest, int]:
    guest = world.guest()
    writer = HostWriter(SharedStream(element))
    return writer, guest, context(guest).lower_stream(writer.shared, element)


def guest_to_host(world: World, element: ValType | None = U8) -> tuple[Guest, int, HostReader]:
    guest = world.guest()
    ends = guest.call("stream.new", type_=Stream(element))
    return guest, ends >> 32, HostReader(context(guest).lift_stream(ends & 0xFFFF_FFFF, element))
