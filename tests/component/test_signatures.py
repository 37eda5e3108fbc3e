from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_trio.component import _types as t
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._names import is_label
from wasi_trio.component._signatures import mismatch, render, render_definition, render_func
from wasi_trio.component.wit import parse
from wasi_trio.component.wit._lexer import KEYWORDS
from wasi_trio.component.wit._parser import PRIMITIVES

R = t.ResourceType("input-stream")


def same_name(component: t.ResourceType, host: t.ResourceType) -> bool:
    return component.name == host.name


def result(of: t.ValType | None) -> t.FuncType:
    return t.FuncType((), of)


# ---- rendering -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (t.U8, "u8"),
        (t.ERROR_CONTEXT, "error-context"),
        (t.List(t.List(t.STRING), 3), "list<list<string>, 3>"),
        (t.Tuple((t.U8, t.CHAR)), "tuple<u8, char>"),
        (t.Record((("a", t.U8), ("type", t.BOOL))), "record { a: u8, %type: bool }"),
        (t.Variant((("none", None), ("some", t.U8))), "variant { none, some(u8) }"),
        (t.Enum(("red", "enum")), "enum { red, %enum }"),
        (t.Flags(("a", "b")), "flags { a, b }"),
        (t.Option(t.U8), "option<u8>"),
        (t.Result(None, None), "result"),
        (t.Result(t.U8, None), "result<u8>"),
        (t.Result(None, t.U8), "result<_, u8>"),
        (t.Result(t.U8, t.U16), "result<u8, u16>"),
        (t.Map(t.STRING, t.U8), "map<string, u8>"),
        (t.Own(R), "input-stream"),
        (t.Borrow(R), "borrow<input-stream>"),
        (t.Stream(None), "stream"),
        (t.Stream(t.U8), "stream<u8>"),
        (t.Future(None), "future"),
        (t.Future(t.U8), "future<u8>"),
    ],
)
def test_render(type_: t.ValType, text: str) -> None:
    assert render(type_) == text


def test_render_with_names() -> None:
    point = t.Record((("x", t.S32),))
    text = render(t.Result(t.Own(R), point), lambda r: f"{r.name}-2", lambda of: "list" if of == point else None)
    assert text == "result<input-stream-2, %list>"


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (t.Record((("a", t.U8),)), "record %type { a: u8 }"),
        (t.Enum(("a",)), "enum %type { a }"),
        (t.List(t.U8), "type %type = list<u8>;"),
        (R, "resource %type;"),
    ],
)
def test_render_definition(type_: t.ValType | t.ResourceType, text: str) -> None:
    assert render_definition("type", type_) == text


@pytest.mark.parametrize(
    "text",
    [
        "constructor(a: u8);",
        "f: func();",
        "f: func(a: borrow<r>, %use: r) -> u8;",
        "f: static async func() -> r;",
        "%stream: async func(a: u8) -> option<r>;",
    ],
)
def test_functions_of_a_resource_are_rendered_as_they_were_written(text: str) -> None:
    wit = parse(f"package a:b; interface i {{ resource r {{ {text} }} }}")
    ((name, type_),) = wit.interface("a:b/i").functions.items()
    assert render_func(name, type_) == text


def test_other_functions_are_rendered_as_they_were_written() -> None:
    texts = ["%list: func();", "f: async func(a: u8) -> string;"]
    wit = parse(f"package a:b; interface i {{ {' '.join(texts)} resource r {{ constructor() -> result<r>; }} }}")
    functions = wit.interface("a:b/i").functions
    assert [render_func(name, type_) for name, type_ in functions.items()] == [*texts, "constructor() -> result<r>;"]


def test_invalid_function_names_are_not_rendered() -> None:
    with pytest.raises(MalformedComponent):
        render_func("[what]ever", t.FuncType(()))


labels = st.from_regex(r"[a-z][a-z0-9]{0,4}(-([a-z0-9]{1,3}|[A-Z0-9]{1,3}))?", fullmatch=True).filter(is_label)
names = st.lists(labels | st.sampled_from(sorted(KEYWORDS)), min_size=1, max_size=4, unique_by=str.lower).map(tuple)


def _compound(inner: st.SearchStrategy[t.ValType]) -> st.SearchStrategy[t.ValType]:
    maybe = st.none() | inner
    keys = st.sampled_from([t.STRING, t.CHAR, t.BOOL, t.U8, t.S64])
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(t.List, inner, st.none() | st.integers(1, 2**32 - 1)),
        st.builds(t.Tuple, several),
        st.builds(t.Option, inner),
        st.builds(t.Result, maybe, maybe),
        st.builds(t.Map, keys, inner),
        st.builds(t.Stream, maybe),
        st.builds(t.Future, maybe),
        names.flatmap(lambda ns: st.tuples(*(st.tuples(st.just(n), inner) for n in ns)).map(t.Record)),
        names.flatmap(lambda ns: st.tuples(*(st.tuples(st.just(n), maybe) for n in ns)).map(t.Variant)),
    )


leaves: st.SearchStrategy[t.ValType] = st.one_of(
    st.sampled_from(list(PRIMITIVES.values())),
    st.builds(t.Enum, names),
    st.builds(t.Flags, names),
)
value_types = st.recursive(leaves, _compound, max_leaves=12)


@given(value_types)
def test_rendered_types_parse_back(type_: t.ValType) -> None:
    named: dict[t.ValType, str] = {}

    def name(part: t.ValType) -> str | None:
        return named.get(part)

    def define(part: t.ValType) -> list[str]:
        definitions = [line for child in t.children(part) for line in define(child)]
        if isinstance(part, t.Record | t.Variant | t.Enum | t.Flags) and part not in named:
            # Rendered before the type has a name, because the name would be written instead.
            definitions.append(render_definition(f"defined-{len(named)}", part, name_of_type=name))
            named[part] = f"defined-{len(named)}"
        return definitions

    definitions = define(type_)
    text = f"package a:b; interface i {{ {' '.join(definitions)} type it = {render(type_, name_of_type=name)}; }}"
    assert parse(text).interface("a:b/i").types["it"] == type_


# ---- mismatches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "host", "line"),
    [
        (t.U32, t.U64, "result: component has u32, host has u64"),
        (None, t.U32, "result: component has nothing, host has u32"),
        (t.U32, None, "result: component has u32, host has nothing"),
        (t.U8, t.List(t.U8), "result: component has u8, host has list<u8>"),
        (t.List(t.U8), t.List(t.S8), "result, element: component has u8, host has s8"),
        (t.List(t.U8, 4), t.List(t.U8), "result: component has list<u8, 4>, host has list<u8>"),
        (t.Option(t.U8), t.Option(t.S8), "result, some: component has u8, host has s8"),
        (t.Option(t.U8), t.Result(t.U8, None), "result: component has option<u8>, host has result<u8>"),
        (t.Result(t.U8, None), t.Result(t.S8, None), "result, ok: component has u8, host has s8"),
        (t.Result(None, t.U8), t.Result(None, None), "result, err: component has u8, host has nothing"),
        (t.Tuple((t.U8, t.U8)), t.Tuple((t.U8, t.S8)), "result, item 2: component has u8, host has s8"),
        (t.Tuple((t.U8,)), t.Tuple((t.U8, t.U8)), "result: component has nothing there, host has item 2"),
        (t.Map(t.U8, t.U8), t.Map(t.S8, t.U8), "result, key: component has u8, host has s8"),
        (t.Map(t.U8, t.U8), t.Map(t.U8, t.S8), "result, value: component has u8, host has s8"),
        (t.Stream(t.U8), t.Stream(None), "result, element: component has u8, host has nothing"),
        (t.Future(t.U8), t.Future(t.S8), "result, element: component has u8, host has s8"),
        (t.Stream(t.U8), t.Future(t.U8), "result: component has stream<u8>, host has future<u8>"),
        (
            t.Record((("a", t.U8),)),
            t.Record((("a", t.U8), ("b", t.U8))),
            "result: component has nothing there, host has field b",
        ),
        (t.Record((("a", t.U8),)), t.Record((("b", t.U8),)), "result: component has field a, host has field b"),
        (t.Record((("a", t.U8),)), t.Record((("a", t.S8),)), "result, field a: component has u8, host has s8"),
        (t.Variant((("a", t.U8),)), t.Variant((("a", None),)), "result, case a: component has u8, host has nothing"),
        (
            t.Variant((("a", None), ("b", None))),
            t.Variant((("a", None),)),
            "result: component has case b, host has nothing there",
        ),
        (t.Enum(("a", "b")), t.Enum(("b", "a")), "result: component has case a, host has case b"),
        (t.Enum(("a",)), t.Flags(("a",)), "result: component has enum { a }, host has flags { a }"),
        (t.Flags(("a",)), t.Flags(("c",)), "result: component has flag a, host has flag c"),
        (t.Own(R), t.Borrow(R), "result: component has input-stream, host has borrow<input-stream>"),
        (t.Own(R), t.Own(t.ResourceType("error")), "result: component has input-stream, host has error"),
        (t.Own(R), t.U32, "result: component has input-stream, host has u32"),
    ],
)
def test_mismatch_of_value_types(component: t.ValType | None, host: t.ValType | None, line: str) -> None:
    assert mismatch(result(component), result(host), same_name) == line


@pytest.mark.parametrize(
    ("component", "host", "line"),
    [
        ((("len", t.U32),), (("len", t.U64),), "parameter len: component has u32, host has u64"),
        ((("len", t.U64),), (("size", t.U64),), "component has parameter len, host has parameter size"),
        ((), (("len", t.U64),), "component has nothing there, host has parameter len"),
        ((("a", t.U8), ("b", t.U8)), (("a", t.U8),), "component has parameter b, host has nothing there"),
        ((("a", t.U8), ("b", t.U8)), (("b", t.U8), ("a", t.U8)), "component has parameter a, host has parameter b"),
    ],
)
def test_mismatch_of_parameters(
    component: tuple[tuple[str, t.ValType], ...], host: tuple[tuple[str, t.ValType], ...], line: str
) -> None:
    assert mismatch(t.FuncType(component), t.FuncType(host), same_name) == line


def test_mismatch_of_asyncness() -> None:
    line = "component has async func, host has func"
    assert mismatch(t.FuncType((), is_async=True), t.FuncType(()), same_name) == line
    line = "component has func, host has async func"
    assert mismatch(t.FuncType(()), t.FuncType((), is_async=True), same_name) == line


def test_resources_are_compared_by_the_caller() -> None:
    theirs, ours = t.ResourceType("fields"), t.ResourceType("fields")
    component = t.FuncType((("self", t.Borrow(theirs)),), t.Option(t.Own(theirs)))
    host = t.FuncType((("self", t.Borrow(ours)),), t.Option(t.Own(ours)))
    asked: list[tuple[t.ResourceType, t.ResourceType]] = []

    def same(component: t.ResourceType, host: t.ResourceType) -> bool:
        asked.append((component, host))
        return True

    assert mismatch(component, host, same) is None
    assert asked == [(theirs, ours), (theirs, ours)]
    line = "parameter self: component has borrow<fields>, host has another resource of that name"
    assert mismatch(component, host, lambda *_: False) == line


def test_the_place_of_a_difference_is_given_in_full() -> None:
    def func(of: t.ValType) -> t.FuncType:
        return result(t.Result(None, t.Variant((("a", None), ("b", t.Option(t.Tuple((t.U8, of))))))))

    line = "result, err, case b, some, item 2: component has u8, host has u16"
    assert mismatch(func(t.U8), func(t.U16), same_name) == line


@given(value_types, value_types)
def test_mismatch_is_none_for_equal_types_only(component: t.ValType, host: t.ValType) -> None:
    assert mismatch(result(host), result(host), same_name) is None
    found = mismatch(result(component), result(host), same_name)
    assert (found is None) == (component == host)


def test_an_enormous_type_is_refused_in_a_short_line() -> None:
    # A tree of 2 ** 60 leaves made of 60 objects. Writing it out would never end.
    huge: t.ValType = t.U8
    for _ in range(60):
        huge = t.Tuple((huge, huge))
    wide = t.Record(tuple((f"f{number}-" + "x" * 10_000, huge) for number in range(1_000)))
    for type_ in (huge, wide, t.Own(t.ResourceType("x" * 100_000))):
        for host in (t.U8, t.Tuple((t.U8, t.U8)), t.Record((("a", t.U8),)), t.Own(R)):
            line = mismatch(result(type_), result(host), same_name)
            assert line is not None
            assert len(line) < 500
            assert "\n" not in line
