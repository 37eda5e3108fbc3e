"""A guest that forwards calls of wasi:config, wasi:keyvalue and wasi:logging from a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.guests.forward import forwarder
from wasi_trio.component._account import Account
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._imports import link_wasi, state_imports
from wasi_trio.wasi._loading import compile_component
from wasi_trio.wasi._state import State, opened
from wasi_trio.wasi.keyvalue._bucket import Store

DRAFT, DRAFT2 = "0.2.0-draft", "0.2.0-draft2"
_KEYVALUE = ("wasi:keyvalue/store", "wasi:keyvalue/atomics", "wasi:keyvalue/batch")


def told(value: Any) -> Any:
    """Format a result for a test: the value of an Ok, or ``E:`` and the error."""
    if isinstance(value, Err):
        error = value.value
        while isinstance(error, Variant) and isinstance(error.value, Variant):
            error = error.value
        if error.value is None:
            return f"E:{error.case}"
        return f"E:{error.value}" if error.case == "other" else (error.case, error.value)
    return value.value if isinstance(value, Ok) else value


class Guest:
    """The functions of an interface as this guest calls them. Handles are numbers."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    async def __call__(self, function: str, *arguments: Any) -> Any:
        return told(await self.instance.call(function, None, *arguments))

    @property
    def account(self) -> Account:
        return self.instance.account


class Opened:
    """A bucket that a guest has opened."""

    def __init__(self, guest: Guest, handle: int) -> None:
        self.guest = guest
        self.handle = handle

    async def __call__(self, function: str, *arguments: Any) -> Any:
        """Call a method of the bucket, or a function whose first argument is the bucket."""
        methods = ("get", "set", "delete", "exists", "list-keys")
        name = f"bucket-{function}" if function in methods else function
        return await self.guest(name, self.handle, *arguments)

    async def keys(self, pages: list[int] | None = None) -> list[str]:
        """Return all keys, page by page, and append the size of each page to ``pages``."""
        found: list[str] = []
        cursor = None
        while True:
            page = await self("list-keys", cursor)
            found += page.keys
            if pages is not None:
                pages.append(len(page.keys))
            cursor = page.cursor
            if cursor is None:
                return found


@asynccontextmanager
async def instance_of(
    engine: Engine, release: str, interfaces: tuple[str, ...], state: State, context: dict[str, Any] | None = None
) -> AsyncIterator[Guest]:
    """Run an instance of a guest with these interfaces."""
    component = compile_component(engine, forwarder("proposals", interfaces, release=release), "guest", trusted=True)
    linked = link_wasi(component, state_imports(state))
    async with opened(state, engine.budget) as state:
        wasi = WasiContext(WasiOptions(state=state), **(context or {}))
        instance = await Instance.instantiate(linked, wasi)
        try:
            yield Guest(instance)
        finally:
            instance.close()


@asynccontextmanager
async def bucket(engine: Engine, store: Store, release: str = DRAFT, **state: Any) -> AsyncIterator[Opened]:
    """Open the default bucket of a store in a guest."""
    async with bucket_of(engine, State(keyvalue={"default": store}, **state), release) as opened:
        yield opened


@asynccontextmanager
async def bucket_of(engine: Engine, given: State, release: str = DRAFT) -> AsyncIterator[Opened]:
    """Open the default bucket of a state in a guest."""
    async with instance_of(engine, release, _KEYVALUE, given) as guest:
        yield Opened(guest, await guest("open", ""))
