"""Makes component binaries for tests, from text or section by section."""

from __future__ import annotations

import wasmtime

from wasi_trio.component import _definitions as d
from wasi_trio.component._binary import decode
from wasi_trio.component._definitions import TypeIndex
from wasi_trio.component._sorts import StringEncoding

PREAMBLE = b"\0asm\x0d\0\x01\0"
MODULE = b"\0asm\x01\0\0\0"


def assemble(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(component {text})"))


def definitions(text: str) -> tuple[d.Definition, ...]:
    return decode(assemble(text)).definitions


def section(id_: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([id_, len(content)]) + content


def component(*sections: bytes) -> bytes:
    return PREAMBLE + b"".join(sections)


def types(*content: bytes) -> bytes:
    return section(7, bytes([len(content)]) + b"".join(content))


def nested_components(depth: int) -> bytes:
    data = PREAMBLE
    for _ in range(depth):
        size = len(data)
        data = PREAMBLE + bytes([4, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + data
    return data


def nested_types(depth: int, form: int) -> bytes:
    content = bytes([form, 0])
    for _ in range(depth - 1):
        content = bytes([form, 1, 0x01]) + content
    content = b"\x01" + content
    return PREAMBLE + bytes([7, len(content) & 0x7F | 0x80, len(content) >> 7]) + content


#: Two of each item that canonical definitions refer to, so that a wrong index shows.
BASE = """
    (core module $m
        (memory (export "m") 1) (memory (export "n") 1)
        (func (export "f") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "g") (param i32)) (func (export "h") (param i32 i32 i32) (result i32) unreachable))
    (core instance $i (instantiate $m))
    (alias core export $i "m" (core memory $m0))
    (alias core export $i "n" (core memory $m1))
    (alias core export $i "f" (core func $realloc))
    (alias core export $i "g" (core func $g))
    (alias core export $i "h" (core func $h))
    (type $r0 (resource (rep i32)))
    (type $r1 (resource (rep i32)))
    (type $s0 (stream u8))
    (type $s1 (stream u8))
    (type $f0 (future u8))
    (type $f1 (future u8))
    (type $func (func (param "s" string)))
    (import "f" (func $imported (type $func)))
"""
BASE_LENGTH = 15


ALL_BUILTINS: list[tuple[str, d.CanonBuiltin]] = [
    ("resource.new $r1", d.CanonBuiltin("resource.new", type=1)),
    ("resource.drop $r1", d.CanonBuiltin("resource.drop", type=1)),
    ("resource.rep $r1", d.CanonBuiltin("resource.rep", type=1)),
    ("backpressure.inc", d.CanonBuiltin("backpressure.inc")),
    ("backpressure.dec", d.CanonBuiltin("backpressure.dec")),
    ("task.return", d.CanonBuiltin("task.return")),
    ("task.return (result u32)", d.CanonBuiltin("task.return", result="u32")),
    (
        "task.return (result $s1) (memory (core memory $m1)) string-encoding=utf16",
        d.CanonBuiltin(
            "task.return", result=TypeIndex(3), options=d.CanonOptions(encoding=StringEncoding.UTF16, memory=1)
        ),
    ),
    ("task.cancel", d.CanonBuiltin("task.cancel")),
    ("context.get i32 1", d.CanonBuiltin("context.get", core_type="i32", immediate=1)),
    ("context.set i32 0", d.CanonBuiltin("context.set", core_type="i32", immediate=0)),
    ("context.set i64 1", d.CanonBuiltin("context.set", core_type="i64", immediate=1)),
    ("subtask.cancel", d.CanonBuiltin("subtask.cancel")),
    ("subtask.cancel async", d.CanonBuiltin("subtask.cancel", flag=True)),
    ("subtask.drop", d.CanonBuiltin("subtask.drop")),
    ("error-context.drop", d.CanonBuiltin("error-context.drop")),
    (
        "error-context.new (memory (core memory $m1))",
        d.CanonBuiltin("error-context.new", options=d.CanonOptions(memory=1)),
    ),
    (
        "error-context.debug-message (memory (core memory $m1)) (realloc (core func $realloc))",
        d.CanonBuiltin("error-context.debug-message", options=d.CanonOptions(memory=1, realloc=0)),
    ),
    ("waitable-set.new", d.CanonBuiltin("waitable-set.new")),
    ("waitable-set.wait (memory (core memory $m1))", d.CanonBuiltin("waitable-set.wait", memory=1)),
    ("waitable-set.poll (memory (core memory $m1))", d.CanonBuiltin("waitable-set.poll", memory=1)),
    ("waitable-set.drop", d.CanonBuiltin("waitable-set.drop")),
    ("waitable.join", d.CanonBuiltin("waitable.join")),
    ("thread.yield", d.CanonBuiltin("thread.yield")),
    *[
        case
        for kind, variable, index in (("stream", "$s1", 3), ("future", "$f1", 5))
        for case in (
            (f"{kind}.new {variable}", d.CanonBuiltin(f"{kind}.new", type=index)),
            (
                f"{kind}.read {variable} async (memory (core memory $m1)) (realloc (core func $realloc))",
                d.CanonBuiltin(f"{kind}.read", type=index, options=d.CanonOptions(is_async=True, memory=1, realloc=0)),
            ),
            (
                f"{kind}.write {variable} (memory (core memory $m0))",
                d.CanonBuiltin(f"{kind}.write", type=index, options=d.CanonOptions(memory=0)),
            ),
            (f"{kind}.cancel-read {variable}", d.CanonBuiltin(f"{kind}.cancel-read", type=index)),
            (f"{kind}.cancel-read {variable} async", d.CanonBuiltin(f"{kind}.cancel-read", type=index, flag=True)),
            (f"{kind}.cancel-write {variable}", d.CanonBuiltin(f"{kind}.cancel-write", type=index)),
            (f"{kind}.cancel-write {variable} async", d.CanonBuiltin(f"{kind}.cancel-write", type=index, flag=True)),
            (f"{kind}.drop-readable {variable}", d.CanonBuiltin(f"{kind}.drop-readable", type=index)),
            (f"{kind}.drop-writable {variable}", d.CanonBuiltin(f"{kind}.drop-writable", type=index)),
        )
    ],
]
