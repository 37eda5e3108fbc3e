"""Streams between two guests for tests."""

from __future__ import annotations

from typing import Any

from tests.component.concurrency.world import Guest, World
from wasi_trio.component._context import Context
from wasi_trio.component._types import (
    U8,
    Stream,
    ValType,
)

COMPLETED, DROPPED, CANCELLED = 0, 1, 2
READ, WRITE = 2, 3


def lift(guest: Guest, index: int, element: ValType | None) -> Any:
    return context(guest).lift_stream(index, element)


def context(guest: Guest) -> Context:
    return guest.instance.context(guest.options())


class Pipe:
    """A stream from guest ``w`` to guest ``r``, with methods for the built-ins on its ends."""

    def __init__(self, world: World, element: ValType | None = U8, same: bool = False) -> None:
        self.type = Stream(element)
        self.w = world.guest()
        ends = self.w.call("stream.new", type_=self.type)
        self.reader, self.writer = ends & 0xFFFF_FFFF, ends >> 32
        self.r = self.w
        if not same:
            self.r = world.guest()
            self.reader = context(self.r).lower_stream(lift(self.w, self.reader, element), element)

    def write(self, pointer: int, count: int) -> int:
        return int(self.w.call("stream.write", self.writer, pointer, count, type_=self.type, is_async=True))

    def read(self, pointer: int, count: int) -> int:
        return int(self.r.call("stream.read", self.reader, pointer, count, type_=self.type, is_async=True))

    def cancel_write(self) -> int:
        return int(self.w.call("stream.cancel-write", self.writer, type_=self.type, is_async=True))

    def cancel_read(self) -> int:
        return int(self.r.call("stream.cancel-read", self.reader, type_=self.type, is_async=True))

    def drop_writer(self) -> None:
        self.w.call("stream.drop-writable", self.writer, type_=self.type)

    def drop_reader(self) -> None:
        self.r.call("stream.drop-readable", self.reader, type_=self.type)

    def event(self, guest: Guest, index: int) -> tuple[int, int] | None:
        """Return the pending event of an end: its code and payload."""
        wset = guest.call("waitable-set.new")
        guest.call("waitable.join", index, wset)
        code = guest.call("waitable-set.poll", wset, 0)
        found, payload = guest.word(0), guest.word(4)
        guest.call("waitable.join", index, 0)
        guest.call("waitable-set.drop", wset)
        assert code == 0 or found == index
        return None if code == 0 else (code, payload)

    def write_event(self) -> tuple[int, int] | None:
        return self.event(self.w, self.writer)

    def read_event(self) -> tuple[int, int] | None:
        return self.event(self.r, self.reader)


def done(result: int, count: int) -> int:
    return result | count << 4
