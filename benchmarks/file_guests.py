"""Commands that write, read and list files, and print the durations by their own clock.

So measurements exclude the start of the process. The guest for 0.2 reads and writes at offsets, as C libraries do. The
guest for 0.3 uses streams.
"""

from __future__ import annotations

import functools

import wasmtime

from tests.guests.forward import Declarations, export_name
from wasi_trio.component import abi

#: bytes of one write and one read
PIECE = 64 << 10
#: size of the output: the nanoseconds of writing, of reading, and of the small files, eight bytes each
PRINTED = 24

_FUNCTIONS = {
    "p2": {
        "wasi:io/streams": ["[method]output-stream.blocking-write-and-flush"],
        "wasi:clocks/monotonic-clock": ["now"],
        "wasi:cli/stdout": ["get-stdout"],
        "wasi:filesystem/types": [f"[method]descriptor.{name}" for name in ("open-at", "stat", "read", "write")],
        "wasi:filesystem/preopens": ["get-directories"],
    },
    "p3": {
        "wasi:cli/types": [],
        "wasi:clocks/monotonic-clock": ["now"],
        "wasi:cli/stdout": ["write-via-stream"],
        "wasi:filesystem/types": [
            f"[method]descriptor.{name}" for name in ("open-at", "stat", "read-via-stream", "write-via-stream")
        ],
        "wasi:filesystem/preopens": ["get-directories"],
    },
}

#: constants and helpers of both guests: results at 0x100, output at 0x200, names at 0x300
_COMMON = """
    (data (i32.const 0x300) "large")
    (data (i32.const 0x310) "small/00000")
    (global $root (mut i32) (i32.const 0))
    (func $check (if (i32.load8_u (i32.const 0x100)) (then unreachable)))
    (func $open (param $name i32) (param $length i32) (param $how i32) (param $flags i32) (result i32)
      (call $descriptor-open-at (global.get $root) (i32.const 1) (local.get $name) (local.get $length)
        (local.get $how) (local.get $flags) (i32.const 0x100))
      (call $check)
      (i32.load (i32.const 0x104)))
    (func $stamp (param $at i32) (i64.store (local.get $at) (i64.sub (call $now) (i64.load (local.get $at)))))
    (func $begin (param $at i32) (i64.store (local.get $at) (call $now)))
    (func $name (param $number i32) (local $digit i32)
      (local.set $digit (i32.const 5))
      (loop $next
        (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
        (i32.store8 offset=0x316 (local.get $digit)
          (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
        (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
        (br_if $next (local.get $digit))))
    (func $small (local $number i32) (local $file i32)
      (loop $next
        (call $name (local.get $number))
        (local.set $file (call $open (i32.const 0x310) (i32.const 11) (i32.const 0) (i32.const 1)))
        (call $descriptor-stat (local.get $file) (i32.const 0x100))
        (call $check)
        (call $read-small (local.get $file))
        (call $drop-descriptor (local.get $file))
        (local.set $number (i32.add (local.get $number) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $number) (i32.const FILES)))))
    (func (export "run") (result i32)
      (call $setup)
      (call $get-directories (i32.const 0x100))
      (global.set $root (i32.load (i32.load (i32.const 0x100))))
      (call $begin (i32.const 0x200))
      (call $write-large (call $open (i32.const 0x300) (i32.const 5) (i32.const 9) (i32.const 3)))
      (call $stamp (i32.const 0x200))
      (call $begin (i32.const 0x208))
      (call $read-large (call $open (i32.const 0x300) (i32.const 5) (i32.const 0) (i32.const 1)))
      (call $stamp (i32.const 0x208))
      (call $begin (i32.const 0x210))
      (call $small)
      (call $stamp (i32.const 0x210))
      (call $print)
      (i32.const 0))
"""

_P2 = """
    (func $setup)
    (func $write-large (param $file i32) (local $offset i64)
      (loop $next
        (call $descriptor-write (local.get $file) (i32.const 0x10000) (i32.const PIECE) (local.get $offset)
          (i32.const 0x100))
        (call $check)
        (local.set $offset (i64.add (local.get $offset) (i64.load (i32.const 0x108))))
        (br_if $next (i64.lt_u (local.get $offset) (i64.const SIZE))))
      (call $drop-descriptor (local.get $file)))
    (func $read-large (param $file i32) (local $offset i64)
      (loop $next
        (global.set $heap (i32.const 0x200000))
        (call $descriptor-read (local.get $file) (i64.const PIECE) (local.get $offset) (i32.const 0x100))
        (call $check)
        (local.set $offset (i64.add (local.get $offset) (i64.extend_i32_u (i32.load (i32.const 0x108)))))
        (br_if $next (i32.load (i32.const 0x108))))
      (if (i64.ne (local.get $offset) (i64.const SIZE)) (then unreachable))
      (call $drop-descriptor (local.get $file)))
    (func $read-small (param $file i32)
      (global.set $heap (i32.const 0x200000))
      (call $descriptor-read (local.get $file) (i64.const 4096) (i64.const 0) (i32.const 0x100))
      (call $check)
      (if (i32.eqz (i32.load (i32.const 0x108))) (then unreachable)))
    (func $print
      (call $output-stream-blocking-write-and-flush (call $get-stdout) (i32.const 0x200) (i32.const 24)
        (i32.const 0x100))
      (call $check))
"""

_P3 = """
    (global $set (mut i32) (i32.const 0))
    (func $setup (global.set $set (call $set.new)))
    (func $settled (param $end i32) (param $code i32) (result i32)
      (if (i32.ne (local.get $code) (i32.const -1)) (then (return (local.get $code))))
      (call $join (local.get $end) (global.get $set))
      (drop (call $set.wait (global.get $set) (i32.const 0x180)))
      (call $join (local.get $end) (i32.const 0))
      (i32.load (i32.const 0x184)))
    (func $write-stream (param $end i32) (param $at i32) (param $length i32)
      (drop (call $settled (local.get $end)
        (call $stream.write (local.get $end) (local.get $at) (local.get $length)))))
    (func $write-large (param $file i32) (local $ends i64) (local $out i32) (local $outcome i32) (local $left i32)
      (local.set $ends (call $stream.new))
      (local.set $out (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
      (local.set $outcome
        (call $descriptor-write-via-stream (local.get $file) (i32.wrap_i64 (local.get $ends)) (i64.const 0)))
      (local.set $left (i32.const PIECES))
      (loop $next
        (call $write-stream (local.get $out) (i32.const 0x10000) (i32.const PIECE))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $next (local.get $left)))
      (call $stream.end (local.get $out))
      (drop (call $settled (local.get $outcome) (call $outcome.read (local.get $outcome) (i32.const 0x100))))
      (call $check)
      (call $outcome.drop (local.get $outcome))
      (call $drop-descriptor (local.get $file)))
    (func $read-all (param $file i32) (result i32)
      (local $in i32) (local $outcome i32) (local $code i32) (local $size i32)
      (call $descriptor-read-via-stream (local.get $file) (i64.const 0) (i32.const 0x100))
      (local.set $in (i32.load (i32.const 0x100)))
      (local.set $outcome (i32.load (i32.const 0x104)))
      (loop $next
        (local.set $code (call $settled (local.get $in)
          (call $stream.read (local.get $in) (i32.const 0x10000) (i32.const PIECE))))
        (local.set $size (i32.add (local.get $size) (i32.shr_u (local.get $code) (i32.const 4))))
        (br_if $next (i32.eqz (i32.and (local.get $code) (i32.const 15)))))
      (call $stream.drop (local.get $in))
      (drop (call $settled (local.get $outcome) (call $outcome.read (local.get $outcome) (i32.const 0x100))))
      (call $check)
      (call $outcome.drop (local.get $outcome))
      (local.get $size))
    (func $read-large (param $file i32)
      (if (i32.ne (call $read-all (local.get $file)) (i32.const SIZE)) (then unreachable))
      (call $drop-descriptor (local.get $file)))
    (func $read-small (param $file i32)
      (if (i32.eqz (call $read-all (local.get $file))) (then unreachable)))
    (func $print (local $ends i64) (local $out i32) (local $outcome i32)
      (local.set $ends (call $stream.new))
      (local.set $out (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
      (local.set $outcome (call $write-via-stream (i32.wrap_i64 (local.get $ends))))
      (call $write-stream (local.get $out) (i32.const 0x200) (i32.const 24))
      (call $stream.end (local.get $out))
      (drop (call $settled (local.get $outcome) (call $printed.read (local.get $outcome) (i32.const 0x100)))))
"""

_MEMORY = """
(core module $Memory
  (memory (export "memory") 64)
  (global $heap (export "heap") (mut i32) (i32.const 0x200000))
  (func (export "realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                            (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at)))
(core instance $memory (instantiate $Memory))
(alias core export $memory "memory" (core memory $mem))
(alias core export $memory "realloc" (core func $realloc))"""

#: built-ins of the guest of 0.3: names, definitions, parameters, and whether they have a result (i64 for stream.new)
_BUILTINS = (
    ("set.new", "waitable-set.new", 0, "i32"),
    ("set.wait", "waitable-set.wait (memory $mem)", 2, "i32"),
    ("join", "waitable.join", 2, ""),
    ("stream.new", "stream.new $bytes", 0, "i64"),
    ("stream.write", "stream.write $bytes async (memory $mem)", 3, "i32"),
    ("stream.read", "stream.read $bytes async (memory $mem)", 3, "i32"),
    ("stream.end", "stream.drop-writable $bytes", 1, ""),
    ("stream.drop", "stream.drop-readable $bytes", 1, ""),
    ("outcome.read", "future.read $outcome async (memory $mem) (realloc $realloc)", 2, "i32"),
    ("outcome.drop", "future.drop-readable $outcome", 1, ""),
    ("printed.read", "future.read $printed async (memory $mem)", 2, "i32"),
)


def described_error(text: Declarations) -> str:
    """Return the name of wasi:cli's error-code."""
    return text.names[text.wit.interface(f"wasi:cli/types@{text.version}").types["error-code"]]


@functools.cache
def file_guest(version: str, size: int, files: int) -> bytes:
    """Return a command that writes and reads ``large`` of ``size`` bytes, and opens ``files`` files in ``small``."""
    text = Declarations(version)
    imports: list[str] = []
    given: list[str] = []

    def lowered(label: str, definition: str, params: tuple[str, ...], results: tuple[str, ...]) -> None:
        text.lines.append(f"(core func ${label} {definition})")
        signature = "".join(f" (param {kind})" for kind in params) + "".join(f" (result {kind})" for kind in results)
        imports.append(f'(import "host" "{label}" (func ${label}{signature}))')
        given.append(f'(export "{label}" (func ${label}))')

    for interface, functions in _FUNCTIONS[version].items():
        text.interface(interface, functions)
    text.lines.append(_MEMORY)
    for interface, functions in _FUNCTIONS[version].items():
        described = text.wit.interface(f"{interface}@{text.version}").functions
        name = text.label(interface)
        for function in functions:
            options = "(memory $mem) (realloc $realloc)"
            params, results = abi.core_signature(described[function], "lower")
            lowered(export_name(function), f'(canon lower (func {name} "{function}") {options})', params, results)
    lowered("drop-descriptor", "(canon resource.drop $filesystem.types.descriptor)", ("i32",), ())
    if version == "p3":
        text.lines.append("(type $bytes (stream u8))")
        text.lines.append("(type $outcome (future (result (error $filesystem.types.error-code))))")
        printed = described_error(text)
        text.lines.append(f"(type $printed (future (result (error {printed}))))")
        for label, builtin, count, result in _BUILTINS:
            lowered(label, f"(canon {builtin})", ("i32",) * count, (result,) if result else ())
    code = _COMMON + (_P2 if version == "p2" else _P3)
    for name, value in (("PIECES", size // PIECE), ("PIECE", PIECE), ("SIZE", size), ("FILES", files)):
        code = code.replace(name, str(value))
    body = [
        *text.lines,
        "(core module $Main",
        '(import "memory" "memory" (memory 1))',
        '(import "memory" "heap" (global $heap (mut i32)))',
        *imports,
        code + ")",
        '(core instance $main (instantiate $Main (with "memory" (instance $memory))',
        f'  (with "host" (instance {" ".join(given)}))))',
        f'(func $run {"async " if version == "p3" else ""}(result (result)) (canon lift (core func $main "run")))',
        '(instance $cli (export "run" (func $run)))',
        f'(export "wasi:cli/run@{text.version}" (instance $cli))',
    ]
    return bytes(wasmtime.wat2wasm("(component\n" + "\n".join(body) + "\n)"))
