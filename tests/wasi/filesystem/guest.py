"""A guest of WASI 0.2 or 0.3 whose file operations a test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.guests.forward import forwarder
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._imports import link_wasi
from wasi_trio.wasi._loading import compile_component
from wasi_trio.wasi.filesystem._preopens import Preopen

_FILES = ("wasi:filesystem/types", "wasi:filesystem/preopens")
_GUESTS = {
    "p2": (("wasi:io/poll", "wasi:io/error", "wasi:io/streams", *_FILES), ()),
    "p3": (_FILES, (("wasi:filesystem/types", "directory-entry"),)),
}
#: the final bits of a built-in's result code
COMPLETED, DROPPED = 0, 1
FOLLOW = frozenset({"symlink-follow"})
NOFOLLOW: frozenset[str] = frozenset()


def told(value: Any) -> Any:
    """Format a result for a test: ``ok``, the value, or ``E:`` and the error code."""
    if isinstance(value, Err):
        error = value.value
        return f"E:{error.case if isinstance(error, Variant) else error}"
    if isinstance(value, Ok):
        return "ok" if value.value is None else value.value
    return value


def case_of(value: Any) -> str:
    """Return the name of a case of an enum or a variant."""
    return value.case if isinstance(value, Variant) else value


class Guest:
    """The functions of wasi:filesystem as this guest calls them. Handles are numbers."""

    def __init__(self, version: str, instance: Instance, context: WasiContext) -> None:
        self.version = version
        self.instance = instance
        self.context = context

    async def __call__(self, function: str, *arguments: Any) -> Any:
        return told(await self.instance.call(function, None, *arguments))

    async def at(self, function: str, *arguments: Any) -> Any:
        """Call a method of a descriptor."""
        return await self(f"descriptor-{function}", *arguments)

    async def preopens(self) -> list[tuple[int, str]]:
        return [tuple(pair) for pair in await self("get-directories")]

    async def root(self) -> int:
        return (await self.preopens())[0][0]

    async def open(
        self,
        directory: int,
        path: str,
        how: Sequence[str] = (),
        flags: Sequence[str] = ("read",),
        follow: frozenset[str] = FOLLOW,
    ) -> Any:
        return await self.at("open-at", directory, follow, path, frozenset(how), frozenset(flags))

    async def drop(self, descriptor: int) -> None:
        await self("drop-descriptor", descriptor)

    async def read(self, descriptor: int, offset: int = 0, piece: int = 65536) -> tuple[bytes, str]:
        """Read everything from an offset on with a stream, and return it with the outcome."""
        if self.version == "p3":
            stream, future = await self.at("read-via-stream", descriptor, offset)
            data = b""
            while True:
                code, part = await self("stream-read", stream, piece)
                data += bytes(part)
                if code & 15 == DROPPED:
                    break
            await self("stream-drop", stream)
            return data, await self("outcome-read", future)
        opened = await self.at("read-via-stream", descriptor, offset)
        if isinstance(opened, str):
            return b"", opened
        data = b""
        while True:
            part = await self.instance.call("input-stream-blocking-read", None, opened, piece)
            if isinstance(part, Err):
                break
            data += bytes(part.value)
        await self("drop-input-stream", opened)
        return data, await self._ended(part.value)

    async def write(self, descriptor: int, data: bytes, offset: int | None = 0) -> str:
        """Write with a stream, at the end for None, and return the outcome."""
        function = "append-via-stream" if offset is None else "write-via-stream"
        where = () if offset is None else (offset,)
        if self.version == "p3":
            readable, writable = await self("stream-new")
            future = await self.at(function, descriptor, readable, *where)
            while data:
                code = await self("stream-write", writable, data[: 1 << 20])
                data = data[code >> 4 :]
                if code & 15 == DROPPED:
                    break
            await self("stream-end", writable)
            return await self("outcome-read", future)
        opened = await self.at(function, descriptor, *where)
        if isinstance(opened, str):
            return opened
        ended = "ok"
        for start in range(0, len(data), 4096):
            outcome = await self.instance.call(
                "output-stream-blocking-write-and-flush", None, opened, data[start : start + 4096]
            )
            if isinstance(outcome, Err):
                ended = await self._ended(outcome.value)
                break
        await self("drop-output-stream", opened)
        return ended

    async def _ended(self, error: Variant) -> str:
        """Return the outcome in a ``stream-error``."""
        if error.case == "closed":
            return "ok"
        code = await self("filesystem-error-code", error.value)
        await self("drop-error", error.value)
        return f"E:{code}"

    async def entries(self, descriptor: int, at_once: int = 10) -> tuple[list[tuple[str, str]], str]:
        """Return the names and types in a directory, in order, and the outcome."""
        found: list[tuple[str, str]] = []
        if self.version == "p3":
            stream, future = await self.at("read-directory", descriptor)
            while True:
                code, part = await self("directory-entry-read", stream, at_once)
                found += [(entry.name, case_of(entry.type)) for entry in part]
                if code & 15 == DROPPED:
                    break
            await self("directory-entry-drop", stream)
            return found, await self("outcome-read", future)
        stream = await self.at("read-directory", descriptor)
        if isinstance(stream, str):
            return found, stream
        while True:
            entry = await self("directory-entry-stream-read-directory-entry", stream)
            if isinstance(entry, str):
                break
            found.append((entry.name, case_of(entry.type)))
        await self("drop-directory-entry-stream", stream)
        return found, entry


@asynccontextmanager
async def guest(
    engine: Engine, version: str, *preopens: Preopen, release: str | None = None, **options: Any
) -> AsyncIterator[Guest]:
    """Run a guest with these directories, built for ``release`` of WASI."""
    linked = link_wasi(compile_component(engine, forwarder(version, *_GUESTS[version], release), version))
    async with trio.open_nursery() as nursery:
        context = WasiContext(WasiOptions(preopens=preopens, **options), nursery=nursery)
        instance = await Instance.instantiate(linked, context)
        if instance.pump is not None:
            nursery.start_soon(instance.pump.run)
        try:
            yield Guest(version, instance, context)
        finally:
            nursery.cancel_scope.cancel()
            instance.close()
            context.finish()
