"""The world of a component as WIT, and its agreement with the component."""

from __future__ import annotations

import pytest
import wasmtime

from tests.guests import wat
from tests.guests.build import GUESTS, build
from wasi_trio.component import _types as t
from wasi_trio.component import wit
from wasi_trio.component._binary import decode
from wasi_trio.component._errors import Unsupported
from wasi_trio.component._plan import Lifted
from wasi_trio.component._planning import plan
from wasi_trio.component._sorts import Sort
from wasi_trio.component.wit._text import write
from wasi_trio.component.wit._world import describe
from wasi_trio.runtime._engine import Engine


def written(data: bytes) -> str:
    described = describe(decode(data))
    return write(described.packages, described.notes)


def assembled(text: str) -> bytes:
    """Return a component that wasmtime accepts as valid."""
    data = bytes(wasmtime.wat2wasm(text))
    with Engine(cache=False) as engine:
        engine.validate(data)
    return data


def check(data: bytes) -> None:
    """Check that every function has the same type in the text and in the component."""
    read = wit.parse(written(data))
    planned = plan(decode(data))
    resources = {resource: (interface, resource.name) for interface, resource in planned.resources}
    functions = [(func.interface, func.name, func.type) for func in planned.host_funcs]
    for name, (sort, item) in planned.exports.items():
        if sort is Sort.INSTANCE:
            found = item.exports.items()
            functions += [(name, inner, func.type) for inner, (_, func) in found if isinstance(func, Lifted)]
            for inner, (_, resource) in found:
                if isinstance(resource, t.ResourceType):
                    resources.setdefault(resource, (name, inner))
    assert functions
    for interface, function, type_ in functions:
        assert read.check(interface, function, type_, resources) is None, (interface, function)
    (world,) = read.packages["root:component"].worlds.values()
    assert list(dict.fromkeys(func.interface for func in planned.host_funcs)) == [
        name for name in world.imports if read.interface(name).functions
    ]
    assert set(world.exports) == set(planned.exports)


@pytest.mark.parametrize("name", wat.names())
def test_a_guest_written_by_hand(name: str) -> None:
    check(wat.load(name))


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_from_a_toolchain(name: str) -> None:
    check(build(name).read_bytes())


def test_types_are_compared() -> None:
    """The check above can fail: it detects another type for one function."""
    text = written(wat.load("hello"))
    assert "get-random" not in text
    other = wit.parse(text.replace("set: static func(param: response-outparam", "set: static func(param: fields"))
    planned = plan(decode(wat.load("hello")))
    resources = {resource: (interface, resource.name) for interface, resource in planned.resources}
    differences = [other.check(func.interface, func.name, func.type, resources) for func in planned.host_funcs]
    assert sum(difference is not None for difference in differences) == 1


def test_every_kind_of_type() -> None:
    data = assembled(
        """(component
          (import "acme:types/kinds@1.0.0" (instance
            (type $record (record (field "a" bool) (field "list" (list u8))))
            (export "rec" (type $rec (eq $record)))
            (type $variant (variant (case "none") (case "some" $rec)))
            (export "var" (type $var (eq $variant)))
            (type $defined-1 (enum "x" "y"))
            (export "en" (type $en (eq $defined-1)))
            (type $defined-2 (flags "read" "write"))
            (export "fl" (type $fl (eq $defined-2)))
            (export "res" (type $res (sub resource)))
            (export "again" (type $again (eq $res)))
            (type $primitive u64)
            (export "size" (type $size (eq $primitive)))
            (type $defined-3 (own $res))
            (export "owned" (type $owned (eq $defined-3)))
            (export "[constructor]res" (func (param "from" (tuple s8 s16 s32 s64)) (result (own $res))))
            (export "[static]res.open" (func (param "name" string) (result (result (own $again) (error $en)))))
            (export "[method]res.close" (func (param "self" (borrow $res)) (param "how" (option $fl))))
            (export "plain" (func (param "v" $var) (param "s" $size) (param "o" $owned) (param "c" char)
              (result (tuple f32 f64 u16 u32))))
            (export "waits" (func async (param "s" (stream u8)) (param "e" (stream)) (result (future (result)))))
            (export "both" (func (result (result string (error $rec))))))))"""
    )
    assert (
        written(data)
        == """\
package root:component;

world root {
  import acme:types/kinds@1.0.0;
}

package acme:types@1.0.0 {
  interface kinds {
    record rec {
      a: bool,
      %list: list<u8>,
    }

    variant var {
      none,
      some(rec),
    }

    enum en {
      x,
      y,
    }

    flags fl {
      read,
      write,
    }

    resource res {
      constructor(%from: tuple<s8, s16, s32, s64>);
      open: static func(name: string) -> result<again, en>;
      close: func(how: option<fl>);
    }

    type again = res;

    type size = u64;

    type owned = own<res>;

    plain: func(v: var, s: size, o: owned, c: char) -> tuple<f32, f64, u16, u32>;
    waits: async func(s: stream<u8>, e: stream) -> future<result>;
    both: func() -> result<string, rec>;
  }
}
"""
    )
    check(data)


def test_functions_types_and_interfaces_of_the_world_itself() -> None:
    data = assembled(
        """(component
          (import "acme:log/types" (instance $types (type $defined-4 (enum "low" "high"))
            (export "level" (type (eq $defined-4)))))
          (alias export $types "level" (type $level'))
          (import "level" (type $level (eq $level')))
          (type $point' (record (field "x" s32)))
          (import "point" (type $point (eq $point')))
          (import "file" (type $file (sub resource)))
          (import "[method]file.size" (func (param "self" (borrow $file)) (result u64)))
          (import "log" (func async (param "level" $level) (param "at" $point)))
          (import "store" (instance
            (export "item" (type $item (sub resource)))
            (export "get" (func (param "key" string) (result (option (own $item)))))))
          (core module $M (func (export "run") (result i32) (i32.const 0)))
          (core instance $m (instantiate $M))
          (func $run (result u32) (canon lift (core func $m "run")))
          (export "run" (func $run))
          (instance $api (export "run" (func $run)))
          (export "api" (instance $api)))"""
    )
    assert (
        written(data)
        == """\
package root:component;

world root {
  use acme:log/types.{level};

  record point {
    x: s32,
  }

  resource file {
    size: func() -> u64;
  }

  import acme:log/types;
  import log: async func(level: level, at: point);
  import store: interface {
    resource item;

    get: func(key: string) -> option<item>;
  }

  export run: func() -> u32;
  export api: interface {
    run: func() -> u32;
  }
}

package acme:log {
  interface types {
    enum level {
      low,
      high,
    }
  }
}
"""
    )
    wit.parse(written(data))


#: A resource defined in one interface and used by a second one, as toolchains write it.
SHARED = """(component
  (type $r (resource (rep i32)))
  (core module $M
    (func (export "get") (result i32) (i32.const 0))
    (func (export "put") (param i32)))
  (core instance $m (instantiate $M))
  (func $get (result (own $r)) (canon lift (core func $m "get")))
  (func $put (param "what" (own $r)) (canon lift (core func $m "put")))
  (component $First
    (import "import-type-r" (type $r (sub resource)))
    (import "import-func-get" (func $get (result (own $r))))
    (export $r' "r" (type $r))
    (export "get" (func $get) (func (result (own $r')))))
  (instance $first (instantiate $First (with "import-type-r" (type $r)) (with "import-func-get" (func $get))))
  (export $exported "acme:mine/first@0.1.0" (instance $first))
  (component $Second
    (import "import-type-r" (type $r (sub resource)))
    (import "import-func-put" (func $put (param "what" (own $r))))
    (export $r' "thing" (type $r))
    (export "put" (func $put) (func (param "what" (own $r')))))
  (instance $second (instantiate $Second (with "import-type-r" (type %s)) (with "import-func-put" (func $put))))
  (export "acme:mine/second@0.1.0" (instance $second))
  %s)"""


@pytest.mark.parametrize("type_", ["$r", '$exported "r"'])
def test_a_resource_of_its_own_in_two_interfaces(type_: str) -> None:
    alias = "$r" if type_ == "$r" else "$theirs"
    text = SHARED % (alias, "")
    if type_ != "$r":
        text = text.replace("(component $Second", '(alias export $exported "r" (type $theirs)) (component $Second')
    data = assembled(text)
    assert written(data).endswith(
        """\
package acme:mine@0.1.0 {
  interface first {
    resource r;

    get: func() -> r;
  }

  interface second {
    use first.{r as thing};

    put: func(what: thing);
  }
}
"""
    )
    check(data)


def test_an_interface_that_is_imported_and_exported() -> None:
    """The interface merges both sides. If they have different items under one name, a note says so."""
    data = assembled(
        """(component
          (import "acme:a/i" (instance $i (type $defined-5 (enum "x"))
            (export "t" (type (eq $defined-5))) (export "f" (func (param "a" u8)))))
          (core module $M (func (export "g") (param i32)))
          (core instance $m (instantiate $M))
          (func $f (param "a" u16) (canon lift (core func $m "g")))
          (func $g (param "a" u8) (canon lift (core func $m "g")))
          (instance $own (export "f" (func $f)) (export "g" (func $g)))
          (export "acme:a/i" (instance $own)))"""
    )
    text = written(data)
    assert text.startswith("// left out: acme:a/i exports another f than it imports\n")
    interface = wit.parse(text).interface("acme:a/i")
    assert interface.functions == {
        "f": t.FuncType((("a", t.U8),), None),
        "g": t.FuncType((("a", t.U8),), None),
    }
    assert list(interface.types) == ["t"]


def test_unnamed_types_get_names() -> None:
    """WIT has no anonymous types, so such a type gets a new name."""
    data = assembled(
        """(component
          (import "acme:a/types" (instance $types
            (type $defined-6 (enum "x"))
            (export "t" (type (eq $defined-6)))
            (export "r" (type (sub resource)))))
          (alias export $types "t" (type $t))
          (alias export $types "r" (type $r))
          (import "acme:b/i" (instance
            (export "t" (func (param "a" $t) (param "b" (list $t)) (param "r" (borrow $r)) (result (own $r)))))))"""
    )
    assert written(data).endswith(
        """\
package acme:b {
  interface i {
    use acme:a/types.{t as t-2, r};

    t: func(a: t-2, b: list<t-2>, r: borrow<r>) -> r;
  }
}
"""
    )
    wit.parse(written(data))


def test_a_type_of_an_interface_without_a_name_of_its_own() -> None:
    data = assembled(
        """(component
          (import "store" (instance $store (export "item" (type (sub resource))) (type $defined-7 (enum "x"))
            (export "kind" (type (eq $defined-7)))))
          (alias export $store "item" (type $item))
          (alias export $store "kind" (type $kind))
          (import "give" (func (param "item" (own $item)) (param "kind" $kind))))"""
    )
    text = written(data)
    assert text.startswith(
        "// the type item in the world equals the type of that name elsewhere\n"
        "// the type kind in the world equals the type of that name elsewhere\n"
    )
    assert "  resource item;\n\n  enum kind {\n    x,\n  }\n" in text
    wit.parse(text)


def test_items_that_wit_cannot_express() -> None:
    data = assembled(
        """(component
          (import "url=<https://example.com>" (instance $url))
          (import "acme:a/i" (instance (export "inner" (instance (export "f" (func)))) (export "f" (func))))
          (import "m" (core module (import "a" "b" (func))))
          (type $t (record (field "a" u8)))
          (export "t" (type $t)))"""
    )
    text = written(data)
    notes = [line.removeprefix("// ") for line in text.splitlines() if line.startswith("//")]
    assert sorted(notes) == [
        "left out: acme:a/i contains inner (instance)",
        "left out: m (core module)",
        "left out: url=<https://example.com> (instance)",
        "the type t is exported",
    ]
    assert wit.parse(text).interface("acme:a/i").functions.keys() == {"f"}


def test_a_composition() -> None:
    """The calls between its inner components do not show."""
    data = assembled(
        """(component
          (import "acme:a/i" (instance $i (export "f" (func (param "a" u8) (result u16)))))
          (component $Inner
            (import "acme:a/i" (instance $i (export "f" (func (param "a" u8) (result u16)))))
            (core func $f (canon lower (func $i "f")))
            (core module $M (import "" "f" (func $f (param i32) (result i32)))
              (func (export "g") (param i32) (result i32) (call $f (local.get 0))))
            (core instance $m (instantiate $M (with "" (instance (export "f" (func $f))))))
            (func $g (param "a" u8) (result u16) (canon lift (core func $m "g")))
            (instance $o (export "g" (func $g)))
            (export "acme:a/o" (instance $o)))
          (instance $one (instantiate $Inner (with "acme:a/i" (instance $i))))
          (alias export $one "acme:a/o" (instance $o))
          (export "acme:b/renamed" (instance $o)))"""
    )
    check(data)
    assert "inner" not in written(data)
    assert written(data).endswith("package acme:b {\n  interface renamed {\n    g: func(a: u8) -> u16;\n  }\n}\n")


def test_too_many_instances_are_refused() -> None:
    """Each component instantiates the one before it ten times."""
    inside = '(instance (instantiate $inner (with "f" (func $f))))' * 10
    text = '(component $c0 (import "f" (func)))' + "".join(
        f'(component $c{n} (import "f" (func $f)) (alias outer 1 $c{n - 1} (component $inner)) {inside})'
        for n in range(1, 9)
    )
    data = bytes(
        wasmtime.wat2wasm(
            f'(component (import "f" (func $f)) {text} (instance (instantiate $c8 (with "f" (func $f)))))'
        )
    )
    with pytest.raises(Unsupported, match="have more than 1000000 definitions"):
        describe(decode(data))


def test_too_large_types_are_refused() -> None:
    """Each type is a tuple of two of the type before it, and has no name that would shorten the text."""
    types = "".join(f"(type $t{n} (tuple $t{n - 1} $t{n - 1}))" for n in range(1, 25))
    data = bytes(wasmtime.wat2wasm(f'(component (type $t0 (tuple u8)) {types} (import "f" (func (param "a" $t24))))'))
    with pytest.raises(Unsupported, match="have more than 100000 parts"):
        describe(decode(data))
