"""Core types in a component, read only for their length and the number of type indices that they take.

wasmtime validates them, and this package does not need their content. (See ``core:type`` in Binary.md, and the types of
WebAssembly 3.0 that it refers to.)
"""

from __future__ import annotations

from wasi_trio.component._reader import Reader

MODULE_TYPE = 0x50
SUB, SUB_FINAL, REC = 0x50, 0x4F, 0x4E
FUNC, STRUCT, ARRAY, CONT, SHARED = 0x60, 0x5F, 0x5E, 0x5D, 0x65
PACKED_TYPES = frozenset((0x78, 0x77))
NUMBER_TYPES = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B))
ABSTRACT_HEAP_TYPES = frozenset((0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75))
REF_NULL, REF = 0x63, 0x64


def skip_core_type(reader: Reader) -> int:
    """Skip a ``core:type`` and return the number of core types it defines: one, except for a recursion group."""
    start = reader.position
    form = reader.byte("core type")
    if form == MODULE_TYPE:
        for _ in range(reader.count("module type declarations")):
            _skip_module_declaration(reader)
        return 1
    # A non-final subtype has the same code as a module type, so a zero precedes it here.
    if form == 0x00:
        start = reader.position
        form = reader.byte("core subtype")
        if form != SUB:
            raise reader.malformed(f"core subtype is {form:#04x} instead of {SUB:#04x}", start)
    reader.position = start
    return skip_rec_type(reader)


def skip_rec_type(reader: Reader) -> int:
    if reader.position < reader.end and reader.data[reader.position] == REC:
        reader.position += 1
        members = reader.count("types of a recursion group")
        for _ in range(members):
            _skip_sub_type(reader)
        return members
    _skip_sub_type(reader)
    return 1


def _skip_sub_type(reader: Reader) -> None:
    start = reader.position
    form = reader.byte("core type")
    if form in (SUB, SUB_FINAL):
        for _ in range(reader.count("supertypes")):
            reader.u32("core type index")
        start = reader.position
        form = reader.byte("core type")
    if form == SHARED:
        start = reader.position
        form = reader.byte("shared core type")
    if form == FUNC:
        for what in ("parameters", "results"):
            for _ in range(reader.count(f"core {what}")):
                _skip_value_type(reader)
    elif form == STRUCT:
        for _ in range(reader.count("struct fields")):
            _skip_field_type(reader)
    elif form == ARRAY:
        _skip_field_type(reader)
    elif form == CONT:
        reader.s33_index("continuation type")
    else:
        raise reader.malformed(f"unknown core type {form:#04x}", start)


def _skip_field_type(reader: Reader) -> None:
    if reader.position < reader.end and reader.data[reader.position] in PACKED_TYPES:
        reader.position += 1
    else:
        _skip_value_type(reader)
    reader.flag("mutability of a field")


def _skip_value_type(reader: Reader) -> None:
    start = reader.position
    code = reader.byte("core value type")
    if code in (REF_NULL, REF):
        _skip_heap_type(reader)
    elif code == SHARED:
        _skip_abstract_heap_type(reader)
    elif code not in NUMBER_TYPES and code not in ABSTRACT_HEAP_TYPES:
        raise reader.malformed(f"unknown core value type {code:#04x}", start)


def _skip_heap_type(reader: Reader) -> None:
    code = reader.data[reader.position] if reader.position < reader.end else 0
    if code & 0xC0 != 0x40:
        reader.s33_index("heap type")
        return
    if code == SHARED:
        reader.position += 1
    _skip_abstract_heap_type(reader)


def _skip_abstract_heap_type(reader: Reader) -> None:
    start = reader.position
    code = reader.byte("heap type")
    if code not in ABSTRACT_HEAP_TYPES:
        raise reader.malformed(f"unknown heap type {code:#04x}", start)


def _skip_module_declaration(reader: Reader) -> None:
    start = reader.position
    kind = reader.byte("module type declaration")
    if kind == 0x00:
        reader.raw_name("import module name")
        reader.raw_name("import name")
        skip_extern_type(reader)
    elif kind == 0x01:
        # A module type cannot contain a module type, so the subtype's code needs no zero before it here.
        if reader.position < reader.end and reader.data[reader.position] == SUB:
            skip_rec_type(reader)
        else:
            skip_core_type(reader)
    elif kind == 0x02:
        reader.expect(0x10, "sort of a core alias")
        reader.expect(0x01, "kind of a core alias")
        reader.u32("number of scopes")
        reader.u32("core type index")
    elif kind == 0x03:
        reader.raw_name("export name")
        skip_extern_type(reader)
    else:
        raise reader.malformed(f"unknown module type declaration {kind:#04x}", start)


def skip_extern_type(reader: Reader) -> None:
    start = reader.position
    kind = reader.byte("core extern type")
    if kind == 0x00:
        reader.u32("core type index")
    elif kind == 0x01:
        _skip_value_type(reader)
        skip_limits(reader)
    elif kind == 0x02:
        skip_limits(reader)
    elif kind == 0x03:
        _skip_value_type(reader)
        start = reader.position
        if reader.byte("mutability of a global") > 0x03:
            raise reader.malformed("unknown mutability of a global", start)
    elif kind == 0x04:
        reader.expect(0x00, "attribute of a tag")
        reader.u32("core type index")
    else:
        raise reader.malformed(f"unknown core extern type {kind:#04x}", start)


def memory_minimum(reader: Reader) -> int:
    """Skip a memory's type and return its minimum size in bytes."""
    minimum, page_size = skip_limits(reader)
    return minimum * page_size


def skip_limits(reader: Reader) -> tuple[int, int]:
    """Skip limits and return the minimum and the page size.

    Flags: 1 a maximum follows, 2 shared, 4 64-bit, 8 the page size follows.
    """
    start = reader.position
    flags = reader.byte("limits")
    if flags > 0x0F:
        raise reader.malformed(f"unknown limits {flags:#04x}", start)
    bits = 64 if flags & 0x04 else 32
    minimum = reader.unsigned(bits, "minimum size")
    if flags & 0x01:
        reader.unsigned(bits, "maximum size")
    return minimum, 1 << min(reader.u32("page size") if flags & 0x08 else 16, 16)
