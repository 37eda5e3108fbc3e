"""Engines for all tests of a session, one for those that admit the same features, and what they have compiled."""

from __future__ import annotations

import hashlib
import threading
from weakref import WeakKeyDictionary

from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._loading import EngineOptions, compile_component, link_compiled

#: components that are kept; of more, the one compiled first is forgotten
SIZE = 128


class _Cache(threading.local):
    """One for each thread, as an engine is for one thread."""

    def __init__(self) -> None:
        self.engines: dict[frozenset[str], Engine] = {}
        self.components: dict[tuple[bytes, frozenset[str]], Component] = {}
        self.sources: WeakKeyDictionary[Component, bytes] = WeakKeyDictionary()
        #: linked with WASI alone, by component and name
        self.linked: dict[tuple[Component, str], LinkedComponent] = {}


_cache = _Cache()


def engine(features: frozenset[str]) -> Engine:
    """The engine of this thread that admits these features."""
    if features not in _cache.engines:
        _cache.engines[features] = EngineOptions(features).open()
    return _cache.engines[features]


def compiled(data: bytes, name: str, features: frozenset[str]) -> Component:
    """A component, compiled unless one with the same content has been; raises LoadError, which calls it ``name``."""
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
    """Return a component linked with WASI and nothing else; raises LoadError, which calls it ``name``.

    Each example of a property test asks for it.
    """
    component = compiled(data, name, features)
    linked = _cache.linked.get((component, name))
    if linked is None:
        linked = _cache.linked[component, name] = link_compiled(component, name)
    return linked


def source_of(component: Component) -> bytes | None:
    """What a component was compiled of, None for one that was not compiled here."""
    return _cache.sources.get(component)


def close() -> None:
    """Forget the components of this thread, and close its engines; what they ran must have ended."""
    _cache.components.clear()
    _cache.linked.clear()
    for opened in _cache.engines.values():
        opened.close()
    _cache.engines.clear()
