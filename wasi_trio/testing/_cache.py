"""Caches the engines of a test session, one for each set of features, and the components compiled with them."""

from __future__ import annotations

import hashlib
import threading
from weakref import WeakKeyDictionary

from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._loading import EngineOptions, compile_component, link_compiled

#: Maximum number of cached components. The one compiled first is dropped.
SIZE = 128


class _Cache(threading.local):
    """The cache of one thread, because an engine is for one thread."""

    def __init__(self) -> None:
        self.engines: dict[frozenset[str], Engine] = {}
        self.components: dict[tuple[bytes, frozenset[str]], Component] = {}
        self.sources: WeakKeyDictionary[Component, bytes] = WeakKeyDictionary()
        #: The components linked only with WASI, by component and name.
        self.linked: dict[tuple[Component, str], LinkedComponent] = {}


_cache = _Cache()


def engine(features: frozenset[str]) -> Engine:
    """Return this thread's engine with these features."""
    if features not in _cache.engines:
        _cache.engines[features] = EngineOptions(features).open()
    return _cache.engines[features]


def compiled(data: bytes, name: str, features: frozenset[str]) -> Component:
    """Return a component, compiled unless its content is cached. Raises LoadError, in which ``name`` is its name."""
    key = hashlib.sha256(data).digest(), features
    component = _cache.components.get(key)
    if component is None:
        component = compile_component(engine(features), data, name)
        while len(_cache.components) >= SIZE:
            forgotten = _cache.components.pop(next(iter(_cache.components)))
            for place in [place for place in _cache.linked if place[0] is forgotten]:
                del _cache.linked[place]
        _cache.components[key] = component
        _cache.sources[component] = data
    return component


def linked_with_wasi(data: bytes, name: str, features: frozenset[str]) -> LinkedComponent:
    """Return a component linked only with WASI. Raises LoadError, in which ``name`` is the component's name.

    The result is cached, because each example of a property test needs it.
    """
    component = compiled(data, name, features)
    linked = _cache.linked.get((component, name))
    if linked is None:
        linked = _cache.linked[component, name] = link_compiled(component, name)
    return linked


def source_of(component: Component) -> bytes | None:
    """Return the bytes of a component that this cache compiled, or None for another component."""
    return _cache.sources.get(component)


def close() -> None:
    """Drop the components of this thread and close its engines. Their instances must have ended."""
    _cache.components.clear()
    _cache.linked.clear()
    for opened in _cache.engines.values():
        opened.close()
    _cache.engines.clear()
