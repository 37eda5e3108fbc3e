"""Writes a syntax tree as WIT text. This is the inverse of ``wit._parser``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from wasi_trio.component._names import FunctionKind
from wasi_trio.component._signatures import escape
from wasi_trio.component.wit._tree import (
    Extern,
    FunctionNode,
    InterfaceNode,
    Name,
    NamedType,
    PackageNode,
    Path,
    TypeBody,
    TypeForm,
    TypeNode,
    Use,
    WorldNode,
)

_label = re.compile(r"[^:/]+")


def write(packages: Iterable[PackageNode], notes: Iterable[str] = ()) -> str:
    """Return the text of a file: the part outside package blocks, followed by each block.

    ``notes`` become comments at the top. ``parse_file`` reads the text back as the same tree, except for offsets and
    the order of functions: a resource's functions are in its braces, and the others follow all types.
    """
    groups = [[f"// {' '.join(note.split())}" for note in notes]]
    for package in packages:
        if not package.is_file:
            assert package.name is not None
            head = [*_docs(package.name), f"package {_package_name(package)} {{"]
            groups.append([*head, *_indented(_items(package)), "}"])
            continue
        if package.name is not None:
            groups.append([*_docs(package.name), f"package {_package_name(package)};"])
        groups.append(_items(package))
    return "".join(f"{line}\n" for line in _separated(groups))


def _package_name(package: PackageNode) -> str:
    assert package.name is not None, "a package block has a name"
    return _versioned(_dotted(package.name.text), package.version)


def _dotted(text: str) -> str:
    """Return ``a:b/c`` with escaped keywords."""
    return _label.sub(lambda match: escape(match[0]), text)


def _versioned(name: str, version: str | None) -> str:
    return name if version is None else f"{name}@{version}"


def _path(path: Path) -> str:
    if path.package is None:
        return escape(path.name)
    return _versioned(f"{_dotted(path.package)}/{escape(path.name)}", path.version)


def _renamed(old: Name, new: Name) -> str:
    return escape(old.text) if old.text == new.text else f"{escape(old.text)} as {escape(new.text)}"


def _docs(name: Name) -> list[str]:
    """Return the doc comments of the item with this name."""
    return [f"/// {line}" if line else "///" for line in name.docs.split("\n")] if name.docs else []


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}" if line else ""


def _separated(groups: Iterable[list[str]]) -> list[str]:
    """Join groups of lines with an empty line between them. Empty groups are omitted."""
    lines: list[str] = []
    for group in groups:
        if lines and group:
            lines.append("")
        lines += group
    return lines


def _block(head: str, content: list[str]) -> list[str]:
    return [f"{head} {{", *_indented(content), "}"] if content else [f"{head} {{}}"]


def _items(package: PackageNode) -> list[str]:
    aliases = [
        f"use {_path(path)};" if alias.text == path.name else f"use {_path(path)} as {escape(alias.text)};"
        for alias, path in package.aliases
    ]
    interfaces = [
        [
            *_docs(interface.name),
            *_block(f"interface {escape(interface.name.text)}", interface_lines(interface)),
        ]
        for interface in package.interfaces
    ]
    worlds = [
        [*_docs(world.name), *_block(f"world {escape(world.name.text)}", world_lines(world))]
        for world in package.worlds
    ]
    return _separated([aliases, *worlds, *interfaces])


# ---- worlds ----------------------------------------------------------------------------------------------


def world_lines(world: WorldNode) -> list[str]:
    """Return the lines between a world's braces, without indentation."""
    includes = [_include(path) for path in world.includes]
    imports = [line for item in world.imports for line in _extern("import", item)]
    exports = [line for item in world.exports for line in _extern("export", item)]
    return _separated([includes, interface_lines(world.own), imports, exports])


def _include(path: Path) -> str:
    if not path.renamings:
        return f"include {_path(path)};"
    renamed = ", ".join(f"{escape(old.text)} as {escape(new.text)}" for old, new in path.renamings)
    return f"include {_path(path)} with {{ {renamed} }}"


def _extern(keyword: str, item: Extern) -> list[str]:
    if isinstance(item, Path):
        return [f"{keyword} {_path(item)};"]
    head = f"{keyword} {escape(item.name.text)}:"
    docs = _docs(item.name)
    if isinstance(item, FunctionNode):
        return [*docs, f"{head} {_signature(item)};"]
    if isinstance(item, InterfaceNode):
        return [*docs, *_block(f"{head} interface", interface_lines(item))]
    return [*docs, f"{head} {_path(item.path)};"]


# ---- interfaces ------------------------------------------------------------------------------------------


def interface_lines(interface: InterfaceNode) -> list[str]:
    """Return the lines between an interface's braces, without indentation."""
    groups = [[_use(use) for use in interface.uses]]
    groups += [_definition(name, node, interface) for name, node in interface.types]
    groups.append(
        [line for function in interface.functions if function.resource is None for line in _function(function)]
    )
    return _separated(groups)


def _use(use: Use) -> str:
    return f"use {_path(use.path)}.{{{', '.join(_renamed(there, here) for there, here in use.names)}}};"


def _definition(name: Name, node: TypeNode | None, interface: InterfaceNode) -> list[str]:
    docs = _docs(name)
    if node is None:
        functions = [
            line for function in interface.functions if function.resource == name.text for line in _function(function)
        ]
        head = f"resource {escape(name.text)}"
        return [*docs, *(_block(head, functions) if functions else [f"{head};"])]
    if isinstance(node, TypeBody):
        members = [line for member in node.members for line in (*_docs(member[0]), f"{_member(node.form, *member)},")]
        return [*docs, *_block(f"{node.form} {escape(name.text)}", members)]
    return [*docs, f"type {escape(name.text)} = {_type(node)};"]


def _member(form: str, name: Name, type_: TypeNode | None) -> str:
    if type_ is None:
        return escape(name.text)
    return f"{escape(name.text)}: {_type(type_)}" if form == "record" else f"{escape(name.text)}({_type(type_)})"


def _function(function: FunctionNode) -> list[str]:
    docs = _docs(function.name)
    if function.kind is FunctionKind.CONSTRUCTOR:
        return [*docs, f"constructor{_params_and_result(function)};"]
    static = "static " if function.kind is FunctionKind.STATIC else ""
    return [*docs, f"{escape(function.name.text)}: {static}{_signature(function)};"]


def _signature(function: FunctionNode) -> str:
    return f"{'async ' if function.is_async else ''}func{_params_and_result(function)}"


def _params_and_result(function: FunctionNode) -> str:
    params = ", ".join(f"{escape(name.text)}: {_type(type_)}" for name, type_ in function.params)
    return f"({params}){'' if function.result is None else f' -> {_type(function.result)}'}"


# ---- types -----------------------------------------------------------------------------------------------


def _type(node: TypeNode) -> str:
    match node:
        case NamedType(name):
            return escape(name)
        case TypeForm("result", (None, err)) if err is not None:
            return f"result<_, {_type(err)}>"
        case TypeForm(form, args, _, length):
            written = [_type(arg) for arg in args if arg is not None]
            if length is not None:
                written.append(str(length))
            return f"{form}<{', '.join(written)}>" if written else form
    raise AssertionError(f"WIT has no anonymous {node.form}")
