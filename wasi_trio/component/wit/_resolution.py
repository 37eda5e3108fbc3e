"""Resolves WIT syntax trees to interfaces, worlds and types."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.resources.abc import Traversable
from itertools import islice
from pathlib import Path

from wasi_trio._files import MAX_TEXT, read_file
from wasi_trio.component import _types as t
from wasi_trio.component._names import FunctionKind, compatible
from wasi_trio.component._signatures import render
from wasi_trio.component._types import FuncType, ResourceType, ValType
from wasi_trio.component.wit import _tree as tree
from wasi_trio.component.wit._interfaces import Interface, Package, Wit, World, versioned
from wasi_trio.component.wit._lexer import Source
from wasi_trio.component.wit._parser import MAX_DEPTH, PRIMITIVES, parse_file

#: The maximum number of entries of a folder with WIT, at any depth. A user may name the root of a disk.
MAX_ENTRIES = 10_000
#: A package's name and version.
Key = tuple[str, "str | None"]
_MAP_KEYS = frozenset(PRIMITIVES.values()) - {t.F32, t.F64, t.ERROR_CONTEXT}


def load(paths: Iterable[Path | Traversable], features: Collection[str] = ()) -> Wit:
    """Read and resolve WIT files. A folder stands for every ``.wit`` file in it, at any depth.

    If only some files of a folder name a package, the other files belong to it too. Items marked ``@unstable`` are
    skipped unless their feature is among ``features``. If an earlier folder has a compatible version of a package, the
    package is skipped, so that copies of dependencies share their types. Raises WitError, or OSError for a file that
    cannot be read.
    """
    return Resolver(load_nodes(paths, features)).wit()


def load_nodes(paths: Iterable[Path | Traversable], features: Collection[str] = ()) -> list[tree.PackageNode]:
    """Read the same files as ``load`` without resolving them."""
    nodes: list[tree.PackageNode] = []
    folders: dict[str, list[Source]] = {}
    for folder, source in _sources(paths):
        folders.setdefault(folder, []).append(source)
    for sources in folders.values():
        earlier = {package_key(node) for node in nodes}
        nodes += [node for node in _folder(sources, features) if not have_package(earlier, package_key(node))]
    return nodes


def have_package(packages: Iterable[Key], wanted: Key) -> bool:
    """Return whether the packages include one with a compatible version."""
    return any(name == wanted[0] and compatible(wanted[1], version) for name, version in packages)


def parse(text: str, name: str = "input.wit", features: Collection[str] = ()) -> Wit:
    """Resolve a self-contained WIT text. ``name`` is its name in errors. Raises WitError."""
    return Resolver(_folder([Source(name, text)], features)).wit()


def _sources(paths: Iterable[Path | Traversable]) -> Iterator[tuple[str, Source]]:
    """Yield each text with its folder."""
    for path in paths:
        if path.is_dir():
            yield from _sources_of_folder(path, [MAX_ENTRIES])
        else:
            yield str(getattr(path, "parent", "")), _read(path)


def _sources_of_folder(path: Path | Traversable, left: list[int]) -> Iterator[tuple[str, Source]]:
    """Yield the texts of a folder. ``left`` is the number of entries that it and its subfolders may still have."""
    entries = sorted(islice(path.iterdir(), left[0] + 1), key=lambda entry: entry.name)
    left[0] -= len(entries)
    if left[0] < 0:
        raise OSError(errno.E2BIG, f"it has more than {MAX_ENTRIES} entries: name a folder with WIT alone", str(path))
    folders = [entry for entry in entries if entry.is_dir()]
    for entry in entries:
        if entry.name.endswith(".wit") and entry.is_file():
            yield str(path), _read(entry)
    for folder in folders:
        yield from _sources_of_folder(folder, left)


def _read(path: Path | Traversable) -> Source:
    content = read_file(path, MAX_TEXT) if isinstance(path, Path) else path.read_bytes()
    try:
        return Source(str(path), content.decode("utf-8"))
    except UnicodeDecodeError as error:
        before = Source(str(path), content[: error.start].decode("utf-8"))
        raise before.error(len(before.text), "the text is not UTF-8") from None


def _folder(sources: list[Source], features: Collection[str]) -> list[tree.PackageNode]:
    """Parse the files of one folder, and give files without a package name that of the other files."""
    nodes = [node for source in sources for node in parse_file(source, features)]
    named = {(node.name.text, node.version): node for node in nodes if node.is_file and node.name is not None}
    for node in nodes:
        if node.name is not None:
            continue
        if len(named) == 1:
            (other,) = named.values()
            node.name, node.version = other.name, other.version
        elif node.aliases or node.interfaces or node.worlds:
            missing = "no file has a `package` declaration" if not named else "the files declare several packages"
            raise node.source.error(0, f"this file does not name its package, and in its folder {missing}")
    return [node for node in nodes if node.name is not None]


class Resolver:
    """Resolves interfaces in the order of their dependencies."""

    def __init__(self, nodes: Iterable[tree.PackageNode]) -> None:
        self.nodes = list(nodes)
        #: For each package and short name: the interface and its file.
        self.interfaces: dict[Key, dict[str, tuple[tree.InterfaceNode, tree.PackageNode]]] = {}
        self.worlds: dict[Key, dict[str, tree.WorldNode]] = {}
        self.done: dict[tuple[Key, str], Interface] = {}
        self.active: set[tuple[Key, str]] = set()
        self.origins: dict[ResourceType, tuple[str, str]] = {}
        for node in self.nodes:
            interfaces = self.interfaces.setdefault(package_key(node), {})
            worlds = self.worlds.setdefault(package_key(node), {})
            for interface in node.interfaces:
                self.unique(node, interface.name)
                interfaces[interface.name.text] = (interface, node)
            for world in node.worlds:
                self.unique(node, world.name)
                worlds[world.name.text] = world

    def unique(self, node: tree.PackageNode, name: tree.Name) -> None:
        if name.text in self.interfaces[package_key(node)] or name.text in self.worlds[package_key(node)]:
            raise node.source.error(name.at, f"the package has two `{name.text}`")

    def wit(self) -> Wit:
        packages = {key: Package(*key) for key in self.interfaces}
        for key, interfaces in self.interfaces.items():
            for name, (interface, node) in interfaces.items():
                packages[key].interfaces[name] = self.interface(key, name, node, interface.name.at)
        for node in self.nodes:
            for world in node.worlds:
                packages[package_key(node)].worlds[world.name.text] = self.world(world, node)
        return Wit(packages.values(), self.origins)

    def world(self, world: tree.WorldNode, node: tree.PackageNode) -> World:
        package, version = package_key(node)

        name = f"{package}/{world.name.text}"
        for side in (world.imports, world.exports):
            # Resolved only to find errors, because the functions under plain names are not used.
            functions = [item for item in side if isinstance(item, tree.FunctionNode)]
            own = tree.InterfaceNode(world.name, world.own.uses, world.own.types, [*world.own.functions, *functions])
            for inner in (own, *(item for item in side if isinstance(item, tree.InterfaceNode))):
                _Scope(self, node, inner, name).interface(None)

        def named(items: Iterable[tree.Extern]) -> tuple[str, ...]:
            return tuple(
                self.full_name(item, node, of_worlds=False) if isinstance(item, tree.Path) else item.name.text
                for item in items
            )

        includes = tuple(self.full_name(path, node, of_worlds=True) for path in world.includes)
        return World(name, version, named(world.imports), named(world.exports), includes)

    def full_name(self, path: tree.Path, node: tree.PackageNode, of_worlds: bool) -> str:
        (package, version), name = self.find(path, node, self.worlds if of_worlds else self.interfaces)
        return versioned(f"{package}/{name}", version)

    def find(self, path: tree.Path, node: tree.PackageNode, items: Mapping[Key, Collection[str]]) -> tuple[Key, str]:
        """Resolve a path in a file to an entry of ``items``, which are the packages' interfaces or worlds."""
        if path.package is None:
            for alias, target in node.aliases:
                if alias.text == path.name:
                    path = target
                    break
        if path.package is None:
            key: Key | None = package_key(node)
        else:
            known = [key for key in self.interfaces if key[0] == path.package]
            exact = [key for key in known if key[1] == path.version]
            near = [key for key in known if path.version is None or compatible(path.version, key[1])]
            key = (*exact, *near, None)[0]
        if key is None:
            raise node.source.error(path.at, f"unknown package {versioned(path.package or '', path.version)}")
        if path.name not in items[key]:
            what = "world" if items is self.worlds else "interface"
            raise node.source.error(path.at, f"unknown {what} `{path.name}` in the package {versioned(*key)}")
        return key, path.name

    def used(self, path: tree.Path, node: tree.PackageNode) -> Interface:
        key, name = self.find(path, node, self.interfaces)
        return self.interface(key, name, node, path.at)

    def interface(self, key: Key, name: str, node: tree.PackageNode, at: int) -> Interface:
        """Return the interface of this name. ``node`` and ``at`` locate the reference to it."""
        found = self.done.get((key, name))
        if found is not None:
            return found
        if (key, name) in self.active:
            raise node.source.error(at, f"the interface `{name}` uses itself, directly or through others")
        if len(self.active) > MAX_DEPTH:
            raise node.source.error(at, f"interfaces use each other more than {MAX_DEPTH} levels deep")
        self.active.add((key, name))
        interface, home = self.interfaces[key][name]
        found = _Scope(self, home, interface, f"{key[0]}/{name}").interface(key[1])
        self.active.remove((key, name))
        self.done[key, name] = found
        return found


def package_key(node: tree.PackageNode) -> Key:
    """Return the name and version of a node's package."""
    assert node.name is not None
    return node.name.text, node.version


class _Scope:
    """The names of one interface. They are resolved at their first use, because WIT allows any order."""

    def __init__(self, resolver: Resolver, node: tree.PackageNode, interface: tree.InterfaceNode, name: str) -> None:
        self.resolver = resolver
        self.node = node
        self.tree = interface
        self.name = name
        self.error = node.source.error
        self.types: dict[str, ValType | ResourceType] = {}
        self.pending: dict[str, tree.TypeNode | None] = {}
        self.depth = 0

    def interface(self, version: str | None) -> Interface:
        taken: set[str] = set()
        for use in self.tree.uses:
            used = self.resolver.used(use.path, self.node)
            for there, here in use.names:
                if there.text not in used.types:
                    raise self.error(there.at, f"unknown type `{there.text}` in {used.name}")
                self.take(taken, here.text, here)
                self.types[here.text] = used.types[there.text]
        for name, definition in self.tree.types:
            self.take(taken, name.text, name)
            self.pending[name.text] = definition
        for name, _ in self.tree.types:
            self.named(name.text, name.at)
        functions: dict[str, FuncType] = {}
        for function in self.tree.functions:
            owner = "" if function.resource is None else f"{function.resource}."
            self.take(taken, owner + function.name.text, function.name)
            functions[_binary_name(function)] = self.function(function)
        return Interface(self.name, version, functions, self.types)

    def take(self, taken: set[str], full_name: str, name: tree.Name) -> None:
        if full_name.lower() in taken:
            raise self.error(name.at, f"`{name.text or 'constructor'}` is defined twice")
        taken.add(full_name.lower())

    def named(self, name: str, at: int) -> ValType | ResourceType:
        found = self.types.get(name)
        if found is not None:
            return found
        if name not in self.pending:
            active = name in {defined.text for defined, _ in self.tree.types}
            raise self.error(at, f"the type `{name}` contains itself" if active else f"unknown type `{name}`")
        definition = self.pending.pop(name)
        if definition is None:
            found = ResourceType(name)
            self.resolver.origins[found] = (self.name, name)
        elif isinstance(definition, tree.NamedType):
            self.deeper(at)
            found = self.named(definition.name, definition.at)
            self.depth -= 1
        else:
            found = self.value(definition)
        self.types[name] = found
        return found

    def deeper(self, at: int) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(at, f"types are nested deeper than {MAX_DEPTH}")

    def value(self, node: tree.TypeNode) -> ValType:
        self.deeper(node.at)
        found = self.spelled(node)
        self.depth -= 1
        return found

    def spelled(self, node: tree.TypeNode) -> ValType:
        match node:
            case tree.NamedType(name, at):
                found = self.named(name, at)
                return t.Own(found) if isinstance(found, ResourceType) else found
            case tree.TypeBody(form, members):
                return self.body(form, members)
            case tree.TypeForm("own" | "borrow" as form, (tree.NamedType(name, at),)):
                resource = self.named(name, at)
                if not isinstance(resource, ResourceType):
                    raise self.error(at, f"`{name}` is not a resource")
                return t.Own(resource) if form == "own" else t.Borrow(resource)
            case tree.TypeForm("own" | "borrow" as form):
                raise self.error(node.at, f"`{form}` requires the name of a resource")
        primitive = PRIMITIVES.get(node.form)
        if primitive is not None:
            return primitive
        args = [None if arg is None else self.value(arg) for arg in node.args]
        match node.form, args:
            case "list", [element] if element is not None:
                return t.List(element, node.length)
            case "option", [inner] if inner is not None:
                return t.Option(inner)
            case "result", [ok, err]:
                return t.Result(ok, err)
            case "map", [key, value] if key is not None and value is not None:
                if key not in _MAP_KEYS:
                    raise self.error(node.at, f"{render(key)} cannot be the type of a map's keys")
                return t.Map(key, value)
            case "stream", [element]:
                return t.Stream(element)
            case "future", [element]:
                return t.Future(element)
        assert node.form == "tuple"
        return t.Tuple(tuple(arg for arg in args if arg is not None))

    def body(self, form: str, members: tuple[tuple[tree.Name, tree.TypeNode | None], ...]) -> ValType:
        names = tuple(name.text for name, _ in members)
        if form == "enum":
            return t.Enum(names)
        if form == "flags":
            return t.Flags(names)
        types = [None if of is None else self.value(of) for _, of in members]
        if form == "variant":
            return t.Variant(tuple(zip(names, types, strict=True)))
        return t.Record(tuple((name, of) for name, of in zip(names, types, strict=True) if of is not None))

    def function(self, function: tree.FunctionNode) -> FuncType:
        params = [(name.text, self.value(of)) for name, of in function.params]
        result = None if function.result is None else self.value(function.result)
        if function.resource is not None:
            resource = self.types[function.resource]
            assert isinstance(resource, ResourceType)
            if function.kind is FunctionKind.METHOD:
                params.insert(0, ("self", t.Borrow(resource)))
            elif function.kind is FunctionKind.CONSTRUCTOR:
                result = self.constructed(function, result, t.Own(resource))
        if t.contains(result, t.Borrow):
            raise self.error(function.name.at, "a function cannot return a borrowed handle")
        return FuncType(tuple(params), result, function.is_async)

    def constructed(self, function: tree.FunctionNode, result: ValType | None, own: t.Own) -> ValType:
        if result is None:
            return own
        if not isinstance(result, t.Result) or result.ok != own:
            name = own.resource.name
            raise self.error(function.name.at, f"`{name}`'s constructor must return nothing or result<{name}, ...>")
        return result


def _binary_name(function: tree.FunctionNode) -> str:
    if function.kind is FunctionKind.FREE:
        return function.name.text
    name = f".{function.name.text}" if function.name.text else ""
    return f"[{function.kind.value}]{function.resource}{name}"
