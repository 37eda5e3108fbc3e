"""Measures a component and its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._wasm import read_unsigned, sections

_PREAMBLE = 8
#: Section identifiers of components and of core modules.
_CUSTOM, _CORE_MODULE, _COMPONENT = 0, 1, 4
_FUNCTION, _CODE, _DATA = 3, 10, 11
#: The subsection with the module's name in the custom section "name".
_MODULE_NAME = 0


@dataclass(slots=True)
class ModuleSize:
    """The size in bytes of a core module, its code and its data. ``name`` comes from its toolchain, or is None."""

    size: int
    code: int = 0
    data: int = 0
    functions: int = 0
    name: str | None = None


@dataclass(frozen=True, slots=True)
class CustomSize:
    """The size in bytes of a custom section. ``module`` is the number of the core module that contains it, or None."""

    name: str
    size: int
    module: int | None


@dataclass(slots=True)
class Sizes:
    """The sizes of a component in bytes. Modules and custom sections are in order, with those of nested components."""

    size: int
    modules: list[ModuleSize] = field(default_factory=list)
    customs: list[CustomSize] = field(default_factory=list)
    #: The number of nested components at all depths.
    components: int = 0


def measure(data: bytes) -> Sizes:
    """Measure a component that decodes. Raises MalformedComponent if one of its core modules does not."""
    sizes = Sizes(len(data))
    _component(memoryview(data), sizes)
    return sizes


def _component(data: memoryview, sizes: Sizes) -> None:
    for identifier, content in sections(data[_PREAMBLE:]):
        if identifier == _CORE_MODULE:
            _module(content, sizes)
        elif identifier == _COMPONENT:
            sizes.components += 1
            _component(content, sizes)
        elif identifier == _CUSTOM:
            name, rest = _name(content)
            sizes.customs.append(CustomSize(name, len(rest), None))


def _module(data: memoryview, sizes: Sizes) -> None:
    module = ModuleSize(len(data))
    for identifier, content in sections(data[_PREAMBLE:]):
        if identifier == _CODE:
            module.code = len(content)
        elif identifier == _DATA:
            module.data = len(content)
        elif identifier == _FUNCTION:
            module.functions, _ = read_unsigned(content, 0)
        elif identifier == _CUSTOM:
            name, rest = _name(content)
            sizes.customs.append(CustomSize(name, len(rest), len(sizes.modules)))
            if name == "name":
                module.name = _module_name(rest)
    sizes.modules.append(module)


def _name(content: memoryview) -> tuple[str, memoryview]:
    """Return a name and the bytes after it."""
    length, start = read_unsigned(content, 0)
    end = start + length
    if end > len(content):
        raise MalformedComponent("a name extends past the end of its section")
    return str(content[start:end], "utf-8", "replace"), content[end:]


def _module_name(content: memoryview) -> str | None:
    """Return the module's name in the section "name". This section is unvalidated, so a malformed one yields None."""
    try:
        for identifier, subsection in sections(content):
            if identifier == _MODULE_NAME:
                return _name(subsection)[0]
    except MalformedComponent:
        pass
    return None
