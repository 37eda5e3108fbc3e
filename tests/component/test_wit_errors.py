from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_trio.component.wit import WitError, load, parse


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (
            "interface i {}",
            "1:1",
            "this file does not name its package, and in its folder no file has a `package` declaration",
        ),
        ("package a;", "1:9", "a package name has the form namespace:name, not `a`"),
        ("package a:b; interface i", "1:25", "expected `{` after the interface's name, found the end of the file"),
        (
            "package a:b; interface i {\n  x: fun();\n}",
            "2:6",
            "expected `func` after the function's name, found `fun`",
        ),
        ("package a:b; interface i { f: func(", "1:36", "expected a parameter's name, found the end of the file"),
        ("package a:b; interface i { f: func(x: ); }", "1:39", "expected a type, found `)`"),
        ("package a:b; interface i { f: func(x: world); }", "1:39", "expected a type, found `world`"),
        (
            "package a:b; interface i { list: func(); }",
            "1:28",
            "expected a function, a type, `use` or `}`, found the keyword `list` (to use it as a name, write `%list`)",
        ),
        ("package a:b; interface i { aB: func(); }", "1:28", "`aB` is not a kebab-case name"),
        ("package a:b; interface i { a_b: func(); }", "1:28", "`a_b` is not a kebab-case name"),
        ("package a:b; interface i { ? }", "1:28", "`?` has no meaning in WIT"),
        ("package a:b; /* /* */", "1:14", "this comment is not closed"),
        ('package a:b; world w { @external-id("x', "1:37", "this string is not closed"),
        ("package a:b; // \u202e", "1:17", "the character U+202E is not allowed in WIT"),
        ("package a:b@1.2;", "1:13", "expected a version like 1.2.3, found `1`"),
        ("package a:b; interface i {} package c:d;", "1:37", "a file's own package must be declared first in the file"),
        ("package a:b; func", "1:14", "expected `interface`, `world`, `use` or `package`, found `func`"),
        ("package a:b; interface i {} world i {}", "1:35", "the package has two `i`"),
        ("package a:b; interface i { type t = u8; t: func(); }", "1:41", "`t` is defined twice"),
        ("package a:b; interface i { f: func(); F: func(); }", "1:39", "`F` is defined twice"),
        ("package a:b; interface i { resource r { m: func(); m: static func(); } }", "1:52", "`m` is defined twice"),
        (
            "package a:b; interface i { resource r { constructor(); constructor(); } }",
            "1:56",
            "`constructor` is defined twice",
        ),
        ("package a:b; interface i { f: func(a: u8, A: u8); }", "1:43", "the function has two `A`"),
        ("package a:b; interface i { record r { a: u8, a: u8 } }", "1:46", "the record has two `a`"),
        ("package a:b; interface i { record r {} }", "1:35", "record `r` is empty"),
        ("package a:b; interface i { type t = u; }", "1:37", "unknown type `u`"),
        ("package a:b; interface i { type t = t; }", "1:37", "the type `t` contains itself"),
        ("package a:b; interface i { type t = list<u>; record u { t: t } }", "1:60", "the type `t` contains itself"),
        ("package a:b; interface i { type t = tuple<>; }", "1:37", "a tuple has no types"),
        (
            "package a:b; interface i { type t = list<u8, 0>; }",
            "1:46",
            "expected a length from 1 to 4294967295, found `0`",
        ),
        (
            "package a:b; interface i { type t = list<u8, 4294967296>; }",
            "1:46",
            "expected a length from 1 to 4294967295, found `4294967296`",
        ),
        ("package a:b; interface i { type t = map<f32, u8>; }", "1:37", "f32 cannot be the type of a map's keys"),
        ("package a:b; interface i { type t = u8; type u = borrow<t>; }", "1:57", "`t` is not a resource"),
        ("package a:b; interface i { type u = own<list<u8>>; }", "1:37", "`own` requires the name of a resource"),
        (
            "package a:b; interface i { resource r; f: func() -> option<borrow<r>>; }",
            "1:40",
            "a function cannot return a borrowed handle",
        ),
        (
            "package a:b; interface i { resource r { constructor() -> u8; } }",
            "1:41",
            "`r`'s constructor must return nothing or result<r, ...>",
        ),
        ("package a:b; interface i { use j.{t}; }", "1:32", "unknown interface `j` in the package a:b"),
        ("package a:b; interface i { use c:d/j@1.0.0.{t}; }", "1:32", "unknown package c:d@1.0.0"),
        ("package a:b; interface j {} interface i { use j.{t}; }", "1:50", "unknown type `t` in a:b/j"),
        (
            "package a:b; interface i { use i.{t}; }",
            "1:32",
            "the interface `i` uses itself, directly or through others",
        ),
        ("package a:b; interface j {} interface i { use j.{}; }", "1:47", "`use` names no types"),
        ("package a:b; world w { include v; }", "1:32", "unknown world `v` in the package a:b"),
        (
            "package a:b; world w { import a:b; }",
            "1:31",
            "`a:b` is a package, expected an interface or world of it: a:b/name",
        ),
        ("package a:b; world w { import f: func(x: t); }", "1:42", "unknown type `t`"),
        ("package a:b; world w { import j: interface { f: func() -> t; } }", "1:59", "unknown type `t`"),
        ("package a:b; @new interface i {}", "1:15", "unknown annotation `@new`"),
        ("package a:b; @since(version = 1) interface i {}", "1:31", "expected a version like 1.2.3, found `1`"),
        ("package a:b; @since(feature = x) interface i {}", "1:21", "expected `version = ...`, found `feature`"),
        ("package a:b; @unstable(feature = 1.0.0) interface i {}", "1:34", "expected a feature's name, found `1.0.0`"),
        (
            "package a:b; @since(version = 1.0.0) @since(version = 1.0.0) interface i {}",
            "1:39",
            "`@since` occurs twice",
        ),
        (
            "package a:b; @since(version = 1.0.0) @unstable(feature = x) interface i {}",
            "1:39",
            "an item is either `@since` or `@unstable`, not both",
        ),
    ],
)
def test_errors_say_what_and_where(text: str, where: str, message: str) -> None:
    with pytest.raises(WitError) as caught:
        parse(text, "some.wit")
    assert str(caught.value) == f"some.wit:{where}: {message}"
    assert (caught.value.file, f"{caught.value.line}:{caught.value.column}") == ("some.wit", where)


def test_the_nesting_of_types_is_limited() -> None:
    deep = "list<" * 5_000 + "u8" + ">" * 5_000
    with pytest.raises(WitError, match="types are nested deeper than 100"):
        parse(f"package a:b; interface i {{ type t = {deep}; }}")
    chain = "".join(f"type t{n} = list<t{n + 1}>;" for n in range(5_000))
    with pytest.raises(WitError, match="types are nested deeper than 100"):
        parse(f"package a:b; interface i {{ {chain} type t5000 = u8; }}")
    uses = "".join(f"interface i{n} {{ use i{n + 1}.{{t}}; }}" for n in range(5_000))
    with pytest.raises(WitError, match="interfaces use each other more than 100 levels deep"):
        parse(f"package a:b; {uses} interface i5000 {{ type t = u8; }}")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.wit").write_bytes(b"package a:b;\n// caf\xe9")
    with pytest.raises(WitError, match=r"a\.wit:2:7: the text is not UTF-8"):
        load([tmp_path])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load([tmp_path / "a.wit"])


def test_a_file_without_a_package(tmp_path: Path) -> None:
    (tmp_path / "a.wit").write_text("package a:a; interface i {}")
    (tmp_path / "b.wit").write_text("package a:b; interface i {}")
    (tmp_path / "c.wit").write_text("interface i {}")
    with pytest.raises(
        WitError,
        match=r"c\.wit:1:1: this file does not name its package, and in its folder the files declare several packages",
    ):
        load([tmp_path])


WORDS = "package interface world use type record variant resource func static constructor list result own import"


@given(st.lists(st.sampled_from([*WORDS.split(), *"{}()<>,;:=.@%/_*", "->", "a", "a:b", "u8", "1.0.0", '"', "/*"])))
def test_any_text_resolves_or_is_a_wit_error(words: list[str]) -> None:
    try:
        parse("package a:b; " + " ".join(words))
    except WitError as error:
        assert "\n" not in str(error)
