"""A complete world of WIT for the bindings, with its includes and with all types that its interfaces use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from wasi_trio.component.wit import _tree as tree
from wasi_trio.component.wit._parser import MAX_DEPTH
from wasi_trio.component.wit._resolution import Key, Resolver, package_key

#: the package and the interfaces that hold, in the WIT of bindings, the definitions of the world itself
PACKAGE = "bindings:world"
ROOT = "world-itself"
ROOT_EXPORTS = "world-exports"


class Side(Enum):
    IMPORTS = "imported"
    EXPORTS = "exported"


@dataclass(eq=False)
class Member:
    """An interface on one side of a world, or the world's own definitions on that side.

    ``name`` is the name in components, and "" for the world itself. ``within`` is the name in the WIT of the bindings.
    ``node`` has its types and functions, and ``home`` is the file that resolves its names. ``used`` maps each name from
    another interface to that interface and the name there.
    """

    side: Side
    name: str
    within: str
    node: tree.InterfaceNode
    home: tree.PackageNode
    used: dict[str, tuple[Member, str]] = field(default_factory=dict)

    @property
    def is_root(self) -> bool:
        return not self.name

    def definition(self, name: str) -> tuple[Member, str, tree.TypeNode | None]:
        """Return the definition of a type name: the interface, the name there, and the definition.

        The definition of a resource is None. Aliases are not resolved.
        """
        if name in self.used:
            member, there = self.used[name]
            return member.definition(there)
        for defined, node in self.node.types:
            if defined.text == name:
                return self, name, node
        raise KeyError(name)

    def resource(self, name: str) -> tuple[Member, str] | None:
        """Return the resource that a name or alias refers to, or None."""
        member, there, node = self.definition(name)
        if node is None:
            return member, there
        return member.resource(node.name) if isinstance(node, tree.NamedType) else None


@dataclass
class World:
    """A world. ``docs`` is its documentation. Interfaces follow those that they use."""

    name: str
    docs: str
    imports: list[Member]
    exports: list[Member]

    def members(self) -> Iterator[Member]:
        yield from self.imports
        yield from self.exports


def elaborate(nodes: list[tree.PackageNode], world: tree.WorldNode, home: tree.PackageNode) -> World:
    """Return a world of resolved packages, with its includes and all interfaces that it uses."""
    return _Elaboration(nodes).world(world, home)


class _Elaboration:
    def __init__(self, nodes: list[tree.PackageNode]) -> None:
        self.resolver = Resolver(nodes)
        self.worlds = {(package_key(node), world.name.text): (world, node) for node in nodes for world in node.worlds}
        #: named interfaces, by side, package and short name
        self.known: dict[tuple[Side, Key, str], Member] = {}
        self.exported: set[tuple[Key, str]] = set()
        self.members: dict[Side, list[Member]] = {side: [] for side in Side}
        self.names: dict[Side, set[str]] = {side: set() for side in Side}
        #: the included worlds, with their renamings
        self.seen: set[tuple[int, frozenset[tuple[str, str]]]] = set()

    def world(self, world: tree.WorldNode, home: tree.PackageNode) -> World:
        root = Member(Side.IMPORTS, "", f"{PACKAGE}/{ROOT}", tree.InterfaceNode(tree.Name(ROOT, 0)), home)
        exported = Member(
            Side.EXPORTS, "", f"{PACKAGE}/{ROOT_EXPORTS}", tree.InterfaceNode(tree.Name(ROOT_EXPORTS, 0)), home
        )
        parts = list(self.included(world, home, {}, []))
        for part, node, _ in parts:
            for item in part.exports:
                if isinstance(item, tree.Path):
                    self.exported.add(self.resolver.find(item, node, self.resolver.interfaces))
        for part, node, renamed in parts:
            self.own(root, part, node)
            for item in part.imports:
                self.extern(Side.IMPORTS, root, item, node, renamed)
        if root.node.types or root.node.functions or root.used:
            self.members[Side.IMPORTS].append(root)
        for part, node, renamed in parts:
            for item in part.exports:
                self.extern(Side.EXPORTS, exported, item, node, renamed)
        if exported.node.functions:
            exported.used = {name.text: (root, name.text) for name, _ in root.node.types}
            exported.used.update({name: found for name, found in root.used.items() if name not in exported.used})
            self.members[Side.EXPORTS].append(exported)
        return World(world.name.text, world.name.docs, self.members[Side.IMPORTS], self.members[Side.EXPORTS])

    def included(
        self, world: tree.WorldNode, home: tree.PackageNode, renamed: dict[str, str], active: list[tree.WorldNode]
    ) -> Iterator[tuple[tree.WorldNode, tree.PackageNode, dict[str, str]]]:
        """Yield the included worlds and the world itself, each with the renamings of its plain names."""
        if any(world is other for other in active):
            raise home.source.error(world.name.at, f"the world `{world.name.text}` includes itself")
        if len(active) > MAX_DEPTH:
            raise home.source.error(world.name.at, f"worlds include each other deeper than {MAX_DEPTH}")
        key = (id(world), frozenset(renamed.items()))
        if key in self.seen:
            return
        self.seen.add(key)
        for path in world.includes:
            found, node = self.worlds[self.resolver.find(path, home, self.resolver.worlds)]
            names = {old.text: renamed.get(new.text, new.text) for old, new in path.renamings}
            inherited = {old: new for old, new in renamed.items() if old not in names}
            yield from self.included(found, node, {**inherited, **names}, [*active, world])
        yield world, home, renamed

    def own(self, root: Member, world: tree.WorldNode, home: tree.PackageNode) -> None:
        """Add the types that a world itself defines."""
        self.use(root, world.own, home)
        present = {name.text for name, _ in root.node.types}
        root.node.types += [item for item in world.own.types if item[0].text not in present]
        root.node.functions += [function for function in world.own.functions if function not in root.node.functions]

    def extern(
        self, side: Side, root: Member, item: tree.Extern, home: tree.PackageNode, renamed: dict[str, str]
    ) -> None:
        if isinstance(item, tree.Path):
            self.interface(side, *self.resolver.find(item, home, self.resolver.interfaces))
            return
        name = item.name._replace(text=renamed.get(item.name.text, item.name.text))
        if name.text in self.names[side]:
            return
        self.names[side].add(name.text)
        if isinstance(item, tree.FunctionNode):
            root.node.functions.append(item._replace(name=name))
            return
        node, source = item, home
        if isinstance(item, tree.NamedInterface):
            key, short = self.resolver.find(item.path, home, self.resolver.interfaces)
            node, source = self.resolver.interfaces[key][short]
            node = tree.InterfaceNode(
                name._replace(docs=name.docs or node.name.docs), node.uses, node.types, node.functions
            )
        assert isinstance(node, tree.InterfaceNode)
        member = Member(side, name.text, f"{PACKAGE}/{side.value}-{name.text}", node, source)
        self.use(member, node, source)
        self.members[side].append(member)

    def interface(self, side: Side, key: Key, short: str) -> Member:
        """Return an interface by its own name. The interfaces that it uses precede it."""
        found = self.known.get((side, key, short))
        if found is None:
            node, home = self.resolver.interfaces[key][short]
            package, version = key
            name = f"{package}/{short}" if version is None else f"{package}/{short}@{version}"
            found = self.known[side, key, short] = Member(side, name, name, node, home)
            self.use(found, node, home)
            self.members[side].append(found)
        return found

    def use(self, member: Member, node: tree.InterfaceNode, home: tree.PackageNode) -> None:
        for use in node.uses:
            key, short = self.resolver.find(use.path, home, self.resolver.interfaces)
            exported = member.side is Side.EXPORTS and (key, short) in self.exported
            source = self.interface(Side.EXPORTS if exported else Side.IMPORTS, key, short)
            for there, here in use.names:
                member.used[here.text] = (source, there.text)


# ---- the WIT of bindings ---------------------------------------------------------------------------------


def without_docs(
    members: Iterable[Member], aliases: dict[Member, list[tuple[str, tree.TypeNode]]]
) -> list[tree.PackageNode]:
    """Return packages with the interfaces of a world, without comments. ``aliases`` are additional names for types."""
    packages: dict[str, tree.PackageNode] = {}
    done: dict[str, tree.InterfaceNode] = {}
    for member in members:
        known = done.get(member.within)
        if known is None:
            package, version, short = _parts(member.within)
            full = package if version is None else f"{package}@{version}"
            if full not in packages:
                name = tree.Name(package, 0)
                packages[full] = tree.PackageNode(member.home.source, name, version, is_file=False)
            known = done[member.within] = _bare(member, short)
            packages[full].interfaces.append(known)
        present = {name.text for name, _ in known.types}
        known.types += [(tree.Name(name, 0), node) for name, node in aliases.get(member, ()) if name not in present]
    return list(packages.values())


def _parts(within: str) -> tuple[str, str | None, str]:
    path, _, version = within.partition("@")
    package, _, short = path.rpartition("/")
    return package, version or None, short


def _bare(member: Member, short: str) -> tree.InterfaceNode:
    uses = []
    for here, (source, there) in member.used.items():
        package, version, name = _parts(source.within)
        path = tree.Path(package, name, version, 0)
        uses.append(tree.Use(path, ((tree.Name(there, 0), tree.Name(here, 0)),)))
    types = [(_plain(name), _plain_type(node)) for name, node in member.node.types]
    functions = [function._replace(name=_plain(function.name)) for function in member.node.functions]
    return tree.InterfaceNode(tree.Name(short, 0), uses, types, functions)


def _plain(name: tree.Name) -> tree.Name:
    return name._replace(docs="")


def _plain_type(node: tree.TypeNode | None) -> tree.TypeNode | None:
    if isinstance(node, tree.TypeBody):
        return node._replace(members=tuple((_plain(name), of) for name, of in node.members))
    return node
