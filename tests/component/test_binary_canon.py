from __future__ import annotations

import re

import pytest

from tests.component.binaries import (
    ALL_BUILTINS,
    BASE,
    BASE_LENGTH,
    assemble,
    component,
    definitions,
    section,
    types,
)
from wasi_trio.component import _definitions as d
from wasi_trio.component._binary import decode
from wasi_trio.component._errors import MalformedComponent, Unsupported
from wasi_trio.component._sorts import Sort, StringEncoding


def test_the_base_component_decodes() -> None:
    assert len(definitions(BASE)) == BASE_LENGTH


@pytest.mark.parametrize(("text", "expected"), ALL_BUILTINS, ids=[text for text, _ in ALL_BUILTINS])
def test_builtin(text: str, expected: d.CanonBuiltin) -> None:
    # The second definition shows that the first one took an index.
    text = f"{BASE} (canon {text} (core func $new)) (core instance (export '' (func $new)))".replace("'", '"')
    assert definitions(text)[BASE_LENGTH:] == (expected, d.CoreInlineInstance((("", Sort.CORE_FUNC, 3),)))


@pytest.mark.parametrize("canon", [b"\x0c\x01", b"\x20\x01\x01", b"\x21\x01\x00"])
def test_cancellable_is_refused(canon: bytes) -> None:
    """The three built-ins had that option before change #716 of the specification."""
    with pytest.raises(MalformedComponent, match="`cancellable` is 0x01 instead of 0x00"):
        decode(assemble(BASE) + section(8, b"\x01" + canon))


@pytest.mark.parametrize(
    ("opcode", "name"),
    [
        (0x07, "resource.drop async"),
        (0x08, "backpressure.set"),
        (0x26, "thread.index"),
        (0x27, "thread.new-indirect"),
        (0x28, "thread.resume-later"),
        (0x29, "thread.suspend"),
        (0x2A, "thread.suspend-then-resume"),
        (0x2B, "thread.yield-then-resume"),
        (0x2C, "thread.suspend-then-promote"),
        (0x2D, "thread.yield-then-promote"),
        (0x2E, "stream.forward"),
        (0x2F, "future.forward"),
        (0x40, "thread.spawn-ref"),
        (0x41, "thread.spawn-indirect"),
        (0x42, "thread.available-parallelism"),
    ],
)
def test_unsupported_builtins_are_named(opcode: int, name: str) -> None:
    with pytest.raises(Unsupported, match=rf"the built-in {re.escape(name)}, .* \(at offset 0xb\)$"):
        decode(component(section(8, bytes([1, opcode, 0, 0, 0]))))


def test_every_opcode_is_known_or_malformed() -> None:
    known = set()
    for opcode in range(256):
        try:
            decode(component(section(8, bytes([1, opcode]))))
        except Unsupported:
            known.add(opcode)
        except MalformedComponent as error:
            if "unknown canonical definition" not in str(error):
                known.add(opcode)
        else:
            known.add(opcode)
    assert known == {*range(0x30), 0x40, 0x41, 0x42}


@pytest.mark.parametrize(
    "text",
    [
        "thread.index",
        "thread.new-indirect 0 0",
        "thread.resume-later",
        "thread.suspend",
        "thread.suspend-then-resume",
        "thread.yield-then-resume",
        "thread.suspend-then-promote",
        "thread.yield-then-promote",
        "thread.spawn-ref 0",
        "thread.spawn-indirect 0 0",
        "stream.forward 0",
        "future.forward 0",
    ],
)
def test_unsupported_builtins_as_the_text_format_writes_them(text: str) -> None:
    with pytest.raises(Unsupported, match=f"the built-in {text.split()[0]}, "):
        definitions(f"(canon {text} (core func))")


def test_lift_and_lower() -> None:
    assert definitions(f"""{BASE}
        (func $lifted (type $func) (canon lift (core func $g) (memory (core memory $m1)) (realloc (core func $realloc))
            string-encoding=latin1+utf16 (post-return (core func $h))))
        (func (type $func) (canon lift (core func $g) async (callback (core func $h))))
        (func (type $func) (canon lift (core func $g) string-encoding=utf8))
        (core func $lowered (canon lower (func $lifted) string-encoding=utf16 (memory (core memory $m1)) async))
        (core func (canon lower (func $imported)))
        (canon resource.drop $r0 (core func $last))
        (core instance (export "" (func $lowered)) (export "l" (func $last)))
    """)[BASE_LENGTH:] == (
        d.CanonLift(1, d.CanonOptions(StringEncoding.LATIN1_UTF16, memory=1, realloc=0, post_return=2), 6),
        d.CanonLift(1, d.CanonOptions(is_async=True, callback=2), 6),
        d.CanonLift(1, d.CanonOptions(StringEncoding.UTF8), 6),
        d.CanonLower(1, d.CanonOptions(StringEncoding.UTF16, memory=1, is_async=True)),
        d.CanonLower(0, d.CanonOptions()),
        d.CanonBuiltin("resource.drop", type=0),
        d.CoreInlineInstance((("", Sort.CORE_FUNC, 3), ("l", Sort.CORE_FUNC, 5))),
    )


# ---- gated features --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ('(import "v" (value u8))', "component-level values"),
        ('(type (instance (export "v" (value u8))))', "component-level values"),
        ('(component $c) (instance (instantiate $c (with "v" (value 0))))', "component-level values"),
        ('(export "v" (value 0))', "component-level values"),
        ("(start 0)", "a component-level start function"),
        ("(type (resource (rep i64)))", "resources represented by an i64"),
        ('(import "f" (func $f)) (core func (canon lower (func $f) gc))', "garbage-collected memory"),
        ('(import "f" (func $f)) (core type (func)) (core func (canon lower (func $f) (core-type 0)))', "garbage-coll"),
    ],
)
def test_gated_feature(text: str, feature: str) -> None:
    with pytest.raises(
        Unsupported, match=rf"^the component uses .*{feature}.*not supported \(at offset 0x[0-9a-f]+\)$"
    ):
        definitions(text)


@pytest.mark.parametrize(
    ("data", "feature"),
    [
        (section(12, b"\x01\x7d\x01\x05"), "component-level values"),
        (section(9, b"\x00\x00\x00"), "start function"),
        (types(b"\x3e\x7f\x00\x00"), "asynchronous destructors"),
        (types(b"\x40\x00\x01\x01\x01a\x7d"), "named results"),
    ],
)
def test_gated_feature_in_binary(data: bytes, feature: str) -> None:
    with pytest.raises(Unsupported, match=feature):
        decode(component(data))
