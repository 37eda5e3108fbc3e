"""The syntax tree of WIT: what a text says, with no name resolved. ``at`` is always an offset into the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from wasi_trio.component._names import FunctionKind
from wasi_trio.component.wit._lexer import Source


class Name(NamedTuple):
    """A name where something gets it; ``docs`` is the text of the doc comments in front of that."""

    text: str
    at: int
    docs: str = ""


class Path(NamedTuple):
    """What ``use``, ``import``, ``export`` and ``include`` point at; ``package`` is None for this very package.

    ``renamings`` are those of an ``include``, old names and new ones.
    """

    package: str | None
    name: str
    version: str | None
    at: int
    renamings: tuple[tuple[Name, Name], ...] = ()


class NamedType(NamedTuple):
    """A type or resource named here and defined elsewhere."""

    name: str
    at: int


class TypeForm(NamedTuple):
    """A type spelled out: ``form`` is a primitive's name, or ``list``, ``result``, ``borrow`` and so on with
    arguments.
    """

    form: str
    args: tuple[TypeNode | None, ...]
    at: int
    length: int | None = None


class TypeBody(NamedTuple):
    """The inside of a record, variant, enum or flags definition, which is its ``form``."""

    form: str
    members: tuple[tuple[Name, TypeNode | None], ...]
    at: int


TypeNode: TypeAlias = NamedType | TypeForm | TypeBody


class FunctionNode(NamedTuple):
    """``resource`` is the one whose braces the function stands in; a constructor has no name of its own."""

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
    """A resource's definition is None."""

    name: Name
    uses: list[Use] = field(default_factory=list)
    types: list[tuple[Name, TypeNode | None]] = field(default_factory=list)
    functions: list[FunctionNode] = field(default_factory=list)


class NamedInterface(NamedTuple):
    """``name: path``, an interface that goes by a plain name."""

    name: Name
    path: Path


#: an interface by its path, a function, an interface written out, or one that is given a name
Extern: TypeAlias = Path | FunctionNode | InterfaceNode | NamedInterface


@dataclass(slots=True)
class WorldNode:
    """``own`` has the uses and types of the world itself, and the functions of resources among those."""

    name: Name
    own: InterfaceNode
    imports: list[Extern] = field(default_factory=list)
    exports: list[Extern] = field(default_factory=list)
    includes: list[Path] = field(default_factory=list)


@dataclass(slots=True)
class PackageNode:
    """What one file, or one ``package ... {}`` block, adds to a package; ``name`` is None where a file does not say."""

    source: Source
    name: Name | None = None
    version: str | None = None
    #: False for a block
    is_file: bool = True
    #: names for interfaces that hold within this file or block
    aliases: list[tuple[Name, Path]] = field(default_factory=list)
    interfaces: list[InterfaceNode] = field(default_factory=list)
    worlds: list[WorldNode] = field(default_factory=list)
