"""Calls between guests for tests: a callee that waits, and the caller's view of it."""

from __future__ import annotations

from typing import Any

from tests.component.concurrency.world import (
    EXIT,
    Guest,
    World,
    wait_on,
)
from wasi_trio.component._types import STRING, U8, U32, FuncType, Stream
from wasi_trio.component.concurrency import SubtaskState

ASYNC = FuncType((), None, is_async=True)
SYNC_U32 = FuncType((("x", U32),), U32)
ASYNC_U32 = FuncType((("x", U32),), U32, is_async=True)
ASYNC_STRING = FuncType((("x", STRING),), STRING, is_async=True)
EXPORT = ASYNC

STARTING, STARTED, RETURNED = SubtaskState.STARTING, SubtaskState.STARTED, SubtaskState.RETURNED


def unpack(code: Any) -> tuple[int, int]:
    """Return the state and handle in the result of an asynchronous call."""
    return code & 0xF, code >> 4


def run(world: World, guest: Guest, core: Any) -> Any:
    """Run a core function as an export of a guest."""
    return world.start(guest.lift(core, EXPORT))


def poll(guest: Guest, set_index: int) -> tuple[int, int, int]:
    pointer = guest.scratch(8)
    code = guest.call("waitable-set.poll", set_index, pointer)
    return code, guest.word(pointer), guest.word(pointer + 4)


class Blocking:
    """A callee in a separate guest, which ends on command."""

    def __init__(self, world: World, type_: FuncType = ASYNC_U32) -> None:
        self.world = world
        self.guest = guest = world.guest()
        self.log: list[Any] = []
        self.calls: list[int] = []

        def core(guest: Guest, *args: int) -> int:
            self.log.append(args)
            wset = guest.call("waitable-set.new")
            guest.call("context.set", wset)
            self.calls.append(wset)
            return wait_on(wset)

        def callback(guest: Guest, code: int, index: int, payload: int) -> int:
            self.log.append(code)
            if code == 6:
                guest.call("task.cancel", is_async=True)
            else:
                guest.call("task.return", *self.flats, type_=type_.result, is_async=True)
            return EXIT

        self.flats: tuple[int, ...] = (42,)
        self.function = guest.lift(core, type_, is_async=True, callback=callback)

    def unblock(self, number: int = 0) -> None:
        ends = self.guest.call("stream.new", type_=Stream(U8))
        self.guest.call("stream.read", ends & 0xFFFF_FFFF, 0, 1, type_=Stream(U8), is_async=True)
        self.guest.call("waitable.join", ends & 0xFFFF_FFFF, self.calls[number])
        self.guest.call("stream.drop-writable", ends >> 32, type_=Stream(U8))
