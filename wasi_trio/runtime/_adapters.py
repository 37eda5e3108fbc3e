"""Generates core modules through which an import can wait without a Python frame on the fiber.

For each such import with the signature ``params -> results``::

    (func (export "N") (param ...) (result ...)
      (call $startN (local.get 0) ...)      ;; -> results, pending
      (if (param results) (result results)
        (then drop the results
              (call $suspend)                ;; leaves the fiber until the driver has waited
              (call $finishN))))             ;; -> results

``start`` and ``finish`` are ordinary host functions. See docs/architecture.md.

An adapter also exports functions that never wait, unchanged, if the component uses them where a function of the store
is required: a built-in may be lifted itself, or be a destructor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wasi_trio.component._wasm import name, section, signed, unsigned

_CORE = {"i32": 0x7F, "i64": 0x7E, "f32": 0x7D, "f64": 0x7C}
#: The parameters and results of a function, and whether it may wait.
Signature = tuple[tuple[str, ...], tuple[str, ...], bool]


def adapter_module(signatures: Mapping[int, Signature]) -> bytes:
    """Return a core module that exports one function for each signature, in order, with its number as the name.

    The module imports ``"" "suspend"``. For number N it imports ``"" "startN"`` and, if the function may wait,
    ``"" "finishN"``.
    """
    types: list[bytes] = []

    def type_index(params: Sequence[str], results: Sequence[str]) -> int:
        encoded = b"\x60" + _vector([bytes([_CORE[p]]) for p in params]) + _vector([bytes([_CORE[r]]) for r in results])
        if encoded not in types:
            types.append(encoded)
        return types.index(encoded)

    def imported(field: str, type_: int) -> bytes:
        return name("") + name(field) + b"\x00" + unsigned(type_)

    imports = [imported("suspend", type_index((), ()))]
    functions: list[bytes] = []
    exports: list[bytes] = []
    bodies: list[bytes] = []
    first_defined = 1 + sum(2 if waits else 1 for _, _, waits in signatures.values())
    for number, (params, results, waits) in signatures.items():
        start, finish = len(imports), len(imports) + 1
        if not waits:
            imports.append(imported(f"start{number}", type_index(params, results)))
            exports.append(name(str(number)) + b"\x00" + unsigned(start))
            continue
        imports.append(imported(f"start{number}", type_index(params, (*results, "i32"))))
        imports.append(imported(f"finish{number}", type_index((), results)))
        exports.append(name(str(number)) + b"\x00" + unsigned(first_defined + len(functions)))
        functions.append(unsigned(type_index(params, results)))
        code = b"".join(b"\x20" + unsigned(i) for i in range(len(params)))
        code += b"\x10" + unsigned(start)
        code += b"\x04" + signed(type_index(results, results))
        code += b"\x1a" * len(results) + b"\x10\x00" + b"\x10" + unsigned(finish)
        code += b"\x05" if results else b""
        code += b"\x0b\x0b"
        body = b"\x00" + code
        bodies.append(unsigned(len(body)) + body)
    return b"\0asm\1\0\0\0" + b"".join(
        section(number, content)
        for number, content in (
            (1, _vector(types)),
            (2, _vector(imports)),
            (3, _vector(functions)),
            (7, _vector(exports)),
            (10, _vector(bodies)),
        )
    )


def _vector(items: Sequence[bytes]) -> bytes:
    return unsigned(len(items)) + b"".join(items)
