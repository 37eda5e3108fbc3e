"""An engine for all tests of a session, and the components that it has compiled."""

from __future__ import annotations

import hashlib
import threading

from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._loading import compile_component, open_engine

#: components that are kept; of more, the one compiled first is forgotten
SIZE = 128


class _Cache(threading.local):
    """One for each thread, as an engine is for one thread."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.components: dict[bytes, Component] = {}


_cache = _Cache()


def engine() -> Engine:
    """The engine of this thread."""
    if _cache.engine is None:
        _cache.engine = open_engine()
    return _cache.engine


def compiled(data: bytes, name: str) -> Component:
    """A component, compiled unless one with the same content has been; raises LoadError, which calls it ``name``."""
    digest = hashlib.sha256(data).digest()
    component = _cache.components.get(digest)
    if component is None:
        component = compile_component(engine(), data, name)
        while len(_cache.components) >= SIZE:
            del _cache.components[next(iter(_cache.components))]
        _cache.components[digest] = component
    return component


def close() -> None:
    """Forget the components of this thread, and close its engine; what it ran must have ended. It may be used again."""
    _cache.components.clear()
    if _cache.engine is not None:
        _cache.engine.close()
        _cache.engine = None
