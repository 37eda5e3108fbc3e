"""Finds types and functions of WIT by their full or shortened names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

from wasi_trio.bindgen._world import elaborate, without_docs
from wasi_trio.component._binary import decode
from wasi_trio.component._bindings import TypedInterface
from wasi_trio.component._errors import ComponentError
from wasi_trio.component._types import FuncType, ResourceType, ValType
from wasi_trio.component._values import snake_case
from wasi_trio.component.wit import Interface, Wit, parse
from wasi_trio.component.wit import _tree as tree
from wasi_trio.component.wit._interfaces import versioned
from wasi_trio.component.wit._lexer import Source as Text
from wasi_trio.component.wit._parser import parse_file
from wasi_trio.component.wit._resolution import Resolver, load_nodes
from wasi_trio.component.wit._text import write
from wasi_trio.component.wit._world import describe
from wasi_trio.runtime._clients import InterfaceClient
from wasi_trio.testing import _cache as cache
from wasi_trio.testing._running import Running
from wasi_trio.testing._sources import Named, Source, is_path, read
from wasi_trio.wasi._loading import check_is_component, load_error
from wasi_trio.wasi.wit import FEATURES

T = TypeVar("T")

#: A source of names: WIT (its text, a file or a folder), a component, a component that runs in the harness, or the
#: bindings that ``wasi_trio bindgen`` generates (the package, its ``Client``, or a module of an interface).
WitSource: TypeAlias = "Source | Running | TypedInterface | InterfaceClient | type[Any] | ModuleType"

#: Maximum number of other names that an error lists.
_LISTED = 10


@dataclass(frozen=True)
class Scope:
    """An interface and its possible names. The name "" stands for a world's own functions and types."""

    names: tuple[str, ...]
    interface: Interface
    #: Adds the classes of bindings to a type.
    typed: Callable[[ValType], ValType]

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True)
class Names:
    """The named types and functions of a source. ``component`` is the source, unless it already runs."""

    scopes: list[Scope]
    origin: str
    component: Named | None = None

    def type(self, name: str) -> tuple[str, ValType | ResourceType]:
        """Return the full name of a type, and the type. Raises ValueError."""
        scope, short, found = self._find(name, "type", lambda scope: scope.interface.types)
        return _full(scope, short), found if isinstance(found, ResourceType) else scope.typed(found)

    def function(self, name: str) -> tuple[str, FuncType]:
        """Return the full name of a function, and its type. Raises ValueError."""
        scope, short, found = self._find(name, "function", lambda scope: scope.interface.functions)
        params = tuple((param, scope.typed(type_)) for param, type_ in found.params)
        return _full(scope, short), FuncType(params, found.result, found.is_async)

    def _find(self, name: str, kind: str, members: Callable[[Scope], Any]) -> tuple[Scope, str, Any]:
        spelled: dict[str, list[tuple[Scope, str, Any]]] = {}
        for scope in self.scopes:
            for short, found in members(scope).items():
                for spelling in _spellings(scope, short):
                    spelled.setdefault(spelling, []).append((scope, short, found))
        places = spelled.get(name, [])
        if not places:
            near = get_close_matches(name, spelled, _LISTED, cutoff=0.5) or sorted(spelled)[:_LISTED]
            known = f"; it has {', '.join(near)}" if near else ""
            raise ValueError(f"{self.origin} has no {kind} {name}{known}")
        own = [place for place in places if not place[0].name]
        if own:
            return own[0]  # A world's own member has no longer name.
        if len({id(found) for _, _, found in places}) > 1:
            listed = ", ".join(sorted({_full(scope, short) for scope, short, _ in places}))
            raise ValueError(f"{self.origin} has several {kind}s {name}: {listed}")
        return places[0]


def _full(scope: Scope, short: str) -> str:
    return f"{scope.name}.{short}" if scope.name else short


def _spellings(scope: Scope, short: str) -> Iterator[str]:
    for own in {short, snake_case(short)}:
        yield own
        for name in scope.names:
            if name:
                yield f"{name}.{own}"
                yield f"{name}/{own}"


def names_of(source: WitSource) -> Names:
    """Return the names of a source. Raises ValueError, LoadError, and WitError for invalid WIT."""
    if isinstance(source, Running):
        return _of_running(source)
    if isinstance(source, TypedInterface):
        return _of_bindings(str(source), [source])
    if isinstance(source, (ModuleType, InterfaceClient, type)) or hasattr(source, "_instance"):
        return _of_bindings(*_bindings(source))
    if isinstance(source, str) and _is_wit(source):
        wit = parse(source, "the WIT", FEATURES)
        return Names(list(_of_wit(parse_file(Text("the WIT", source), FEATURES), wit)), "the WIT")
    if is_path(source):
        path = Path(source)  # type: ignore[arg-type]
        if path.is_dir() or path.suffix == ".wit":
            return _of_files(path)
    (named,) = read([source])
    return Names(list(_of_component(named)), named.name, named)


def _is_wit(text: str) -> bool:
    """Return whether the text is WIT, and not a path or the text of a component."""
    return any(character in text for character in "{;") and not text.lstrip().startswith(("(", ";;"))


# ---- WIT -------------------------------------------------------------------------------------------------


def _of_files(path: Path) -> Names:
    try:
        nodes = load_nodes([path], FEATURES)
    except OSError as error:
        raise ValueError(f"cannot read {error.filename or path}: {error.strerror}") from None
    return Names(list(_of_wit(nodes, Resolver(nodes).wit())), os.fspath(path))


def _plain(type_: ValType) -> ValType:
    return type_


def _of_wit(nodes: list[tree.PackageNode], wit: Wit) -> Iterator[Scope]:
    for package in wit.packages.values():
        for short, interface in package.interfaces.items():
            yield Scope(_names(interface.name, interface.version, short), interface, _plain)
    for node in nodes:
        for world in node.worlds:
            yield from _of_world(nodes, world, node, own_only=True)


def _of_world(
    nodes: list[tree.PackageNode], world: tree.WorldNode, home: tree.PackageNode, own_only: bool
) -> Iterator[Scope]:
    """Yield the interfaces of a world. ``own_only`` restricts them to the world itself and unnamed interfaces."""
    members = list(elaborate(nodes, world, home).members())
    bare = Resolver(without_docs(members, {})).wit()
    seen = set()
    for member in members:
        if member.within in seen or (own_only and member.within == member.name):
            continue
        seen.add(member.within)
        full, _, version = member.name.partition("@")
        names = _names(full, version or None, full.rpartition("/")[2])
        yield Scope(names, bare.interface(member.within), _plain)


def _names(name: str, version: str | None, short: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((versioned(name, version), name, short)))


# ---- components ------------------------------------------------------------------------------------------


def _of_component(named: Named) -> Iterator[Scope]:
    check_is_component(named.data, named.name)
    try:
        # The component may be hostile. Writing and reading its WIT makes each name pass the lexer.
        nodes = parse_file(Text(named.name, write(describe(decode(named.data)).packages)))
    except ComponentError as error:
        raise load_error(named.name, error) from None
    return _of_world(nodes, nodes[0].worlds[0], nodes[0], own_only=False)


def _of_running(running: Running) -> Names:
    scopes: list[Scope] = []
    origin = ", ".join(running.names)
    for linked in running._linked():
        data = cache.source_of(linked.component)
        if data is None:
            raise ValueError(f"the types of {origin} are unknown here: pass the path of the component")
        scopes += _of_component(Named(linked.name, data))
    return Names(scopes, origin)


# ---- bindings --------------------------------------------------------------------------------------------


def _of_bindings(origin: str, interfaces: Iterable[TypedInterface]) -> Names:
    scopes = []
    for typed in interfaces:
        full, _, version = typed.name.partition("@")
        names = _names(full, version or None, full.rpartition("/")[2])
        scopes.append(Scope(names, typed.interface, _with_classes(typed)))
    return Names(scopes, origin)


def _with_classes(interface: TypedInterface) -> Callable[[ValType], ValType]:
    return lambda type_: interface.typing.of(type_, type_)


def _bindings(source: Any) -> tuple[str, list[TypedInterface]]:
    """Return the name of bindings, and their interfaces: first those that the component exports."""
    if isinstance(source, ModuleType):
        module = source.__name__
    else:
        class_ = source if isinstance(source, type) else type(source)
        module = class_.__module__
    if importlib.util.find_spec(module) is not None and hasattr(importlib.import_module(module), "Client"):
        found = []
        for side in ("exported", "imported"):
            package = importlib.import_module(f"{module}.{side}")
            for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
                found.append(importlib.import_module(info.name).INTERFACE)
        return module, found
    interface = getattr(source, "INTERFACE", None)
    if not isinstance(interface, TypedInterface):
        raise ValueError(f"{source!r} is neither WIT, nor a component, nor bindings by bindgen")
    return module, [interface]
