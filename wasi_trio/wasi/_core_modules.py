"""Advice for users who have a core module instead of a component."""

from __future__ import annotations

from wasi_trio.component import _wasm as wasm
from wasi_trio.component._errors import MalformedComponent

#: The preamble of a core module. That of a component has another version (Binary.md of the component model).
PREAMBLE = b"\0asm\x01\0\0\0"
_CUSTOM, _IMPORTS, _EXPORTS = 0, 2, 7
_PREVIEW1 = "wasi_snapshot_preview1"
#: The prefix of the custom section in which toolchains store a module's WIT.
_COMPONENT_TYPE = "component-type"


def remedy(data: bytes) -> str:
    """Return advice on how to turn this core module into a component."""
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
        return "this module is malformed: build it again"
    if wasm.name(_PREVIEW1) in found.get(_IMPORTS, b""):
        kind = "command" if wasm.name("_start") in found.get(_EXPORTS, b"") else "reactor"
        return (
            "this module is for WASI preview 1. Convert it with"
            f" `wasm-tools component new --adapt {_PREVIEW1}.{kind}.wasm`"
            " (wasmtime's releases contain the adapter) or with `jco new`, or compile it for the target wasm32-wasip2"
        )
    if embedded:
        return "convert it with `wasm-tools component new`"
    return (
        "convert it with `wasm-tools component embed`, which adds its WIT, and `wasm-tools component new`. Rust's"
        " target wasm32-wasip2, TinyGo's wasip2, componentize-py and jco build components directly"
    )
