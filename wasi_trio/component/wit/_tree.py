"""The unresolved syntax tree of a WIT text. ``at`` is always an offset into the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from wasi_trio.component._names import FunctionKind
from wasi_trio.component.wit._lexer import Source


class Name(NamedTuple):
    """The name of a definition. ``docs`` is the text of its doc comments."""

    text: str
    at: int
    docs: str = ""


class Path(NamedTuple):
    """The target of a ``use``, ``import``, ``export`` or ``include``. ``package`` is None for the same package.

    ``renamings`` are the pairs of old and new names of an ``include``.
    """

    package: str | None
    name: str
    version: str | None
    at: int
    renamings: tuple[tuple[Name, Name], ...] = ()


class NamedType(NamedTuple):
    """A reference to a type or resource that is defined elsewhere."""

    name: str
    at: int


class TypeForm(NamedTuple):
    """An anonymous type. ``form`` is a primitive's name, or a keyword such as ``list`` that takes ``args``."""

    form: str
    args: tuple[TypeNode | None, ...]
    at: int
    length: int | None = None


class TypeBody(NamedTuple):
    """The body of a record, variant, enum or flags definition. ``form`` is the keyword."""

    form: str
    members: tuple[tuple[Name, TypeNode | None], ...]
    at: int


TypeNode: TypeAlias = NamedType | TypeForm | TypeBody


class FunctionNode(NamedTuple):
    """A function. ``resource`` is the resource whose braces contain it. A constructor's name is empty."""

    kind: FunctionKind
    resource: str | None
    name: Name
    params: tuple[tuple[Name, TypeNode], ...]
    result: TypeNode | None
    is_async: bool


class Use(NamedTuple):
    """``use path.{there as here}``."""

    path: Path
    names: tuple[tuple[Name, Name], ...]


@dataclass(slots=True)
class InterfaceNode:
    """An interface. The type node of a resource is None."""

    name: Name
    uses: list[Use] = field(default_factory=list)
    types: list[tuple[Name, TypeNode | None]] = field(default_factory=list)
    functions: list[FunctionNode] = field(default_factory=list)


class NamedInterface(NamedTuple):
    """An interface under a plain name: ``name: path``."""

    name: Name
    path: Path


#: An interface's path, a function, an inline interface, or an interface under a plain name.
Extern: TypeAlias = Path | FunctionNode | InterfaceNode | NamedInterface


@dataclass(slots=True)
class WorldNode:
    """A world. ``own`` has the world's own uses and types, and the functions of its resources."""

    name: Name
    own: InterfaceNode
    imports: list[Extern] = field(default_factory=list)
    exports: list[Extern] = field(default_factory=list)
    includes: list[Path] = field(default_factory=list)


@dataclass(slots=True)
class PackageNode:
    """The part of a package in one file or ``package ... {}`` block. ``name`` is None if a file does not declare it."""

    source: Source
    name: Name | None = None
    version: str | None = None
    #: False for a block.
    is_file: bool = True
    #: Names for interfaces that are valid within this file or block.
    aliases: list[tuple[Name, Path]] = field(default_factory=list)
    interfaces: list[InterfaceNode] = field(default_factory=list)
    worlds: list[WorldNode] = field(default_factory=list)
