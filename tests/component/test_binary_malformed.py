from __future__ import annotations

import functools
import re

import pytest
import wasmtime
import wasmtime.component
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.component.binaries import (
    ALL_BUILTINS,
    BASE,
    BASE_LENGTH,
    MODULE,
    PREAMBLE,
    assemble,
    component,
    section,
    types,
)
from wasi_trio.component import _definitions as d
from wasi_trio.component import _reader as reader
from wasi_trio.component._binary import decode
from wasi_trio.component._definitions import TypeIndex
from wasi_trio.component._errors import ComponentError, MalformedComponent, Unsupported

# ---- other inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the input is empty"),
        (MODULE, "core module, not a component.*wasm-tools component new"),
        (bytes(wasmtime.wat2wasm("(module (memory 1))")), "core module, not a component.*wasm-tools component new"),
        (b"(component)", "WebAssembly text"),
        (b"\n  (component\n)", "WebAssembly text"),
        (b";; a comment\n(component)", "WebAssembly text"),
        (b"(module)", "WebAssembly text"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "not WebAssembly: it starts with the bytes 7f 45 4c 46"),
        (b"x", "not WebAssembly: it starts with the bytes 78"),
        (b"\0asx", "not WebAssembly"),
        (b"\0", r"cut off after 1 bytes \(at offset 0x1\)"),
        (b"\0asm\x0d\0\x01", "cut off after 7 bytes"),
        (b"\0asm\x01\0", "cut off after 6 bytes"),
        (b"\0asm\x0c\0\x01\0", r"unknown version, 0c 00 01 00 instead of 0d 00 01 00 \(at offset 0x4\)"),
        (b"\0asm\x0d\0\x02\0abc", "unknown version, 0d 00 02 00"),
    ],
)
def test_not_a_component(data: bytes, message: str) -> None:
    with pytest.raises(MalformedComponent, match=message) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


def test_the_smallest_component() -> None:
    assert decode(PREAMBLE) == d.Component(())


# ---- malformed components --------------------------------------------------------------------------------

RESOURCE_IMPORT = section(10, b"\x01\x00\x01r\x03\x01")
FUNC_IMPORT = types(b"\x40\x00\x01\x00") + section(10, b"\x01\x00\x01f\x01\x00")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # sections
        (b"\x0d\x00", r"unknown section 13 \(at offset 0x8\)"),
        (b"\x07", r"unexpected end instead of size of type section \(at offset 0x9\)"),
        (b"\x07\x05\x00", r"type section is 5 bytes long, but only 1 are left \(at offset 0x9\)"),
        (b"\x07\x02\x00\x00", r"type section has bytes after its content \(at offset 0xb\)"),
        (b"\x07\xff\xff\xff\xff\xff\x01\x00", r"size of type section does not fit 32 bits \(at offset 0x9\)"),
        (b"\x07\xff\xff\xff\xff\x1f\x00", r"size of type section does not fit 32 bits"),
        (b"\x07\x80\x80\x80\x80\x80\x00", r"size of type section does not fit 32 bits"),
        (section(0, b"\x05abc"), "name of a custom section is 5 bytes long, but only 3 are left"),
        (section(0, b"\x01\xff"), r"name of a custom section is not valid UTF-8 \(at offset 0xb\)"),
        (section(1, b""), "core module starts with  instead of"),
        (section(1, PREAMBLE), "core module starts with 00 61 73 6d 0d 00 01 00 instead of"),
        (section(4, MODULE), "nested component starts with 00 61 73 6d 01 00 00 00 instead of"),
        (section(4, PREAMBLE[:5]) + b"\0\x01\0", "nested component starts with 00 61 73 6d 0d instead of"),
        # counts
        (section(7, b"\xff\xff\xff\xff\x0f"), "4294967295 types announced, but only 0 bytes are left"),
        (types(b"\x6f\x03\x7d\x7d"), r"3 tuple elements announced, but only 2 bytes are left \(at offset 0xc\)"),
        (section(3, b"\x01\x4e\x05\x60\x00"), "5 types of a recursion group announced"),
        # types
        (types(b"\x00"), r"unknown type 0x00 \(at offset 0xb\)"),
        (types(b"\x70\x62"), r"unknown value type 0x62 \(at offset 0xc\)"),
        (types(b"\x70"), "unexpected end instead of value type"),
        (types(b"\x70\x00"), "type index 0 is out of range; the space has 0 entries"),
        (types(b"\x70\xff\x7f"), r"value type is not a type index \(at offset 0xc\)"),
        (types(b"\x70\x80\x80\x80\x80\x80\x00"), "value type is not a type index"),
        (types(b"\x70\xff\xff\xff\xff\x1f"), "value type is not a type index"),
        (types(b"\x72\x00"), "a type without any record fields"),
        (types(b"\x71\x00"), "a type without any variant cases"),
        (types(b"\x6f\x00"), "a type without any tuple elements"),
        (types(b"\x6e\x00"), "a type without any flags"),
        (types(b"\x6e\x21" + b"\x00" * 33), "flags type with 33 flags, but the maximum is 32"),
        (types(b"\x6d\x00"), "a type without any enum cases"),
        (types(b"\x67\x7d\x00"), r"a list of fixed length 0 \(at offset 0xd\)"),
        (types(b"\x71\x01\x01a\x02\x7d\x00"), "presence of value type is 0x02 instead of 0 or 1"),
        (types(b"\x71\x01\x01a\x01\x7d\x01"), "end of a variant case is 0x01 instead of 0x00"),
        (types(b"\x6a\x03"), "presence of value type is 0x03"),
        (types(b"\x69\x00"), "type index 0 is out of range"),
        (types(b"\x40\x00\x02"), "kind of results is 0x02"),
        (types(b"\x3f\x7d\x00"), "representation of a resource is 0x7d"),
        (types(b"\x3f\x7f\x01\x00"), "core func index 0 is out of range"),
        (types(b"\x42\x01\x03\x00\x01r\x03\x01"), r"unknown type declaration 0x03 \(at offset 0xd\)"),
        (types(b"\x41\x01\x05"), "unknown type declaration 0x05"),
        (types(b"\x42\x01\x01\x3f\x7f\x00"), "a resource is defined in a type"),
        (types(b"\x7d", b"\x42\x01\x01\x70\x00"), "type index 0 is out of range; the space has 0 entries"),
        # core types
        (section(3, b"\x01\x61"), "unknown core type 0x61"),
        (section(3, b"\x01\x00\x60\x00\x00"), "core subtype is 0x60 instead of 0x50"),
        (section(3, b"\x01\x60\x01\x40\x00"), "unknown core value type 0x40"),
        (section(3, b"\x01\x60\x01\x64\x40\x00"), "unknown heap type 0x40"),
        (section(3, b"\x01\x60\x01\x64\x80\x7f\x00"), "heap type is not a type index"),
        (section(3, b"\x01\x5e\x7f\x02"), "mutability of a field is 0x02"),
        (section(3, b"\x01\x50\x01\x04"), "unknown module type declaration 0x04"),
        (section(3, b"\x01\x50\x01\x03\x00\x05"), "unknown core extern type 0x05"),
        (section(3, b"\x01\x50\x01\x03\x00\x03\x7f\x04"), "unknown mutability of a global"),
        (section(3, b"\x01\x50\x01\x03\x00\x02\x10\x00"), "unknown limits 0x10"),
        (section(3, b"\x01\x50\x01\x03\x00\x02\x04" + b"\xff" * 9 + b"\x02"), "minimum size does not fit 64 bits"),
        (section(3, b"\x01\x50\x01\x03\x00\x04\x01\x00"), "attribute of a tag is 0x01"),
        (section(3, b"\x01\x50\x01\x02\x11\x01\x00\x00"), "sort of a core alias is 0x11"),
        (section(3, b"\x01\x50\x01\x01\x50\x00\x50\x00"), "unknown core type 0x50"),
        # aliases
        (section(6, b"\x01\x06\x00\x00\x00"), "unknown sort 0x06"),
        (section(6, b"\x01\x00\x05\x00\x00"), r"unknown core sort 0x05 \(at offset 0xc\)"),
        (section(6, b"\x01\x01\x03\x00\x00"), "unknown kind of alias 0x03"),
        (section(6, b"\x01\x01\x00\x00\x01a"), "instance index 0 is out of range"),
        (section(6, b"\x01\x00\x00\x00\x00\x01a"), "a core func cannot be aliased this way"),
        (section(6, b"\x01\x01\x01\x00\x01a"), "a func cannot be aliased this way"),
        (section(6, b"\x01\x01\x02\x00\x00"), "a func cannot be aliased this way"),
        (section(6, b"\x01\x03\x02\x01\x00"), "outer alias 1 scopes up, but only 0 exist"),
        (section(6, b"\x01\x03\x02\x00\x00"), "type index 0 is out of range"),
        (types(b"\x42\x01\x02\x03\x02\x01\x00"), "type index 0 is out of range; the space has 0 entries"),
        # instances
        (section(2, b"\x01\x02"), "kind of a core instance is 0x02"),
        (section(2, b"\x01\x00\x00\x00"), "core module index 0 is out of range"),
        (section(1, MODULE) + section(2, b"\x01\x00\x00\x01\x00\x11\x00"), "sort of a core argument is 0x11"),
        (section(1, MODULE) + section(2, b"\x01\x00\x00\x01\x00\x12\x00"), "core instance index 0 is out of range"),
        (section(2, b"\x01\x01\x01\x00\x11\x00"), "a core instance cannot export a core module"),
        (section(5, b"\x01\x02"), "kind of an instance is 0x02"),
        (section(5, b"\x01\x00\x00\x00"), "component index 0 is out of range"),
        (section(5, b"\x01\x01\x01\x00\x01a\x00\x00\x00"), "a core func cannot be imported or exported"),
        # names, imports and exports
        (section(10, b"\x01\x03\x01a\x03\x01"), r"unknown kind of name 0x03 \(at offset 0xb\)"),
        (section(10, b"\x01\x02\x01a\x01\x03\x00\x03\x01"), "unknown name attribute 0x03"),
        (section(10, b"\x01\x00\x7fa\x03\x01"), r"name is 127 bytes long, but only 3 are left \(at offset 0xc\)"),
        (section(10, b"\x01\x00\x02\xc3\x28\x03\x01"), "name is not valid UTF-8"),
        (section(10, b"\x01\x00\x03\xed\xa0\x80\x03\x01"), "name is not valid UTF-8"),
        (section(10, b"\x01\x00\x01a\x03\x02"), "bound of a type is 0x02"),
        (section(10, b"\x01\x00\x01a\x00\x00\x00"), "a core func cannot be imported or exported"),
        (section(10, b"\x01\x00\x01a\x00\x11\x00"), "core type index 0 is out of range"),
        (section(10, b"\x01\x00\x01a\x01\x00"), "type index 0 is out of range"),
        (section(11, b"\x01\x00\x01a\x01\x00\x00"), "func index 0 is out of range"),
        (FUNC_IMPORT + section(11, b"\x01\x00\x01a\x01\x00\x02"), "presence of type of an export is 0x02"),
        # canonical definitions
        (section(8, b"\x01\x30"), r"unknown canonical definition 0x30 \(at offset 0xb\)"),
        (section(8, b"\x01\x00\x01\x00\x00\x00"), "sort of a lift is 0x01"),
        (section(8, b"\x01\x01\x01\x00\x00"), "sort of a lower is 0x01"),
        (section(8, b"\x01\x02\x00"), "type index 0 is out of range"),
        (section(8, b"\x01\x06\x02"), "immediate is 0x02 instead of 0 or 1"),
        (section(8, b"\x01\x0a\x7d\x00"), "core value type is 0x7d instead of i32 or i64"),
        (section(8, b"\x01\x20\x00\x00"), "core memory index 0 is out of range"),
        (FUNC_IMPORT + section(8, b"\x01\x01\x00\x00\x01\x0a"), "unknown canonical option 0x0a"),
        (FUNC_IMPORT + section(8, b"\x01\x01\x00\x00\x02\x06\x06"), "canonical option 0x06 repeats"),
        (FUNC_IMPORT + section(8, b"\x01\x01\x00\x00\x02\x00\x02"), "canonical option 0x02 repeats or contradicts"),
        (FUNC_IMPORT + section(8, b"\x01\x01\x00\x00\x01\x03\x00"), "core memory index 0 is out of range"),
        (FUNC_IMPORT + section(8, b"\x01\x01\x00\x00\x01\x04\x00"), "core func index 0 is out of range"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(MalformedComponent, match=message) as caught:
        decode(component(data))
    assert re.fullmatch(r"malformed component: .* \(at offset 0x[0-9a-f]+\)", str(caught.value))


@pytest.mark.parametrize(
    "data",
    [
        types(*[b"\x7d"] * 10),
        section(0, b"\0") * 11,
        section(4, component(section(0, b"\0") * 5, types(*[b"\x7d"] * 4))),
        types(b"\x6d\x09" + b"\1a" * 9),
    ],
    ids=["definitions", "sections", "nested", "elements"],
)
def test_too_many_parts(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_PARTS", 11)
    decode(component(data))
    monkeypatch.setattr(reader, "MAX_PARTS", 10)
    with pytest.raises(MalformedComponent, match="more than 10 sections and definitions"):
        decode(component(data))


def test_offsets_in_a_nested_component_count_from_the_start_of_the_file() -> None:
    inner = component(RESOURCE_IMPORT, types(b"\x69\x05"))
    data = component(section(4, inner))
    with pytest.raises(MalformedComponent, match=rf"type index 5 .* has 1 entries \(at offset {len(data) - 1:#x}\)"):
        decode(data)


def test_a_nested_component_ends_where_its_section_ends() -> None:
    # The type section announced in the nested component would extend into the outer one.
    data = component(section(4, PREAMBLE + b"\x07\x02\x01"), b"\x7d")
    with pytest.raises(MalformedComponent, match="type section is 2 bytes long, but only 1 are left"):
        decode(data)


def test_numbers_may_be_padded() -> None:
    content = b"\x82\x80\x80\x80\x00" + b"\x7d" + b"\x70\x80\x80\x80\x80\x00"
    assert decode(component(section(7, content))).definitions == (
        d.TypeDefinition(d.PrimitiveDef("u8")),
        d.TypeDefinition(d.ListDef(TypeIndex(0))),
    )


# ---- whatever the bytes ----------------------------------------------------------------------------------


@functools.cache
def sample() -> bytes:
    """Return a component with items of every kind."""
    builtins = "\n".join(f"(canon {text} (core func))" for text, _ in ALL_BUILTINS)
    return assemble(f"""{BASE} {builtins}
        (core type (module (import "a" "b" (func (param i32 (ref null 0)))) (export "m" (memory i64 1 2))))
        (core rec (type $a (sub (struct (field (mut i8))))) (type (sub final $a (struct (field (mut i8)) (field i64)))))
        (type (variant (case "a") (case "b" (record (field "c" (list string))))))
        (type (map string (result u8 (error (flags "a" "b")))))
        (type (component
            (import "wasi:io/streams@0.2.3" (instance (export "s" (type $s (sub resource)))))
            (alias outer 1 $r0 (type))
            (export "f" (func (result (option (list u8 4)))))
        ))
        (component $c
            (import "f" (func $f (param "s" string)))
            (component (alias outer 2 $s0 (type)) (type (tuple 0 u8)))
            (export "g" (func $f))
        )
        (instance $n (instantiate $c (with "f" (func $imported))))
        (alias export $n "g" (func $g))
        (core func (canon lower (func $g) (memory (core memory $m0)) (realloc (core func $realloc)) async))
        (func $lifted (type $func)
            (canon lift (core func $g) (memory (core memory $m1)) (realloc (core func $realloc))))
        (import "x" (implements "a:b/c") (instance))
        (export "a:b/c@1.0.0" (instance $n))
        (export "lifted" (func $lifted) (func (type $func)))
    """)


def top_level_sections(data: bytes) -> set[int]:
    """Return the offsets at which a section begins or the component ends."""
    offsets, position = set(), len(PREAMBLE)
    while position < len(data):
        offsets.add(position)
        position += 1
        size = shift = 0
        while True:
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        position += size
    return offsets | {position}


def test_truncation_at_any_offset() -> None:
    data = sample()
    whole = decode(data).definitions
    between = top_level_sections(data)
    assert len(between) > 10
    for length in range(len(data)):
        if length in between:
            part = decode(data[:length]).definitions
            assert part == whole[: len(part)]
        else:
            with pytest.raises(MalformedComponent):
                decode(data[:length])


def decodes_or_says_why(data: bytes) -> None:
    try:
        result = decode(data)
    except (MalformedComponent, Unsupported) as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(result, d.Component)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(8, len(sample()) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_bytes_changed(changes: list[tuple[int, int]]) -> None:
    data = bytearray(sample())
    for position, value in changes:
        data[position] = value
    decodes_or_says_why(bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 13), st.binary(max_size=40))
def test_any_section(id_: int, content: bytes) -> None:
    decodes_or_says_why(assemble(BASE) + section(id_, content))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(ComponentError):
        decode(data)


def test_components_that_wasmtime_accepts_decode() -> None:
    data = assemble(f"""{BASE}
        (canon resource.new $r1 (core func))
        (component $c
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (export "g" (func $f)))
        (instance $n (instantiate $c))
        (core func (canon lower (func $n "g")))
        (export "n" (instance $n))
    """)
    wasmtime.component.Component(wasmtime.Engine(), data)
    assert len(decode(data).definitions) == BASE_LENGTH + 6
