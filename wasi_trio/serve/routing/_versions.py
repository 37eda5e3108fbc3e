"""Versions of routes: the content of their files at a moment, and the loaded components."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from wasi_trio.component._imports import Imports
from wasi_trio.runtime._compiler import assemble
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._loading import link_http
from wasi_trio.serve._middleware import Chain, Handler
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.routing._declarations import RouteDeclaration
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.settings._table import SETTINGS
from wasi_trio.wasi._imports import state_imports
from wasi_trio.wasi._loading import Content, LoadError, assembled, compile_component, read_content
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.registry._references import is_reference

if TYPE_CHECKING:
    from wasi_trio.serve.routing._static import StaticFiles

BUILT_IN = "the built-in component"


@dataclass(frozen=True, slots=True)
class RouteVersion:
    """A route with everything that it depends on. Equal versions give the same answers. It can be pickled.

    ``values`` are the settings that a route can have. ``contents`` are the files of its components, and ``folder`` is
    the identity of its folder of static files. ``pins`` are the components' references with digests, where the given
    references have none.
    """

    declaration: RouteDeclaration
    values: Mapping[str, Any]
    contents: tuple[bytes, ...] = ()
    folder: tuple[int, int] | None = None
    pins: tuple[str | None, ...] = field(default=(), compare=False)

    @property
    def files(self) -> tuple[str, ...]:
        """The files and folders of the route, which can be watched."""
        return self.declaration.watched

    def components(self) -> Iterator[tuple[str, Content]]:
        """Yield the components as given, with their contents."""
        for path, data, pin in zip(self.declaration.components, self.contents, self.pins, strict=True):
            yield path, Content(data, pin)


def log_pins(versions: Iterable[RouteVersion]) -> None:
    """Log once for each component that its reference may have another meaning later."""
    for path, content in {path: content for version in versions for path, content in version.components()}.items():
        content.warn_if_unpinned(path)


class Contents:
    """Reads components. Equal contents are the same object.

    A reference to a registry that occurs in ``known`` is looked up ``again``, or else taken from there.
    """

    def __init__(self, known: Iterable[RouteVersion] = (), *, again: bool = True) -> None:
        before = {path: content for version in known for path, content in version.components()}
        self._objects = {content.data: content.data for content in before.values()}
        self._read = {} if again else {path: content for path, content in before.items() if is_reference(path)}

    def of(self, path: str) -> Content:
        """Return the content of a component, which is read once. Raise LoadError."""
        content = self._read.get(path)
        if content is None:
            data, pin = read_content(path)
            content = self._read[path] = Content(self._objects.setdefault(data, data), pin)
        return content


def version_of(declaration: RouteDeclaration, settings: Settings, contents: Contents) -> RouteVersion:
    """Read the current version of a route. Raise LoadError."""
    own = settings.for_route(declaration)
    values = {each.name: own[each.name] for each in SETTINGS if each.for_routes}
    folder = None
    if declaration.files is not None:
        try:
            status = os.stat(declaration.files)
        except OSError as error:
            raise LoadError(f"cannot open {declaration.files}: {error.strerror}") from None
        folder = (status.st_dev, status.st_ino)
    found = [contents.of(path) for path in declaration.components]
    data, pins = tuple(content.data for content in found), tuple(content.pin for content in found)
    return RouteVersion(declaration, values, data, folder, pins)


def read_versions(settings: Settings, known: Iterable[RouteVersion] = ()) -> tuple[RouteVersion, ...]:
    """Read the current versions of all routes. Raise LoadError or SettingError."""
    contents = Contents(known)
    return tuple(version_of(declaration, settings, contents) for declaration in settings.routes)


@dataclass(frozen=True, slots=True)
class LoadedRoute:
    """A route that is ready to serve: compiled and linked components, an open folder, or both."""

    version: RouteVersion
    options: HandlerOptions
    headers: list[tuple[bytes, bytes]]
    chain: Chain | None
    folder: Preopen | None

    @asynccontextmanager
    async def open(self, options: HandlerOptions) -> AsyncIterator[tuple[Handler, list[ProxyHandler]]]:
        """Run the route. Yield its entry, and all its handlers. Leaving the block is as with a ProxyHandler."""
        async with AsyncExitStack() as stack:
            files: StaticFiles | None = None
            if self.folder is not None:
                # Imported here because werkzeug is slow to import and most servers have no files.
                from wasi_trio.serve.routing._static import StaticFiles

                declaration = self.version.declaration
                prefix = "" if declaration.strip_prefix else declaration.pattern.root_path
                files = await stack.enter_async_context(StaticFiles(self.folder, prefix, options))
            handlers: list[ProxyHandler] = []
            if self.chain is not None:
                handlers = await stack.enter_async_context(self.chain.open(options, files))
            answerer = handlers[0] if handlers else files
            assert answerer is not None, "a route has components or files"
            yield answerer, handlers


class Loader:
    """Loads versions of routes with one engine. It compiles a component that occurs several times once.

    Only one thread may call it at a time. That thread need not be the one of the engine's guests.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._compiled: WeakValueDictionary[bytes, Component] = WeakValueDictionary()

    def load(self, version: RouteVersion, settings: Settings, imports: Imports | None = None) -> LoadedRoute:
        """Load a route. Raise LoadError, or SettingError for a directory of guests that cannot be opened."""
        declaration = version.declaration
        own = settings.for_route(declaration)
        folder: Preopen | None = None
        try:
            options = own.handler_options()
            if declaration.files is not None:
                folder = Preopen(declaration.files, read_only=True)
        except OSError as error:
            raise LoadError(f"cannot open {error.filename}: {error.strerror}") from None
        provided_to_all = state_imports(settings.state)
        if imports is not None:
            provided_to_all.update(imports)
        chain: Chain | None = None
        if declaration.components or folder is None:
            named = dict(zip(declaration.components, version.contents, strict=True))

            def load(engine: Engine, path: str | None, provided: Imports) -> LinkedComponent:
                if path is None:
                    return link_http(self._built_in(), BUILT_IN, provided)
                return link_http(self._compile(named[path], path), path, provided)

            chain = Chain(self.engine, declaration.components or (None,), provided_to_all, load, declaration.files)
        return LoadedRoute(version, options, own.headers, chain, folder)

    def _compile(self, content: bytes, name: str) -> Component:
        component = self._compiled.get(content)
        if component is None:
            data = assembled(content, name, self.engine.compile_limits)
            component = self._compiled[content] = compile_component(self.engine, data, name)
        return component

    def _built_in(self) -> Component:
        text = resources.files("wasi_trio.serve").joinpath("demo.wat").read_text("utf-8")
        return compile_component(self.engine, assemble(text.encode()), BUILT_IN, trusted=True)
