from __future__ import annotations

import pytest
import wasmtime

from tests.component.binaries import (
    MODULE,
    assemble,
    component,
    definitions,
    nested_components,
    nested_types,
    section,
    types,
)
from wasi_trio.component import _definitions as d
from wasi_trio.component._binary import decode
from wasi_trio.component._definitions import TypeBound, TypeIndex
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._reader import MAX_NESTING
from wasi_trio.component._sorts import Sort

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
    # 64 is the first index that does not fit a byte with the sign bit of a 33-bit number.
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
    # Types before and after, to check that exactly the right number of bytes is read.
    before, *core, after = definitions(f"(core type (func)) {text} (core type (func)) (type u8)")[:-1]
    assert (before, after) == (d.CoreTypeDefinition(), d.CoreTypeDefinition())
    assert core == [d.CoreTypeDefinition()] * count
    assert decode(assemble(f"{text} (type u8)")).definitions[-1] == end


def test_a_subtype_in_a_module_type_may_have_the_zero_that_it_needs_elsewhere() -> None:
    data = component(section(3, b"\x01\x50\x01\x01\x00\x50\x00\x60\x00\x00"))
    assert decode(data).definitions == (d.CoreTypeDefinition(),)


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


def test_the_content_of_a_core_module_is_not_read() -> None:
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
    ("name", "implements"),
    [
        (b"\x00\x03a-b", None),
        (b"\x01\x03a-b", None),
        (b"\x02\x03a-b\x00", None),
        (b"\x02\x03a-b\x01\x00\x05a:b/c", "a:b/c"),
        (b"\x02\x03a-b\x01\x02\x01x", None),
        (b"\x02\x03a-b\x03\x00\x05a:b/c\x01\x02.1\x02\x01x", "a:b/c"),
    ],
)
def test_every_form_of_name(name: bytes, implements: str | None) -> None:
    data = component(section(10, b"\x01" + name + b"\x03\x01"), types(b"\x69\x00"))
    assert decode(data).definitions == (
        d.Import("a-b", d.ExternType(Sort.TYPE, None, TypeBound.SUB_RESOURCE), implements),
        d.TypeDefinition(d.OwnDef(0)),
    )


def test_attributes_that_the_text_format_writes() -> None:
    assert definitions("""
        (import "a" (implements "a:b/c") (instance))
        (import "a:b/c@0.2" (versionsuffix ".1") (instance))
        (import "b" (external-id "x") (func))
    """)[1::2] == (
        d.Import("a", d.ExternType(Sort.INSTANCE, 0), "a:b/c"),
        d.Import("a:b/c@0.2", d.ExternType(Sort.INSTANCE, 1)),
        d.Import("b", d.ExternType(Sort.FUNC, 2)),
    )


def test_custom_sections_are_skipped() -> None:
    data = component(section(0, b"\x04name\xff\xff"), types(b"\x7d"), section(0, b"\x00"))
    assert decode(data).definitions == (d.TypeDefinition(d.PrimitiveDef("u8")),)
