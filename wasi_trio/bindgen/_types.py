"""Annotations: the Python types of WIT types."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto

from wasi_trio.bindgen._world import Member
from wasi_trio.component.wit import _tree as tree


class Direction(Enum):
    """The direction of a value. Python may pass more types to a guest than it receives."""

    TO_PYTHON = auto()
    FROM_PYTHON = auto()
    #: part of a class, whose objects go in both directions
    STORED = auto()


#: the modules of imported names, by their names in annotations
ORIGINS = {
    **dict.fromkeys(("Mapping", "Sequence"), "collections.abc"),
    "AbstractSet": "collections.abc",
    "StrEnum": "enum",
    **dict.fromkeys(("Any", "NamedTuple", "Protocol", "TypeAlias"), "typing"),
    **dict.fromkeys(
        (
            *("Case", "Err", "ErrorContext", "ExportedResource", "FutureReader", "FutureWriter", "GuestResource"),
            *(
                "Imports",
                "Instance",
                "InterfaceClient",
                "Ok",
                "PlainCase",
                "Returns",
                "Some",
                "StreamReader",
                "StreamWriter",
            ),
            *("TypedInterface", "future_pair", "stream_pair"),
        ),
        "wasi_trio.bindings",
    ),
}
#: names that differ from those in their modules
RENAMED = {"AbstractSet": "Set"}
BUILTINS = frozenset(
    ("bool", "bytearray", "bytes", "dict", "float", "frozenset", "int", "list", "memoryview", "str", "tuple", "type")
)

_PRIMITIVES = {
    **dict.fromkeys(("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"), "int"),
    "bool": "bool",
    "char": "str",
    "error-context": "ErrorContext",
    "f32": "float",
    "f64": "float",
    "string": "str",
}

#: maximum characters of an alias's expansion; beyond that, the alias's name is used, because expansions multiply
_MAX_EXPANSION = 400
_WORD = re.compile(r"[A-Za-z_]\w*")


def names_in(annotation: str) -> set[str]:
    """Return the names in an annotation."""
    return set(_WORD.findall(annotation))


def rename_hidden(annotation: str, hidden: set[str]) -> str:
    """Return an annotation for a scope in which some names have other meanings: they get a leading underscore."""
    return _WORD.sub(lambda match: f"_{match[0]}" if match[0] in hidden else match[0], annotation)


class Annotations:
    """The annotations of one module.

    ``name_of`` returns the local name of a type that an interface defines. ``resource_of`` returns that of a resource,
    for the direction of a value.
    """

    def __init__(
        self,
        member: Member,
        name_of: Callable[[Member, str], str],
        resource_of: Callable[[Member, str, Direction], str],
    ) -> None:
        self._member = member
        self._name_of = name_of
        self._resource_of = resource_of
        self._aliases: dict[tuple[Member, str, Direction], str] = {}

    def of(self, node: tree.TypeNode | None, direction: Direction) -> str:
        return "None" if node is None else self._of(self._member, node, direction)

    def _of(self, member: Member, node: tree.TypeNode, direction: Direction) -> str:
        match node:
            case tree.NamedType(name):
                return self._named(member, name, direction)
            case tree.TypeForm("own" | "borrow", (tree.NamedType(name),)):
                return self._named(member, name, direction)
            case tree.TypeForm(form) if form in _PRIMITIVES:
                return _PRIMITIVES[form]
            case tree.TypeForm("list", (element,)) if element is not None:
                return self._list(member, element, direction)
            case tree.TypeForm("option", (inner,)) if inner is not None:
                if self._is_option(member, inner):
                    return "Some | None"
                return f"{self._of(member, inner, direction)} | None"
            case tree.TypeForm("result", (ok, err)):
                good, bad = (self._optional(member, part, direction) for part in (ok, err))
                return f"Ok[{good}] | Err[{bad}]"
            case tree.TypeForm("tuple", items):
                return f"tuple[{', '.join(self._optional(member, item, direction) for item in items)}]"
            case tree.TypeForm("map", (key, value)) if key is not None and value is not None:
                form = "Mapping" if direction is Direction.FROM_PYTHON else "dict"
                return f"{form}[{self._of(member, key, direction)}, {self._of(member, value, direction)}]"
            case tree.TypeForm("stream", (element,)):
                return f"StreamReader[{self.chunk(element, member)}]"
            case tree.TypeForm("future", (element,)):
                return f"FutureReader[{self._optional(member, element, Direction.STORED)}]"
        raise AssertionError(f"{node.form} has no name")

    def chunk(self, element: tree.TypeNode | None, member: Member | None = None) -> str:
        """Return the annotation of a stream's chunk of elements."""
        if element is None:
            return "int"
        if _is_u8(element):
            return "bytes"
        return f"list[{self._of(member or self._member, element, Direction.STORED)}]"

    def _optional(self, member: Member, node: tree.TypeNode | None, direction: Direction) -> str:
        return "None" if node is None else self._of(member, node, direction)

    def _list(self, member: Member, element: tree.TypeNode, direction: Direction) -> str:
        if self._is_byte(member, element):
            return "bytes | bytearray | memoryview" if direction is Direction.FROM_PYTHON else "bytes"
        form = "Sequence" if direction is Direction.FROM_PYTHON else "list"
        return f"{form}[{self._of(member, element, direction)}]"

    def _named(self, member: Member, name: str, direction: Direction) -> str:
        resource = member.resource(name)
        if resource is not None:
            return self._resource_of(*resource, direction)
        source, there, node = member.definition(name)
        if isinstance(node, tree.TypeBody):
            name = self._name_of(source, there)
            if node.form == "flags":
                return f"{'AbstractSet' if direction is Direction.FROM_PYTHON else 'frozenset'}[{name}]"
            return name
        assert node is not None, "a resource was found before"
        key = (source, there, direction)
        known = self._aliases.get(key)
        if known is None:
            known = self._aliases[key] = self._alias(source, there, node, direction)
        return known

    def _alias(self, source: Member, name: str, node: tree.TypeNode, direction: Direction) -> str:
        """Return the name of an alias, or its expansion if Python may pass more types than the name allows."""
        spelled = self._of(source, node, direction)
        if isinstance(node, tree.NamedType):
            return spelled
        if (
            len(spelled) > _MAX_EXPANSION
            or direction is Direction.STORED
            or spelled == self._of(source, node, Direction.STORED)
        ):
            return self._name_of(source, name)
        return spelled

    def _is_byte(self, member: Member, node: tree.TypeNode) -> bool:
        if isinstance(node, tree.NamedType) and member.resource(node.name) is None:
            source, _, definition = member.definition(node.name)
            return definition is not None and self._is_byte(source, definition)
        return _is_u8(node)

    def _is_option(self, member: Member, node: tree.TypeNode) -> bool:
        if isinstance(node, tree.NamedType) and member.resource(node.name) is None:
            source, _, definition = member.definition(node.name)
            return definition is not None and self._is_option(source, definition)
        return isinstance(node, tree.TypeForm) and node.form == "option"


def _is_u8(node: tree.TypeNode) -> bool:
    return isinstance(node, tree.TypeForm) and node.form == "u8"
