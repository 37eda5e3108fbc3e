"""The Python names for the interfaces of a world."""

from __future__ import annotations

from wasi_trio.bindgen._names import Names
from wasi_trio.bindgen._types import BUILTINS, ORIGINS
from wasi_trio.bindgen._world import Member, Side
from wasi_trio.component._values import pascal_case, snake_case
from wasi_trio.component.wit import _tree as tree

#: names that types of WIT must not use in a module
RESERVED = {*ORIGINS, *BUILTINS, "INTERFACE", "WIT", "World", "WorldClient"}


class BindgenError(Exception):
    """Bindings cannot be generated. The message is one line."""


class MemberNames:
    """The Python names of one interface."""

    def __init__(self, member: Member, module: str) -> None:
        self.module = module
        names = Names(RESERVED)
        imported = member.side is Side.IMPORTS
        #: the classes and aliases of types
        self.types: dict[str, str] = {}
        self.cases: dict[str, list[str]] = {}
        self.any: dict[str, str] = {}
        self.resources: dict[str, str] = {}
        self.statics: dict[str, str] = {}
        for name, node in member.node.types:
            self._name(names, name.text, node, imported)
        #: the Protocol of an imported interface, or the client of an exported one
        self.interface = self._interface(names, member, imported)
        self._members(member)

    def _interface(self, names: Names, member: Member, imported: bool) -> str:
        suffix = "" if imported else "Client"
        if member.is_root:
            return f"World{suffix}"  # no type has this name
        wanted = pascal_case(member.node.name.text)
        if imported and wanted in self.types.values():
            suffix = "Interface"
        return names.new(f"{wanted}{suffix}")

    def _name(self, names: Names, name: str, node: tree.TypeNode | None, imported: bool) -> None:
        if node is None:
            self.any[name] = names.new(f"Any{pascal_case(name)}") if imported else ""
            self.resources[name] = names.new(f"{pascal_case(name)}{'Resource' if imported else ''}")
            self.statics[name] = names.new(f"{pascal_case(name)}Class")
            return
        class_ = self.types[name] = names.class_(name)
        if isinstance(node, tree.TypeBody) and node.form == "variant":
            self.cases[name] = [names.new(f"{class_}_{pascal_case(case.text)}") for case, _ in node.members]

    def _members(self, member: Member) -> None:
        """Set the names of functions and resources in the interface's object. The linker requires those of imports."""
        names = Names({"INTERFACE"} if member.side is Side.EXPORTS else None)
        self.attributes: dict[str, str] = {}
        for name, node in member.node.types:
            if node is None:
                self.attributes[f"resource {name.text}"] = names.class_(name.text)
        for function in member.node.functions:
            if function.resource is None:
                self.attributes[function.name.text] = names.function(function.name.text)
        if member.side is Side.IMPORTS:
            for key, given in self.attributes.items():
                wanted = pascal_case(key.removeprefix("resource ")) if " " in key else snake_case(key)
                if given != wanted:
                    raise BindgenError(f"{member.name or 'the world'} has two names that become {wanted} in Python")
