"""Removes the code from a component for validation.

wasmtime validates a component by compiling it with all its core modules, which takes seconds for a large one. But the
core modules are compiled, and so validated, separately. It remains to check how they fit together, which depends on
their types alone. So wasmtime gets the component with a trap in place of every function body.
"""

from __future__ import annotations

from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._wasm import read_unsigned, section, sections, unsigned

_PREAMBLE = 8
#: Component sections (Binary.md, "Component Definitions").
_CUSTOM, _CORE_MODULE, _COMPONENT = 0, 1, 4
#: Core sections. The data sections are removed because only function bodies need them.
_CODE, _DATA, _DATA_COUNT = 10, 11, 12
#: Size 3, no locals, ``unreachable``, ``end``.
_TRAP = b"\x03\x00\x00\x0b"
_MAX_NESTING = 100


def skeleton(data: bytes | memoryview) -> bytes:
    """Return the component without its core modules' function bodies, data and custom sections.

    Raises MalformedComponent if the sections are inconsistent. wasmtime's validator finds all other faults.
    """
    return _component(memoryview(data), 0)


def _component(data: memoryview, depth: int) -> bytes:
    if depth > _MAX_NESTING:
        raise MalformedComponent(f"components are nested more than {_MAX_NESTING} levels deep")
    parts = [bytes(data[:_PREAMBLE])]
    for identifier, content in sections(data[_PREAMBLE:]):
        if identifier == _CORE_MODULE:
            parts.append(section(identifier, _module(content)))
        elif identifier == _COMPONENT:
            parts.append(section(identifier, _component(content, depth + 1)))
        elif identifier != _CUSTOM:
            parts.append(section(identifier, content))
    return b"".join(parts)


def _module(data: memoryview) -> bytes:
    parts = [bytes(data[:_PREAMBLE])]
    for identifier, content in sections(data[_PREAMBLE:]):
        if identifier == _CODE:
            count, start = read_unsigned(content, 0)
            if count > len(content) - start:
                raise MalformedComponent("a core module's code section declares more functions than it has bytes")
            parts.append(section(identifier, unsigned(count) + _TRAP * count))
        elif identifier not in (_CUSTOM, _DATA, _DATA_COUNT):
            parts.append(section(identifier, content))
    return b"".join(parts)
