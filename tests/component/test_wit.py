from __future__ import annotations

from pathlib import Path

import pytest

from wasi_trio.component import _types as t
from wasi_trio.component.wit import Interface, load, parse, render_func
from wasi_trio.component.wit._lexer import Source
from wasi_trio.component.wit._parser import parse_file
from wasi_trio.component.wit._tree import TypeBody
from wasi_trio.wasi.wit import extended_wit, host_wit

U32_LIST = t.List(t.U32)


def interface(body: str) -> Interface:
    return parse(f"package a:b;\ninterface i {{\n{body}\n}}").interface("a:b/i")


def resource(of: Interface, name: str) -> t.ResourceType:
    found = of.types[name]
    assert isinstance(found, t.ResourceType)
    return found


# ---- the vendored files ----------------------------------------------------------------------------------


def test_every_vendored_interface_resolves() -> None:
    packages = host_wit().packages
    assert {name.partition("@")[0] for name in packages} == {
        "wasi:cli",
        "wasi:clocks",
        "wasi:config",
        "wasi:filesystem",
        "wasi:http",
        "wasi:io",
        "wasi:keyvalue",
        "wasi:logging",
        "wasi:random",
        "wasi:sockets",
    }
    interfaces = [found for package in packages.values() for found in package.interfaces.values()]
    assert len(interfaces) == 66
    for found in interfaces:
        assert found.functions or found.types
        assert host_wit().interface(f"{found.name}@{found.version}") is found
        for name, type_ in found.functions.items():
            assert render_func(name, type_).endswith(";")


def test_functions_have_the_names_of_binaries() -> None:
    streams = host_wit().interface("wasi:io/streams")
    assert streams.name == "wasi:io/streams"
    assert streams.version == "0.2.12"
    stream_error = streams.types["stream-error"]
    assert isinstance(stream_error, t.Variant)
    assert streams.functions["[method]input-stream.read"] == t.FuncType(
        (("self", t.Borrow(resource(streams, "input-stream"))), ("len", t.U64)), t.Result(t.List(t.U8), stream_error)
    )
    fields = host_wit().interface("wasi:http/types").functions
    assert "[constructor]fields" in fields
    assert "[static]fields.from-list" in fields
    assert "get-random-bytes" in host_wit().interface("wasi:random/random").functions


def test_a_used_resource_is_the_same_object_everywhere() -> None:
    streams = host_wit().interface("wasi:io/streams")
    http = host_wit().interface("wasi:http/types")
    assert http.types["input-stream"] is streams.types["input-stream"]
    assert http.types["io-error"] is host_wit().interface("wasi:io/error").types["error"]
    assert host_wit().origin(resource(http, "input-stream")) == ("wasi:io/streams", "input-stream")
    assert http.types["headers"] is http.types["fields"]


def test_unstable_items_are_skipped_unless_enabled() -> None:
    vendored = [Path(__file__).parents[2] / "wasi_trio" / "wasi" / "wit" / "p2"]
    without = load(vendored)
    assert "network-error-code" not in without.interface("wasi:sockets/network").functions
    with pytest.raises(KeyError):
        without.interface("wasi:clocks/timezone")
    with_ = load(vendored, features=["clocks-timezone", "network-error-code"])
    assert "network-error-code" in with_.interface("wasi:sockets/network").functions
    assert "display" in with_.interface("wasi:clocks/timezone").functions


def test_worlds_are_recorded() -> None:
    proxy = host_wit().packages["wasi:http@0.2.12"].worlds["proxy"]
    assert (proxy.name, proxy.version) == ("wasi:http/proxy", "0.2.12")
    assert proxy.includes == ("wasi:http/imports@0.2.12",)
    assert proxy.exports == ("wasi:http/incoming-handler@0.2.12",)
    imports = host_wit().packages["wasi:http@0.2.12"].worlds["imports"].imports
    assert "wasi:clocks/monotonic-clock@0.2.12" in imports
    assert "wasi:http/outgoing-handler@0.2.12" in imports


# ---- types -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bool", t.BOOL),
        ("s8", t.S8),
        ("u8", t.U8),
        ("s16", t.S16),
        ("u16", t.U16),
        ("s32", t.S32),
        ("u32", t.U32),
        ("s64", t.S64),
        ("u64", t.U64),
        ("f32", t.F32),
        ("f64", t.F64),
        ("char", t.CHAR),
        ("string", t.STRING),
        ("error-context", t.ERROR_CONTEXT),
        ("list<u32>", U32_LIST),
        ("list<u32, 4>", t.List(t.U32, 4)),
        ("tuple<u32>", t.Tuple((t.U32,))),
        ("tuple<u32, list<u32>,>", t.Tuple((t.U32, U32_LIST))),
        ("option<option<u32>>", t.Option(t.Option(t.U32))),
        ("result", t.Result(None, None)),
        ("result<u32>", t.Result(t.U32, None)),
        ("result<_, u32>", t.Result(None, t.U32)),
        ("result<u32, string>", t.Result(t.U32, t.STRING)),
        ("map<string, list<u32>>", t.Map(t.STRING, U32_LIST)),
        ("stream", t.Stream(None)),
        ("stream<u8>", t.Stream(t.U8)),
        ("future", t.Future(None)),
        ("future<result<u32>>", t.Future(t.Result(t.U32, None))),
    ],
)
def test_value_types(text: str, expected: t.ValType) -> None:
    found = interface(f"type a = {text}; f: func(x: {text}) -> {text};")
    assert found.types["a"] == expected
    assert found.functions["f"] == t.FuncType((("x", expected),), expected)


def test_defined_types() -> None:
    found = interface(
        """
        record point { x: s32, y: s32 }
        variant shape { none, dot(point), %record(list<point>), }
        enum color { red, %enum }
        flags access { read, write, }
        """
    )
    point = t.Record((("x", t.S32), ("y", t.S32)))
    assert found.types == {
        "point": point,
        "shape": t.Variant((("none", None), ("dot", point), ("record", t.List(point)))),
        "color": t.Enum(("red", "enum")),
        "access": t.Flags(("read", "write")),
    }


def test_types_may_be_defined_after_their_use() -> None:
    found = interface("type a = b; type b = list<c>; record c { d: d } type d = u32;")
    assert found.types["a"] == t.List(t.Record((("d", t.U32),)))


def test_names_with_acronyms_and_escapes() -> None:
    found = interface("%interface: func(%as: u8, get-HTTP2-x: u8); parse-XML: func(); %plain: func();")
    assert list(found.functions) == ["interface", "parse-XML", "plain"]
    assert found.functions["interface"].params == (("as", t.U8), ("get-HTTP2-x", t.U8))


def test_functions() -> None:
    found = interface("a: func(); b: async func(x: u8,) -> string;")
    assert found.functions == {
        "a": t.FuncType(()),
        "b": t.FuncType((("x", t.U8),), t.STRING, is_async=True),
    }


def test_resources() -> None:
    found = interface(
        """
        resource bare;
        resource blob {
            constructor(init: list<u8>);
            write: func(bytes: list<u8>);
            read: async func(n: u32) -> list<u8>;
            merge: static func(lhs: borrow<blob>, rhs: blob) -> blob;
            fetch: static async func() -> own<blob>;
        }
        resource fallible { constructor() -> result<fallible, string>; }
        type alias = blob;
        take: func(b: alias, o: borrow<alias>) -> option<bare>;
        """
    )
    blob, bare, fallible = (resource(found, name) for name in ("blob", "bare", "fallible"))
    assert (blob.name, blob.owner) == ("blob", None)
    assert found.types["alias"] is blob
    self_ = ("self", t.Borrow(blob))
    octets = t.List(t.U8)
    assert found.functions == {
        "[constructor]blob": t.FuncType((("init", octets),), t.Own(blob)),
        "[method]blob.write": t.FuncType((self_, ("bytes", octets))),
        "[method]blob.read": t.FuncType((self_, ("n", t.U32)), octets, is_async=True),
        "[static]blob.merge": t.FuncType((("lhs", t.Borrow(blob)), ("rhs", t.Own(blob))), t.Own(blob)),
        "[static]blob.fetch": t.FuncType((), t.Own(blob), is_async=True),
        "[constructor]fallible": t.FuncType((), t.Result(t.Own(fallible), t.STRING)),
        "take": t.FuncType((("b", t.Own(blob)), ("o", t.Borrow(blob))), t.Option(t.Own(bare))),
    }


def test_each_parse_makes_resources_of_its_own() -> None:
    text = "package a:b; interface i { resource r; }"
    assert parse(text).interface("a:b/i").types["r"] is not parse(text).interface("a:b/i").types["r"]


def test_comments_do_not_change_types() -> None:
    found = interface("/* a /* nested */ one */ /// documentation\n a: /**/ func( // here\n);")
    assert found.functions == {"a": t.FuncType(())}


# ---- gates -----------------------------------------------------------------------------------------------

GATED = """
package a:b@1.0.0;
@since(version = 1.0.0)
interface i {
    @since(version = 1.0.0) @deprecated(version = 1.0.0-rc.1)
    old: func();
    @unstable(feature = new-things) @deprecated(version = 1.0.0)
    new: func(x: t);
    @unstable(feature = new-things)
    type t = u32;
    resource r {
        @unstable(feature = new-things)
        m: func();
        @unstable(feature = other)
        constructor();
        @external-id("a \\" b")
        n: func();
    }
}
@unstable(feature = new-things)
interface j {}
world w {
    @unstable(feature = new-things) import j;
    @unstable(feature = new-things) import f: func(x: u32);
    @unstable(feature = new-things) import k: interface { type t = u8; }
    @external-id("x") export i;
}
"""


def test_gates() -> None:
    without = parse(GATED)
    assert list(without.interface("a:b/i").functions) == ["old", "[method]r.n"]
    assert list(without.packages["a:b@1.0.0"].interfaces) == ["i"]
    assert without.packages["a:b@1.0.0"].worlds["w"].imports == ()
    with_ = parse(GATED, features={"new-things"})
    assert list(with_.interface("a:b/i").functions) == ["old", "new", "[method]r.m", "[method]r.n"]
    assert with_.packages["a:b@1.0.0"].worlds["w"].imports == ("a:b/j@1.0.0", "f", "k")
    assert with_.packages["a:b@1.0.0"].worlds["w"].exports == ("a:b/i@1.0.0",)


# ---- packages, uses, worlds ------------------------------------------------------------------------------


def test_use_within_and_across_packages() -> None:
    wit = parse(
        """
        package my:app@1.0.0;
        use other:lib/types@0.2.0 as lib;
        use here as there;
        interface here { resource r; type n = u8; }
        interface i {
            use there.{r, n as number};
            use lib.{thing};
            use other:lib/types@0.2.0.{thing as same-thing,};
            f: func(r: borrow<r>, t: thing, s: same-thing) -> number;
        }
        package other:lib@0.2.0 {
            interface types { use more.{thing}; }
            interface more { record thing { a: u8 } }
        }
        """
    )
    found = wit.interface("my:app/i")
    thing = t.Record((("a", t.U8),))
    assert found.types == {
        "r": wit.interface("my:app/here").types["r"],
        "number": t.U8,
        "thing": thing,
        "same-thing": thing,
    }
    assert found.functions["f"].result == t.U8
    assert wit.origin(resource(found, "r")) == ("my:app/here", "r")


def test_interfaces_are_found_by_compatible_version() -> None:
    wit = parse("package a:b@1.2.0 { interface i {} } package a:b@2.0.0 { interface i {} }")
    assert wit.interface("a:b/i@1.9.0").version == "1.2.0"
    assert wit.interface("a:b/i@2.0.0").version == "2.0.0"
    assert wit.interface("a:b/i").version == "1.2.0"
    for name in ("a:b/i@3.0.0", "a:b/j", "a:c/i", "i", ""):
        with pytest.raises(KeyError):
            wit.interface(name)


def test_a_use_prefers_the_exact_version() -> None:
    wit = parse(
        """
        package a:b@1.2.0 { interface i { type t = u8; } }
        package a:b@1.3.0 { interface i { type t = u16; } }
        package c:d {
            interface i { use a:b/i@1.3.0.{t}; }
            interface j { use a:b/i@1.9.0.{t}; }
        }
        """
    )
    assert wit.interface("c:d/i").types["t"] == t.U16
    assert wit.interface("c:d/j").types["t"] == t.U8


def test_worlds() -> None:
    wit = parse(
        """
        package a:b;
        interface i { type t = u8; }
        world small { import i; }
        world w {
            use i.{t};
            type u = list<t>;
            resource r { m: func(); }
            include small with { x as y, z as w };
            include a:b/small;
            import a:b/i;
            import f: func(x: u) -> t;
            import g:async func();
            import inline: interface { h: func(); }
            import store: i;
            export run: func();
            export handler: a:b/i;
        }
        package x:y:z/nested@1.0.0 { interface deep {} world w { export deep; } }
        """
    )
    world = wit.packages["a:b"].worlds["w"]
    assert world.imports == ("a:b/i", "f", "g", "inline", "store")
    assert world.exports == ("run", "handler")
    assert world.includes == ("a:b/small", "a:b/small")
    assert wit.packages["x:y:z/nested@1.0.0"].worlds["w"].exports == ("x:y:z/nested/deep@1.0.0",)
    assert wit.interface("x:y:z/nested/deep@1.0.0").version == "1.0.0"


def test_a_package_spread_over_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "deps" / "io").mkdir(parents=True)
    (tmp_path / "a.wit").write_text("use b as bb; interface a { use bb.{t}; use dep:io/x.{y}; }")
    (tmp_path / "b.wit").write_text("package my:app; interface b { type t = u8; }")
    (tmp_path / "notes.md").write_text("not WIT")
    (tmp_path / "deps" / "one.wit").write_text("package dep:one; interface i {}")
    (tmp_path / "deps" / "two.wit").write_text("package dep:two; interface i {}")
    (tmp_path / "deps" / "io" / "x.wit").write_text("package dep:io; interface x { type y = u16; }")
    wit = load([tmp_path])
    assert list(wit.packages) == ["my:app", "dep:one", "dep:two", "dep:io"]
    assert wit.interface("my:app/a").types == {"t": t.U8, "y": t.U16}
    files = load([tmp_path / "a.wit", tmp_path / "b.wit", tmp_path / "deps" / "io" / "x.wit"])
    assert files.interface("my:app/a").types == {"t": t.U8, "y": t.U16}


def test_users_wit_may_use_wasi(tmp_path: Path) -> None:
    (tmp_path / "deps").mkdir()
    (tmp_path / "a.wit").write_text("package my:app; interface a { use wasi:io/streams@0.2.3.{input-stream}; }")
    # Tools put another release of a known package there.
    (tmp_path / "deps" / "io.wit").write_text("package wasi:io@0.2.3; interface streams { resource input-stream; }")
    wit = extended_wit([tmp_path])
    stream = resource(wit.interface("my:app/a"), "input-stream")
    assert stream is wit.interface("wasi:io/streams").types["input-stream"]
    assert wit.interface("wasi:io/streams").version == "0.2.12"
    assert wit.interface("wasi:http/types").types["input-stream"] is stream


# ---- the check of imports --------------------------------------------------------------------------------


def test_a_function_is_checked_by_the_names_in_a_component() -> None:
    stream, error = t.ResourceType("input-stream"), t.ResourceType("error")
    resources = {stream: ("wasi:io/streams@0.2.3", "input-stream"), error: ("wasi:io/error@0.2.3", "error")}

    def read(length: t.ValType, error: t.ResourceType) -> str | None:
        stream_error = t.Variant((("last-operation-failed", t.Own(error)), ("closed", None)))
        params = (("self", t.Borrow(stream)), ("len", length))
        declared = t.FuncType(params, t.Result(t.List(t.U8), stream_error))
        return host_wit().check("wasi:io/streams@0.2.3", "[method]input-stream.read", declared, resources)

    assert read(t.U64, error) is None
    assert read(t.U32, error) == "parameter len: component has u32, host has u64"
    assert read(t.U64, stream) == (
        "result, err, case last-operation-failed: component has input-stream, host has error"
    )
    # A resource that the component did not import is not one of the host's.
    assert read(t.U64, t.ResourceType("error")) == (
        "result, err, case last-operation-failed: component has error, host has another resource of that name"
    )


def test_a_resource_may_be_imported_from_an_interface_that_uses_it() -> None:
    body, stream = t.ResourceType("outgoing-body"), t.ResourceType("output-stream")
    resources = {r: ("wasi:http/types@0.2.0", r.name) for r in (body, stream)}
    declared = t.FuncType((("self", t.Borrow(body)),), t.Result(t.Own(stream), None))
    assert host_wit().check("wasi:http/types@0.2.0", "[method]outgoing-body.write", declared, resources) is None


def test_a_function_that_wit_does_not_have_is_a_mismatch() -> None:
    line = host_wit().check("wasi:io/poll@0.2.0", "poll-all", t.FuncType(()), {})
    assert line == "wasi:io/poll@0.2.12 has no such function"


@pytest.mark.parametrize("interface", ["wasi:io/poll@0.3.0", "wasi:io/other@0.2.0", "acme:app/db", "db", ""])
def test_unknown_interfaces_are_not_checked(interface: str) -> None:
    assert host_wit().check(interface, "poll", t.FuncType(()), {}) is None


def test_doc_comments() -> None:
    text = """\
        /// The package.
        package a:b@1.0.0; // of nobody's

        /// An interface,
        ///   indented.
        // left out
        //// as well
        /// Its end.
        @since(version = 1.0.0)
        interface i {
          /** A block
           *  of /* nested */ lines.
           */
          record r { /// a field
            a: u32, b: u8, /// of nothing
          }
          @deprecated(version = 1.0.0)
          /// Behind its gate.
          f: func();
          /* no doc */ g: func(/// of a parameter
            a: u8);
          resource z {
            /// Makes one.
            constructor();
            /** Does it. */ m: func();
          }
        }
    """
    (package,) = parse_file(Source("a.wit", text))
    (interface,) = package.interfaces
    assert package.name is not None
    assert package.name.docs == "The package."
    assert interface.name.docs == "An interface,\n  indented.\nIts end."
    (record, body), (resource, _) = interface.types
    assert isinstance(body, TypeBody)
    assert [record.docs, resource.docs] == ["A block\n of /* nested */ lines.", ""]
    assert [name.docs for name, _ in body.members] == ["a field", ""]
    found = {function.name.text: function.name.docs for function in interface.functions}
    assert found == {"f": "Behind its gate.", "g": "", "": "Makes one.", "m": "Does it."}
