"""The names of modules and functions, which backtraces and profiles show."""

from __future__ import annotations

from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._reader import Reader
from wasi_trio.component._wasm import name as encode_name
from wasi_trio.component._wasm import sections
from wasi_trio.component.merging._modules import CUSTOM, FUNC, FUNCTION, FUNCTION_NAMES, Merged, Module, read_number

#: Maximum number of characters of a module's name before the index of a function without a name.
_MAX_NAME = 100


def _subsections(module: Module) -> list[tuple[int, memoryview]]:
    """Return the subsections of the name section, or none if it is malformed."""
    for identifier, content in module.parts:
        if identifier == CUSTOM and bytes(content[:5]) == b"\x04name":
            try:
                return sections(content[5:])
            except MalformedComponent:
                return []
    return []


def module_name(module: Module) -> str:
    """Return the module's own name, or an empty string."""
    for identifier, content in _subsections(module):
        if identifier == 0:
            try:
                return Reader(bytes(content)).raw_name("module name")
            except MalformedComponent:
                return ""
    return ""


def add_names(module: Module, merged: Merged) -> None:
    """Add the names of a module's functions. An unnamed function gets its module's name and its index there."""
    functions = module.maps[FUNC]
    for index, name in _function_names(module):
        if index < len(functions):
            merged.names.setdefault(functions[index], encode_name(name))
    own = module_name(module)[:_MAX_NAME]
    prefix = f"{own}!" if own != merged.module_name[:_MAX_NAME] else ""
    content = module.content(FUNCTION)
    defined = 0 if content is None else read_number(content, 0)[0]
    for index in range(len(functions) - defined, len(functions)):
        if functions[index] not in merged.names:
            merged.names[functions[index]] = encode_name(f"{prefix}<wasm function {index}>")


def _function_names(module: Module) -> list[tuple[int, str]]:
    for identifier, content in _subsections(module):
        if identifier == FUNCTION_NAMES:
            reader = Reader(bytes(content))
            try:
                return [(reader.u32("function index"), reader.raw_name("name")) for _ in range(reader.count("names"))]
            except MalformedComponent:
                return []  # wasmtime ignores malformed names, too
    return []
