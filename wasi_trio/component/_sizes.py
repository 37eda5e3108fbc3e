"""How large a component is, part by part."""

from __future__ import annotations

from dataclasses import dataclass, field

from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._wasm import read_unsigned, sections

_PREAMBLE = 8
#: component sections, and those of core modules
_CUSTOM, _CORE_MODULE, _COMPONENT = 0, 1, 4
_FUNCTION, _CODE, _DATA = 3, 10, 11
#: in the custom section "name", the subsection with the module's own
_MODULE_NAME = 0


@dataclass(slots=True)
class ModuleSize:
    """A core module in bytes, with its code's and its data's; ``name`` is what its toolchain called it, if it did."""

    size: int
    code: int = 0
    data: int = 0
    functions: int = 0
    name: str | None = None


@dataclass(frozen=True, slots=True)
class CustomSize:
    """A custom section's content in bytes; ``module`` is the number of the core module it is in, None outside."""

    name: str
    size: int
    module: int | None


@dataclass(slots=True)
class Sizes:
    """``size`` is the whole's; modules and custom sections are in order, those of nested components among them."""

    size: int
    modules: list[ModuleSize] = field(default_factory=list)
    customs: list[CustomSize] = field(default_factory=list)
    #: nested components, however deep
    components: int = 0


def measure(data: bytes) -> Sizes:
    """The sizes in a component that decodes; raises MalformedComponent where a core module in it does not."""
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
    """A name, and what follows it."""
    length, start = read_unsigned(content, 0)
    end = start + length
    if end > len(content):
        raise MalformedComponent("a name reaches past the end of its section")
    return str(content[start:end], "utf-8", "replace"), content[end:]


def _module_name(content: memoryview) -> str | None:
    """What the section "name" calls the module. Nobody has checked what is in there, and nothing depends on it."""
    try:
        for identifier, subsection in sections(content):
            if identifier == _MODULE_NAME:
                return _name(subsection)[0]
    except MalformedComponent:
        pass
    return None
