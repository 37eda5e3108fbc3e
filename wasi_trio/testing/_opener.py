"""Opens components that are closed at the end of the test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from wasi_trio.testing._settings import Settings
from wasi_trio.testing._sources import Source, is_path
from wasi_trio.testing._tasks import open_nursery

if TYPE_CHECKING:
    from typing import Unpack

T = TypeVar("T")


class Opener(Generic[T]):
    """Opens components: ``await opener("app.wasm")``. File paths are relative to ``folder``.

    Without a source it opens ``default``, the file that the test runs for.
    """

    def __init__(
        self,
        open: Callable[..., AbstractAsyncContextManager[T]],
        folder: Path,
        default: Path | None,
        nursery: trio.Nursery,
        end: trio.Event,
    ) -> None:
        self._open = open
        self._folder = folder
        self._default = default
        self._nursery = nursery
        self._end = end

    async def __call__(self, *sources: Source, **settings: Unpack[Settings]) -> T:
        """Open a component, which is closed when the test ends. Raises LoadError."""
        __tracebackhide__ = True
        if not sources and self._default is not None:
            sources = (self._default,)
        found = [self._folder / source if is_path(source) else source for source in sources]  # type: ignore[operator]
        opened: T = await self._nursery.start(self._hold, self._open(*found, **settings))
        return opened

    async def _hold(self, manager: AbstractAsyncContextManager[T], *, task_status: trio.TaskStatus[T]) -> None:
        """Hold a component open, in its own task, because the task that enters a cancel scope must also exit it."""
        async with manager as opened:
            task_status.started(opened)
            await self._end.wait()


@asynccontextmanager
async def opener(
    open: Callable[..., AbstractAsyncContextManager[T]], folder: str | os.PathLike[str], default: Path | None = None
) -> AsyncIterator[Opener[T]]:
    """Yield the opener that a fixture provides to its test."""
    end = trio.Event()
    async with open_nursery() as nursery:
        yield Opener(open, Path(folder), default, nursery, end)
        end.set()
