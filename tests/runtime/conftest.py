from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import wasmtime

from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine, Limits
from wasi_trio.runtime._instance import Instance

Start = Callable[..., AbstractAsyncContextManager[Instance]]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture
def start(engine: Engine) -> Start:
    """Return a function that starts an instance of a component in text, with host interfaces by name."""

    @asynccontextmanager
    async def start(wat: str, interfaces: dict[str, Any] | None = None, limits: Limits | None = None) -> Any:
        component = Component.compile(engine, bytes(wasmtime.wat2wasm(wat)))
        instance = await Instance.instantiate(component.link(Imports(interfaces)), None, limits or Limits())
        try:
            yield instance
        finally:
            instance.close()

    return start
