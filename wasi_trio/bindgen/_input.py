"""The input of the generator: a component or WIT."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import wasi_trio.wasi.wit as bundled
from wasi_trio.bindgen._members import BindgenError
from wasi_trio.bindgen._world import World, elaborate
from wasi_trio.component._binary import decode
from wasi_trio.component._errors import ComponentError
from wasi_trio.component.wit import _tree as tree
from wasi_trio.component.wit._lexer import Source, WitError
from wasi_trio.component.wit._parser import parse_file
from wasi_trio.component.wit._resolution import Resolver, have_package, load_nodes, package_key
from wasi_trio.component.wit._text import write
from wasi_trio.component.wit._world import describe
from wasi_trio.wasi._loading import DEFAULT, EngineOptions, check_is_component, load_error, read_component
from wasi_trio.wasi.registry._references import file_name, is_reference
from wasi_trio.wasi.wit import FEATURES


def read_world(path: str, name: str | None = None, options: EngineOptions = DEFAULT) -> tuple[World, str]:
    """Return the world of a component, or the world ``name`` of WIT, and a title for it.

    ``path`` is the file of a component, binary or text, a WIT file, or a directory with all required WIT. Raises
    BindgenError or LoadError.
    """
    if not is_reference(path) and (os.path.isdir(path) or path.endswith(".wit")):
        return _read_wit(Path(path), name)
    if name is not None:
        raise BindgenError(f"{path} is a component, which has only one world: use --world only with WIT")
    data = read_component(path, options.compile_limits)
    check_is_component(data, path)
    try:
        component = decode(data)
        with options.open() as engine:
            engine.validate(data)
        # Written and parsed again, so that the lexer checks each name of an untrusted component.
        nodes = parse_file(Source(path, write(describe(component).packages)))
        Resolver(nodes).wit()
    except ComponentError as error:
        raise load_error(path, error) from None
    root = nodes[0]
    return elaborate(nodes, root.worlds[0], root), f"Bindings of the component {file_name(path)}."


def _read_wit(path: Path, name: str | None) -> tuple[World, str]:
    try:
        own = load_nodes([path], FEATURES)
        nodes = [*own, *_missing_wasi(own)]
        Resolver(nodes).wit()
        world, home = _choose(own, path, name)
        full = _full_name(world, home)
        return elaborate(nodes, world, home), f"Bindings of the world {full}."
    except WitError as error:
        raise BindgenError(str(error)) from None
    except OSError as error:
        raise BindgenError(f"cannot read {error.filename or path}: {error.strerror}") from None


def _missing_wasi(own: list[tree.PackageNode]) -> list[tree.PackageNode]:
    """Return the packages of WASI that the input does not contain."""
    brought = [package_key(node) for node in own]
    nodes = load_nodes([files(bundled) / "p2", files(bundled) / "p3"], FEATURES)
    return [node for node in nodes if not have_package(brought, package_key(node))]


def _choose(nodes: list[tree.PackageNode], path: Path, name: str | None) -> tuple[tree.WorldNode, tree.PackageNode]:
    worlds = [(world, node) for node in nodes for world in node.worlds]
    if not worlds:
        raise BindgenError(f"{path} has no world: define one with its imports and exports")
    if name is not None:
        found = [(world, node) for world, node in worlds if name in _names_of(world, node)]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(_full_name(*pair) for pair in (found or worlds))
        raise BindgenError(f"{path} has {'several worlds' if found else 'no world'} {name}; its worlds: {listed}")
    # Subdirectories contain other packages. The wanted world is most likely in the package around them.
    outer = [
        (world, node) for world, node in worlds if str(Path(node.source.name).parent) in (str(path), str(path.parent))
    ]
    candidates = outer or worlds
    if len(candidates) > 1:
        listed = ", ".join(_full_name(*pair) for pair in candidates)
        raise BindgenError(f"{path} has several worlds; select one with --world: {listed}")
    return candidates[0]


def _full_name(world: tree.WorldNode, node: tree.PackageNode) -> str:
    package, version = package_key(node)
    return f"{package}/{world.name.text}" + (f"@{version}" if version else "")


def _names_of(world: tree.WorldNode, node: tree.PackageNode) -> tuple[str, ...]:
    package, _ = package_key(node)
    return world.name.text, f"{package}/{world.name.text}", _full_name(world, node)
