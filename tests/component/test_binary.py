from __future__ import annotations

import functools
import re

import pytest
import wasmtime
import wasmtime.component
from hypothesis import given, settings
from hypothesis import strategies as st

from wasi_trio.component import definitions as d
from wasi_trio.component.binary import decode
from wasi_trio.component.definitions import Sort, StringEncoding, TypeBound, TypeIndex
from wasi_trio.component.errors import ComponentError, MalformedComponent, Unsupported
from wasi_trio.component.reader import MAX_NESTING

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


# ---- types -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[
            (name, d.PrimitiveDef(name))
            for name in (
                *("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"),
                "error-context",
            )
        ],
        ('(record (field "a" u8) (field "b-c" string))', d.RecordDef((("a", "u8"), ("b-c", "string")))),
        ('(variant (case "a") (case "b" f64))', d.VariantDef((("a", None), ("b", "f64")))),
        ("(list char)", d.ListDef("char")),
        ("(list u16 300)", d.ListDef("u16", 300)),
        ("(tuple s8 u8 s16)", d.TupleDef(("s8", "u8", "s16"))),
        ('(flags "r" "w")', d.FlagsDef(("r", "w"))),
        ('(enum "red" "green")', d.EnumDef(("red", "green"))),
        ("(option bool)", d.OptionDef("bool")),
        ("(result)", d.ResultDef(None, None)),
        ("(result u8)", d.ResultDef("u8", None)),
        ("(result (error u16))", d.ResultDef(None, "u16")),
        ("(result u8 (error u16))", d.ResultDef("u8", "u16")),
        ("(map string u64)", d.MapDef("string", "u64")),
        ("(stream)", d.StreamDef(None)),
        ("(stream u8)", d.StreamDef("u8")),
        ("(future)", d.FutureDef(None)),
        ("(future string)", d.FutureDef("string")),
        ("(resource (rep i32))", d.ResourceTypeDef(None)),
        ("(func)", d.FuncTypeDef((), None, is_async=False)),
        (
            '(func (param "x" u8) (param "y" char) (result bool))',
            d.FuncTypeDef((("x", "u8"), ("y", "char")), "bool", is_async=False),
        ),
        ('(func async (param "x" u8))', d.FuncTypeDef((("x", "u8"),), None, is_async=True)),
        ("(component)", d.ComponentTypeDef(())),
        ("(instance)", d.InstanceTypeDef(())),
    ],
)
def test_type(text: str, expected: d.DefType) -> None:
    assert definitions(f"(type {text})") == (d.TypeDefinition(expected),)


def test_types_refer_to_types_by_index() -> None:
    assert definitions("""
        (type $l (list u8))
        (type $r (resource (rep i32)))
        (type (tuple $l u8))
        (type (own $r))
        (type (borrow $r))
        (type (result $l (error $l)))
        (type (map string $l))
        (type (func (param "l" $l) (result $l)))
    """)[2:] == tuple(
        d.TypeDefinition(type_)
        for type_ in (
            d.TupleDef((TypeIndex(0), "u8")),
            d.OwnDef(1),
            d.BorrowDef(1),
            d.ResultDef(TypeIndex(0), TypeIndex(0)),
            d.MapDef("string", TypeIndex(0)),
            d.FuncTypeDef((("l", TypeIndex(0)),), TypeIndex(0), is_async=False),
        )
    )


def test_type_indices_of_several_bytes() -> None:
    # 64 is the first index that a byte with the sign bit of a 33-bit number can not hold
    text = "(type u8)" * 9000 + "".join(f"(type (option {index}))" for index in (63, 64, 127, 128, 8191, 8192))
    assert [definition.type for definition in definitions(text)[9000:]] == [  # type: ignore[union-attr]
        d.OptionDef(TypeIndex(index)) for index in (63, 64, 127, 128, 8191, 8192)
    ]


def test_resource_with_a_destructor() -> None:
    assert definitions("""
        (core module $m (func (export "a")) (func (export "drop") (param i32)))
        (core instance $i (instantiate $m))
        (alias core export $i "a" (core func $a))
        (alias core export $i "drop" (core func $drop))
        (type (resource (rep i32) (dtor (core func $drop))))
    """)[-1] == d.TypeDefinition(d.ResourceTypeDef(1))


def test_instance_type() -> None:
    (type_,) = definitions("""
        (type (instance
            (core type (func))
            (type $list (list u8))
            (export "list" (type $named (eq $list)))
            (export "r" (type $r (sub resource)))
            (type $f (func (param "self" (borrow $r)) (result $named)))
            (export "[method]r.f" (func (type $f)))
            (type $inner (instance (export "q" (type (sub resource)))))
            (export "inner" (instance $i (type $inner)))
            (alias export $i "q" (type $q))
            (type (own $q))
        ))
    """)
    assert type_ == d.TypeDefinition(
        d.InstanceTypeDef(
            (
                d.CoreTypeDefinition(),
                d.TypeDefinition(d.ListDef("u8")),
                d.ExportDecl("list", d.ExternType(Sort.TYPE, 0, TypeBound.EQ)),
                d.ExportDecl("r", d.ExternType(Sort.TYPE, None, TypeBound.SUB_RESOURCE)),
                d.TypeDefinition(d.BorrowDef(2)),
                d.TypeDefinition(d.FuncTypeDef((("self", TypeIndex(3)),), TypeIndex(1), is_async=False)),
                d.ExportDecl("[method]r.f", d.ExternType(Sort.FUNC, 4)),
                d.TypeDefinition(
                    d.InstanceTypeDef((d.ExportDecl("q", d.ExternType(Sort.TYPE, None, TypeBound.SUB_RESOURCE)),))
                ),
                d.ExportDecl("inner", d.ExternType(Sort.INSTANCE, 5)),
                d.AliasExport(Sort.TYPE, 0, "q"),
                d.TypeDefinition(d.OwnDef(6)),
            )
        )
    )


def test_component_type() -> None:
    type_ = definitions("""
        (type $outside (list u8))
        (core type $module (module))
        (type (component
            (alias outer 1 $outside (type $o))
            (alias outer 1 $module (core type $m))
            (type $f (func (param "p" $o)))
            (import "f" (func (type $f)))
            (import "m" (core module (type $m)))
            (type $c (component))
            (export "c" (component (type $c)))
        ))
    """)[-1]
    assert type_ == d.TypeDefinition(
        d.ComponentTypeDef(
            (
                d.AliasOuter(Sort.TYPE, 1, 0),
                d.AliasOuter(Sort.CORE_TYPE, 1, 0),
                d.TypeDefinition(d.FuncTypeDef((("p", TypeIndex(0)),), None, is_async=False)),
                d.ImportDecl("f", d.ExternType(Sort.FUNC, 1)),
                d.ImportDecl("m", d.ExternType(Sort.CORE_MODULE, 0)),
                d.TypeDefinition(d.ComponentTypeDef(())),
                d.ExportDecl("c", d.ExternType(Sort.COMPONENT, 2)),
            )
        )
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("(core type (func))", 1),
        ("(core type (func (param i32 i64 f32 f64 v128 funcref externref) (result i32 (ref null 0) (ref func))))", 1),
        (
            "(core type (func (param anyref eqref i31ref structref arrayref nullref nullfuncref nullexternref exnref"
            " nullexnref contref nullcontref (ref 70) (ref null (shared any)) (ref (shared eq)))))",
            1,
        ),
        ("(core type (struct (field i8) (field (mut i16)) (field i64) (field (mut (ref null 0)))))", 1),
        ("(core type (array (mut i32)))", 1),
        ("(core type (cont 0))", 1),
        ("(core type (shared (func)))", 1),
        ("(core type (sub (struct)))", 1),
        ("(core type (sub final 0 (array i8)))", 1),
        ("(core rec)", 0),
        ("(core rec (type (func)))", 1),
        ("(core rec (type $a (sub (struct))) (type (sub final $a (struct))) (type (array i8)))", 3),
        ("(core type (module))", 1),
        (
            """(core type (module
                (alias outer 1 0 (type))
                (type (func (param i32)))
                (type (sub (func)))
                (rec (type (func)) (type (struct)))
                (import "env" "f" (func (type 1)))
                (import "env" "g" (global i32))
                (import "env" "h" (global (mut i64)))
                (import "env" "k" (global (shared mut f32)))
                (import "env" "m" (memory 1))
                (import "env" "n" (memory i64 1 0x1_0000_0000))
                (import "env" "o" (memory 1 2 shared))
                (import "env" "p" (memory 1 2 (pagesize 1)))
                (export "t" (table 1 funcref))
                (export "u" (table i64 1 2 (ref null extern)))
                (export "v" (tag (param i32)))
            ))""",
            1,
        ),
    ],
)
def test_core_type(text: str, count: int) -> None:
    end = d.TypeDefinition(d.PrimitiveDef("u8"))
    # a type before and after, to see that no byte too few or too many was read
    before, *core, after = definitions(f"(core type (func)) {text} (core type (func)) (type u8)")[:-1]
    assert (before, after) == (d.CoreTypeDefinition(), d.CoreTypeDefinition())
    assert core == [d.CoreTypeDefinition()] * count
    assert decode(assemble(f"{text} (type u8)")).definitions[-1] == end


def test_a_recursion_group_takes_an_index_for_each_member() -> None:
    text = "(core rec (type (func)) (type (func))) (core type $m (module)) (import 'm' (core module (type $m)))"
    assert definitions(text.replace("'", '"'))[-1] == d.Import("m", d.ExternType(Sort.CORE_MODULE, 2))


# ---- modules, components and instances -------------------------------------------------------------------


def test_a_core_module_is_a_view_of_the_input() -> None:
    data = assemble('(core module (memory (export "m") 1) (data (i32.const 0) "abc"))')
    (module,) = decode(data).definitions
    assert isinstance(module, d.CoreModule)
    assert module.code.obj is data
    assert bytes(module.code) == bytes(wasmtime.wat2wasm('(module (memory (export "m") 1) (data (i32.const 0) "abc"))'))


def test_the_inside_of_a_core_module_is_not_read() -> None:
    junk = MODULE + b"\xff" * 100
    (module,) = decode(component(section(1, junk))).definitions
    assert module == d.CoreModule(memoryview(junk))


def test_core_instances() -> None:
    assert definitions("""
        (core module $a (func (export "f")) (memory (export "m") 1) (table (export "t") 1 funcref)
            (global (export "g") i32 i32.const 0) (tag (export "e")))
        (core module $b (import "env" "f" (func)) (import "other" "f" (func)))
        (core instance $i (instantiate $a))
        (alias core export $i "f" (core func))
        (alias core export $i "m" (core memory))
        (alias core export $i "t" (core table))
        (alias core export $i "g" (core global))
        (alias core export $i "e" (core tag))
        (core instance $j (export "" (func 0)) (export "m" (memory 0)) (export "t" (table 0)) (export "g" (global 0))
            (export "e" (tag 0)))
        (core instance (instantiate $b (with "env" (instance $i)) (with "other" (instance $j))))
    """)[2:] == (
        d.CoreInstantiate(0, ()),
        d.AliasCoreExport(Sort.CORE_FUNC, 0, "f"),
        d.AliasCoreExport(Sort.CORE_MEMORY, 0, "m"),
        d.AliasCoreExport(Sort.CORE_TABLE, 0, "t"),
        d.AliasCoreExport(Sort.CORE_GLOBAL, 0, "g"),
        d.AliasCoreExport(Sort.CORE_TAG, 0, "e"),
        d.CoreInlineInstance(
            (
                ("", Sort.CORE_FUNC, 0),
                ("m", Sort.CORE_MEMORY, 0),
                ("t", Sort.CORE_TABLE, 0),
                ("g", Sort.CORE_GLOBAL, 0),
                ("e", Sort.CORE_TAG, 0),
            )
        ),
        d.CoreInstantiate(1, (("env", 0), ("other", 1))),
    )


def test_nested_components_and_their_instances() -> None:
    assert definitions("""
        (core module $m)
        (type $t (list u8))
        (component $c
            (import "f" (func $f))
            (component
                (alias outer 1 0 (type))
                (alias outer 2 $m (core module))
                (alias outer 2 $t (type))
                (alias outer 0 0 (core module))
            )
            (export "g" (func $f))
        )
        (component $d (alias outer 1 $c (component)))
        (import "f" (func $f))
        (instance $i (export "f" (func $f)) (export "t" (type $t)) (export "c" (component $c))
            (export "m" (core module $m)))
        (instance $j (instantiate $c (with "f" (func $f)) (with "more" (instance $i)) (with "t" (type $t))
            (with "m" (core module $m)) (with "c" (component $c))))
        (alias export $j "g" (func))
        (alias export $i "m" (core module))
        (alias export $i "c" (component))
    """)[2:] == (
        d.Component(
            (
                d.TypeDefinition(d.FuncTypeDef((), None, is_async=False)),
                d.Import("f", d.ExternType(Sort.FUNC, 0)),
                d.Component(
                    (
                        d.AliasOuter(Sort.TYPE, 1, 0),
                        d.AliasOuter(Sort.CORE_MODULE, 2, 0),
                        d.AliasOuter(Sort.TYPE, 2, 0),
                        d.AliasOuter(Sort.CORE_MODULE, 0, 0),
                    )
                ),
                d.Export("g", Sort.FUNC, 0, None),
            )
        ),
        d.Component((d.AliasOuter(Sort.COMPONENT, 1, 0),)),
        d.TypeDefinition(d.FuncTypeDef((), None, is_async=False)),
        d.Import("f", d.ExternType(Sort.FUNC, 1)),
        d.InlineInstance(
            (("f", Sort.FUNC, 0), ("t", Sort.TYPE, 0), ("c", Sort.COMPONENT, 0), ("m", Sort.CORE_MODULE, 0))
        ),
        d.Instantiate(
            0,
            (
                ("f", Sort.FUNC, 0),
                ("more", Sort.INSTANCE, 0),
                ("t", Sort.TYPE, 0),
                ("m", Sort.CORE_MODULE, 0),
                ("c", Sort.COMPONENT, 0),
            ),
        ),
        d.AliasExport(Sort.FUNC, 1, "g"),
        d.AliasExport(Sort.CORE_MODULE, 0, "m"),
        d.AliasExport(Sort.COMPONENT, 0, "c"),
    )


@pytest.mark.parametrize("form", [0x41, 0x42])
def test_types_nested_to_the_limit(form: int) -> None:
    decode(nested_types(MAX_NESTING, form))
    with pytest.raises(MalformedComponent, match=f"nested deeper than {MAX_NESTING}"):
        decode(nested_types(MAX_NESTING + 1, form))


def test_components_nested_to_the_limit() -> None:
    decode(nested_components(MAX_NESTING))
    with pytest.raises(MalformedComponent, match=f"nested deeper than {MAX_NESTING}"):
        decode(nested_components(MAX_NESTING + 1))
    with pytest.raises(MalformedComponent, match=f"nested deeper than {MAX_NESTING}"):
        decode(nested_components(20_000))


# ---- imports and exports ---------------------------------------------------------------------------------


def test_imports() -> None:
    assert definitions("""
        (core type $m (module))
        (type $f (func))
        (type $i (instance))
        (type $c (component))
        (import "f" (func (type $f)))
        (import "wasi:io/streams@0.2.3" (instance (type $i)))
        (import "c" (component (type $c)))
        (import "m" (core module (type $m)))
        (import "r" (type (sub resource)))
        (import "t" (type (eq $f)))
        (import "u" (func (type $f)))
    """)[4:] == (
        d.Import("f", d.ExternType(Sort.FUNC, 0)),
        d.Import("wasi:io/streams@0.2.3", d.ExternType(Sort.INSTANCE, 1)),
        d.Import("c", d.ExternType(Sort.COMPONENT, 2)),
        d.Import("m", d.ExternType(Sort.CORE_MODULE, 0)),
        d.Import("r", d.ExternType(Sort.TYPE, None, TypeBound.SUB_RESOURCE)),
        d.Import("t", d.ExternType(Sort.TYPE, 0, TypeBound.EQ)),
        d.Import("u", d.ExternType(Sort.FUNC, 0)),
    )


def test_exports_add_to_the_index_space_of_their_sort() -> None:
    assert definitions("""
        (import "f" (func $f))
        (export $g "g" (func $f))
        (export "h" (func $g))
        (export "i" (func $g) (func))
        (component $c) (export "c" (component $c))
        (instance $i) (export "n" (instance $i))
        (core module) (export "m" (core module 0))
        (type $t u8) (export $u "t" (type $t)) (type (list $u))
    """)[2:] == (
        d.Export("g", Sort.FUNC, 0, None),
        d.Export("h", Sort.FUNC, 1, None),
        d.TypeDefinition(d.FuncTypeDef((), None, is_async=False)),
        d.Export("i", Sort.FUNC, 1, d.ExternType(Sort.FUNC, 1)),
        d.Component(()),
        d.Export("c", Sort.COMPONENT, 0, None),
        d.InlineInstance(()),
        d.Export("n", Sort.INSTANCE, 0, None),
        d.CoreModule(memoryview(MODULE)),
        d.Export("m", Sort.CORE_MODULE, 0, None),
        d.TypeDefinition(d.PrimitiveDef("u8")),
        d.Export("t", Sort.TYPE, 2, None),
        d.TypeDefinition(d.ListDef(TypeIndex(3))),
    )


@pytest.mark.parametrize(
    "name",
    [
        b"\x00\x03a-b",
        b"\x01\x03a-b",
        b"\x02\x03a-b\x00",
        b"\x02\x03a-b\x01\x00\x05a:b/c",
        b"\x02\x03a-b\x03\x00\x05a:b/c\x01\x02.1\x02\x01x",
    ],
)
def test_every_form_of_name(name: bytes) -> None:
    data = component(section(10, b"\x01" + name + b"\x03\x01"), types(b"\x69\x00"))
    assert decode(data).definitions == (
        d.Import("a-b", d.ExternType(Sort.TYPE, None, TypeBound.SUB_RESOURCE)),
        d.TypeDefinition(d.OwnDef(0)),
    )


def test_attributes_that_the_text_format_writes() -> None:
    assert definitions("""
        (import "a" (implements "a:b/c") (instance))
        (import "a:b/c@0.2" (versionsuffix ".1") (instance))
        (import "b" (external-id "x") (func))
    """)[1::2] == (
        d.Import("a", d.ExternType(Sort.INSTANCE, 0)),
        d.Import("a:b/c@0.2", d.ExternType(Sort.INSTANCE, 1)),
        d.Import("b", d.ExternType(Sort.FUNC, 2)),
    )


def test_custom_sections_are_passed_over() -> None:
    data = component(section(0, b"\x04name\xff\xff"), types(b"\x7d"), section(0, b"\x00"))
    assert decode(data).definitions == (d.TypeDefinition(d.PrimitiveDef("u8")),)


# ---- canonical definitions -------------------------------------------------------------------------------

#: two of each thing that canonical definitions refer to, so that an index of the wrong one shows
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


def test_the_base_is_what_it_says() -> None:
    assert len(definitions(BASE)) == BASE_LENGTH


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


@pytest.mark.parametrize(("text", "expected"), ALL_BUILTINS, ids=[text for text, _ in ALL_BUILTINS])
def test_builtin(text: str, expected: d.CanonBuiltin) -> None:
    # the second definition shows that the first one took an index
    text = f"{BASE} (canon {text} (core func $new)) (core instance (export '' (func $new)))".replace("'", '"')
    assert definitions(text)[BASE_LENGTH:] == (expected, d.CoreInlineInstance((("", Sort.CORE_FUNC, 3),)))


@pytest.mark.parametrize(
    ("canon", "expected"),
    [
        (b"\x0c\x01", d.CanonBuiltin("thread.yield", flag=True)),
        (b"\x20\x01\x01", d.CanonBuiltin("waitable-set.wait", flag=True, memory=1)),
        (b"\x21\x01\x00", d.CanonBuiltin("waitable-set.poll", flag=True, memory=0)),
    ],
)
def test_cancellable(canon: bytes, expected: d.CanonBuiltin) -> None:
    # wat2wasm no longer writes these, the specification still has them
    assert decode(assemble(BASE) + section(8, b"\x01" + canon)).definitions[-1] == expected


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


# ---- what is no component --------------------------------------------------------------------------------


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
        (b"\x07", r"unexpected end, size of type section expected \(at offset 0x9\)"),
        (b"\x07\x05\x00", r"type section is 5 bytes long, 1 are left \(at offset 0x9\)"),
        (b"\x07\x02\x00\x00", r"type section goes on after its content \(at offset 0xb\)"),
        (b"\x07\xff\xff\xff\xff\xff\x01\x00", r"size of type section does not fit 32 bits \(at offset 0x9\)"),
        (b"\x07\xff\xff\xff\xff\x1f\x00", r"size of type section does not fit 32 bits"),
        (b"\x07\x80\x80\x80\x80\x80\x00", r"size of type section does not fit 32 bits"),
        (section(0, b"\x05abc"), "name of a custom section is 5 bytes long, 3 are left"),
        (section(0, b"\x01\xff"), r"name of a custom section is not valid UTF-8 \(at offset 0xb\)"),
        (section(1, b""), "core module starts with  instead of"),
        (section(1, PREAMBLE), "core module starts with 00 61 73 6d 0d 00 01 00 instead of"),
        (section(4, MODULE), "nested component starts with 00 61 73 6d 01 00 00 00 instead of"),
        (section(4, PREAMBLE[:5]) + b"\0\x01\0", "nested component starts with 00 61 73 6d 0d instead of"),
        # counts
        (section(7, b"\xff\xff\xff\xff\x0f"), "4294967295 types announced, only 0 bytes are left"),
        (types(b"\x6f\x03\x7d\x7d"), r"3 tuple elements announced, only 2 bytes are left \(at offset 0xc\)"),
        (section(3, b"\x01\x4e\x05\x60\x00"), "5 types of a recursion group announced"),
        # types
        (types(b"\x00"), r"unknown type 0x00 \(at offset 0xb\)"),
        (types(b"\x70\x62"), r"unknown value type 0x62 \(at offset 0xc\)"),
        (types(b"\x70"), "unexpected end, value type expected"),
        (types(b"\x70\x00"), "type index 0 is out of range, there are 0"),
        (types(b"\x70\xff\x7f"), r"value type is not a type index \(at offset 0xc\)"),
        (types(b"\x70\x80\x80\x80\x80\x80\x00"), "value type is not a type index"),
        (types(b"\x70\xff\xff\xff\xff\x1f"), "value type is not a type index"),
        (types(b"\x72\x00"), "a type without any record fields"),
        (types(b"\x71\x00"), "a type without any variant cases"),
        (types(b"\x6f\x00"), "a type without any tuple elements"),
        (types(b"\x6e\x00"), "a type without any flags"),
        (types(b"\x6e\x21" + b"\x00" * 33), "flags type with 33 flags, 32 are the most"),
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
        (types(b"\x7d", b"\x42\x01\x01\x70\x00"), "type index 0 is out of range, there are 0"),
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
        (section(6, b"\x01\x00\x00\x00\x00\x01a"), "a core func can not be aliased this way"),
        (section(6, b"\x01\x01\x01\x00\x01a"), "a func can not be aliased this way"),
        (section(6, b"\x01\x01\x02\x00\x00"), "a func can not be aliased this way"),
        (section(6, b"\x01\x03\x02\x01\x00"), "outer alias 1 scopes up, there are 0"),
        (section(6, b"\x01\x03\x02\x00\x00"), "type index 0 is out of range"),
        (types(b"\x42\x01\x02\x03\x02\x01\x00"), "type index 0 is out of range, there are 0"),
        # instances
        (section(2, b"\x01\x02"), "kind of a core instance is 0x02"),
        (section(2, b"\x01\x00\x00\x00"), "core module index 0 is out of range"),
        (section(1, MODULE) + section(2, b"\x01\x00\x00\x01\x00\x11\x00"), "sort of a core argument is 0x11"),
        (section(1, MODULE) + section(2, b"\x01\x00\x00\x01\x00\x12\x00"), "core instance index 0 is out of range"),
        (section(2, b"\x01\x01\x01\x00\x11\x00"), "a core instance can not export a core module"),
        (section(5, b"\x01\x02"), "kind of an instance is 0x02"),
        (section(5, b"\x01\x00\x00\x00"), "component index 0 is out of range"),
        (section(5, b"\x01\x01\x01\x00\x01a\x00\x00\x00"), "a core func can not be imported or exported"),
        # names, imports and exports
        (section(10, b"\x01\x03\x01a\x03\x01"), r"unknown kind of name 0x03 \(at offset 0xb\)"),
        (section(10, b"\x01\x02\x01a\x01\x03\x00\x03\x01"), "unknown name attribute 0x03"),
        (section(10, b"\x01\x00\x7fa\x03\x01"), r"name is 127 bytes long, 3 are left \(at offset 0xc\)"),
        (section(10, b"\x01\x00\x02\xc3\x28\x03\x01"), "name is not valid UTF-8"),
        (section(10, b"\x01\x00\x03\xed\xa0\x80\x03\x01"), "name is not valid UTF-8"),
        (section(10, b"\x01\x00\x01a\x03\x02"), "bound of a type is 0x02"),
        (section(10, b"\x01\x00\x01a\x00\x00\x00"), "a core func can not be imported or exported"),
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
        (section(8, b"\x01\x0a\x7d\x00"), "core value type 0x7d where i32 or i64 is expected"),
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


def test_offsets_in_a_nested_component_count_from_the_start_of_the_file() -> None:
    inner = component(RESOURCE_IMPORT, types(b"\x69\x05"))
    data = component(section(4, inner))
    with pytest.raises(MalformedComponent, match=rf"type index 5 .* there are 1 \(at offset {len(data) - 1:#x}\)"):
        decode(data)


def test_a_nested_component_ends_where_its_section_ends() -> None:
    # the type section announced in the nested component would reach into the outer one
    data = component(section(4, PREAMBLE + b"\x07\x02\x01"), b"\x7d")
    with pytest.raises(MalformedComponent, match="type section is 2 bytes long, 1 are left"):
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
    """A component with something of everything."""
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
    """The offsets at which a section begins or the component ends."""
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


def test_cut_off_anywhere() -> None:
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


def test_what_wasmtime_admits_decodes() -> None:
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
