"""A syntax tree that is written as text is read back unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.component.wit_trees import files, without_offsets
from wasi_trio.component.wit._lexer import Source
from wasi_trio.component.wit._parser import parse_file
from wasi_trio.component.wit._text import write
from wasi_trio.component.wit._tree import PackageNode
from wasi_trio.wasi.wit import FEATURES

VENDORED = sorted((Path(__file__).parents[2] / "wasi_trio" / "wasi" / "wit").rglob("*.wit"))


def parsed(text: str) -> list[PackageNode]:
    return parse_file(Source("test.wit", text), FEATURES)


def in_order(packages: list[PackageNode]) -> list[PackageNode]:
    """Return packages with functions in the order in which they are written."""
    for interface in (interface for package in packages for interface in package.interfaces):
        resources = [name.text for name, node in interface.types if node is None]
        interface.functions.sort(
            key=lambda function: len(resources) if function.resource is None else resources.index(function.resource)
        )
    return packages


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(files)
def test_any_tree(tree: list[PackageNode]) -> None:
    assert without_offsets(parsed(write(tree))) == without_offsets(tree)


@pytest.mark.parametrize("path", VENDORED, ids=lambda path: "/".join(path.parts[-3:]))
def test_the_vendored_files(path: Path) -> None:
    tree = in_order(parsed(path.read_text("utf-8")))
    again = parsed(write(tree))
    assert without_offsets(again) == without_offsets(tree)
    assert write(again) == write(tree)


def test_the_layout_of_the_text() -> None:
    text = """\
// of three lines

package acme:%type@1.2.3;

use other:pkg/iface@0.1.0 as it;

world w {
  include base;

  use it.{thing, %resource as r};

  flags rights {
    read,
    %record,
  }

  import acme:%type/i@1.2.3;
  import log: async func(line: string);
  import nothing: interface {}

  export named: it;
}

interface i {
  resource r {
    constructor(%list: list<u8, 4>) -> result<r, string>;
    get: func() -> option<tuple<u8, map<string, borrow<r>>>>;
    find: static async func() -> result<_, own<r>>;
  }

  resource empty;

  variant v {
    none,
    some(stream),
  }

  type t = future<result<u8>>;

  f: func(v: v, t: stream<t>) -> result;
}

package acme:other {
  interface j {}
}
"""
    assert write(parsed(text), ["of three\nlines"]) == text


def test_an_empty_package() -> None:
    assert write([]) == ""
    assert write(parsed("")) == ""
    assert write([PackageNode(Source("", ""), interfaces=[])], ["only a note"]) == "// only a note\n"
