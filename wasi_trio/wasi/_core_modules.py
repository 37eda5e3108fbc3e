"""How a component is made of a core module, which is what a user often has instead."""

from __future__ import annotations

from wasi_trio.component import _wasm as wasm
from wasi_trio.component._errors import MalformedComponent

#: how a core module begins where a component has another version (Binary.md of the component model)
PREAMBLE = b"\0asm\x01\0\0\0"
_CUSTOM, _IMPORTS, _EXPORTS = 0, 2, 7
_PREVIEW1 = "wasi_snapshot_preview1"
#: how the custom section is named in which toolchains leave a module's WIT
_COMPONENT_TYPE = "component-type"


def remedy(data: bytes) -> str:
    """What makes a component of this core module."""
    found: dict[int, bytes] = {}
    embedded = False
    try:
        for identifier, content in wasm.sections(memoryview(data)[len(PREAMBLE) :]):
            if identifier == _CUSTOM:
                size, start = wasm.read_unsigned(content, 0)
                embedded = embedded or bytes(content[start : start + size]).startswith(_COMPONENT_TYPE.encode())
            elif identifier in (_IMPORTS, _EXPORTS):
                found[identifier] = bytes(content)
    except MalformedComponent:
        return "and this one is malformed: build it again"
    if wasm.name(_PREVIEW1) in found.get(_IMPORTS, b""):
        kind = "command" if wasm.name("_start") in found.get(_EXPORTS, b"") else "reactor"
        return (
            f"it is for WASI preview 1. `wasm-tools component new --adapt {_PREVIEW1}.{kind}.wasm` makes one of it,"
            " with the adapter of that name from wasmtime's releases, and `jco new` brings one along. Or compile it for"
            " the target wasm32-wasip2"
        )
    if embedded:
        return "`wasm-tools component new` makes one of it"
    return (
        "`wasm-tools component embed` and then `wasm-tools component new` make one of it and its WIT. Toolchains such"
        " as Rust's target wasm32-wasip2, TinyGo's wasip2, componentize-py and jco build components"
    )
