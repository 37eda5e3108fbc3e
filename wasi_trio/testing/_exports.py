"""The exports of a component, called by a test through the client that ``wasi_trio bindgen`` has written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import trio

from wasi_trio.runtime._instance import Instance
from wasi_trio.testing import _cache as cache
from wasi_trio.testing import _standstill as standstill
from wasi_trio.testing._recording import record
from wasi_trio.testing._running import Failable, Outputs, written
from wasi_trio.testing._settings import GuestSettings, features_of, imports_of
from wasi_trio.testing._sources import Source, read
from wasi_trio.testing._tasks import open_nursery
from wasi_trio.testing._usage import metered
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._loading import link_compiled
from wasi_trio.wasi._state import opened

if TYPE_CHECKING:
    from typing import Unpack

    from wasi_trio.runtime._component import LinkedComponent

T = TypeVar("T")


class _Called(Outputs):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    @asynccontextmanager
    async def open(self, linked: LinkedComponent, settings: GuestSettings) -> AsyncIterator[Instance]:
        __tracebackhide__ = True
        block = Failable()
        options = self._wasi(settings, settings.get("wasi", WasiOptions()), block.fail)
        counted = metered(self._name, standstill.meter())
        async with opened(options.state) as state, open_nursery() as nursery:
            context = WasiContext(replace(options, state=state), nursery=nursery)
            instance: Instance | None = None
            try:
                with counted as meter:
                    instance = await Instance.instantiate(linked, context, meter=meter)
                    if instance.pump is not None:
                        nursery.start_soon(instance.pump.run)
                    with block.block():
                        yield instance
            finally:
                if instance is not None:
                    with trio.CancelScope(shield=True):
                        await instance.aclose()
                context.finish()
                nursery.cancel_scope.cancel()

    def report(self) -> list[tuple[str, str]]:
        """What to show of it when a test has failed: titles and texts."""
        return written(f"wasi_trio: {self._name}", self)


@asynccontextmanager
async def exports(
    client: Callable[[Instance], T], source: Source, **settings: Unpack[GuestSettings]
) -> AsyncIterator[T]:
    """The exports of a new instance, called by an object of ``client``, the class ``Client`` of its bindings.

    The instance ends with the block. Of what there is to set see ``GuestSettings``. Raises LoadError, LinkError where
    the component does not export what its bindings have, Trap, and what a host function raises.
    """
    __tracebackhide__ = True
    ((name, data),) = read([source])
    base = settings.get("wasi", WasiOptions())
    linked = link_compiled(cache.compiled(data, name, features_of(settings)), name, imports_of(settings, base))
    called = _Called(name)
    record(called)
    async with called.open(linked, settings) as instance:
        yield client(instance)
