"""Hypothesis strategies for WIT syntax trees, and trees without the information that a text lacks."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

from wasi_trio.component._names import FunctionKind
from wasi_trio.component.wit._lexer import KEYWORDS, Source
from wasi_trio.component.wit._parser import PRIMITIVES
from wasi_trio.component.wit._tree import (
    Extern,
    FunctionNode,
    InterfaceNode,
    Name,
    NamedInterface,
    NamedType,
    PackageNode,
    Path,
    TypeBody,
    TypeForm,
    TypeNode,
    Use,
    WorldNode,
)


def without_offsets(tree: Any) -> Any:
    """Return a tree with every ``at`` set to 0 and every source empty."""
    if isinstance(tree, Source):
        return ("source",)
    if isinstance(tree, list):
        return [without_offsets(item) for item in tree]
    if dataclasses.is_dataclass(tree):
        return type(tree), [without_offsets(getattr(tree, field.name)) for field in dataclasses.fields(tree)]
    if isinstance(tree, tuple):
        fields = getattr(tree, "_fields", range(len(tree)))
        return [0 if field == "at" else without_offsets(item) for field, item in zip(fields, tree, strict=True)]
    return tree


#: Includes keywords. "error-context" can only be the name of a type.
labels = st.sampled_from([*sorted(KEYWORDS), "a", "b1", "long-name", "x-2", "HTTP", "TLS-alert-3", "to-URL"])
names = st.builds(Name, labels, st.just(0), st.just(""))
docs = st.sampled_from(["", "One line.", 'Two\n\nparagraphs, "quoted" \\ """.'])
#: Names that may have doc comments.
documented = st.builds(Name, labels, st.just(0), docs)
versions = st.sampled_from(["1.2.3", "0.2.9", "0.3.0-rc-2025-09-16", "2.0.0+build.7"])
words = st.sampled_from(["a", "acme", "my-pkg", *sorted(KEYWORDS)])


def distinct(what: st.SearchStrategy[Any], smallest: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    """Return pairs with distinct names as the first item."""
    key = lambda pair: pair[0].text.lower()  # noqa: E731
    return st.lists(what, min_size=smallest, max_size=3, unique_by=key).map(tuple)


primitives = st.builds(TypeForm, st.sampled_from(sorted(PRIMITIVES)), st.just(()), st.just(0), st.none())
named_types = st.builds(NamedType, labels, st.just(0))


def forms(inner: st.SearchStrategy[TypeNode]) -> st.SearchStrategy[TypeNode]:
    maybe = st.none() | inner

    def form(name: str, *args: st.SearchStrategy[Any], length: Any = None) -> st.SearchStrategy[TypeNode]:
        length = st.none() if length is None else length
        return st.builds(TypeForm, st.just(name), st.tuples(*args), st.just(0), length)

    return st.one_of(
        form("list", inner, length=st.none() | st.integers(1, 2**32 - 1)),
        form("option", inner),
        form("result", maybe, maybe),
        form("map", inner, inner),
        form("stream", maybe),
        form("future", maybe),
        form("borrow", named_types),
        form("own", named_types),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: TypeForm("tuple", tuple(items), 0)),
    )


types = st.recursive(primitives | named_types, forms, max_leaves=4)
bodies = st.one_of(
    st.builds(TypeBody, st.just("record"), distinct(st.tuples(documented, types), 1), st.just(0)),
    st.builds(TypeBody, st.just("variant"), distinct(st.tuples(documented, st.none() | types), 1), st.just(0)),
    st.builds(TypeBody, st.sampled_from(["enum", "flags"]), distinct(st.tuples(documented, st.none()), 1), st.just(0)),
)


@st.composite
def functions(draw: st.DrawFn, kind: FunctionKind = FunctionKind.FREE, resource: str | None = None) -> FunctionNode:
    constructor = kind is FunctionKind.CONSTRUCTOR
    return FunctionNode(
        kind,
        resource,
        Name("", 0, draw(docs)) if constructor else draw(documented),
        draw(distinct(st.tuples(names, types))),
        draw(st.none() | types),
        False if constructor else draw(st.booleans()),
    )


KINDS = (FunctionKind.CONSTRUCTOR, FunctionKind.METHOD, FunctionKind.STATIC)

paths = st.one_of(
    st.builds(Path, st.none(), labels, st.none(), st.just(0), st.just(())),
    st.builds(
        Path,
        st.builds("{}:{}".format, words, words),
        labels,
        st.none() | versions,
        st.just(0),
        st.just(()),
    ),
)
renamings = st.builds(lambda old, new: (old, new or old), names, st.none() | names)
included = st.builds(
    lambda path, renamed: path._replace(renamings=tuple(renamed)), paths, st.lists(renamings, max_size=2)
)
uses = st.builds(Use, paths, st.lists(renamings, min_size=1, max_size=3).map(tuple))


@st.composite
def interfaces(draw: st.DrawFn, in_world: bool = False) -> InterfaceNode:
    """Draw an interface with functions in the order of the text: those of resources first."""
    interface = InterfaceNode(draw(documented), draw(st.lists(uses, max_size=2)))
    interface.types += draw(distinct(st.tuples(documented, st.none() | bodies | types)))
    for name, node in interface.types:
        if node is None:
            for kind in draw(st.lists(st.sampled_from(KINDS), max_size=3)):
                interface.functions.append(draw(functions(kind, name.text)))
    if not in_world:
        interface.functions += draw(st.lists(functions(), max_size=3))
    return interface


externs: st.SearchStrategy[Extern] = st.one_of(
    paths, functions(), interfaces(), st.builds(NamedInterface, documented, paths)
)


@st.composite
def worlds(draw: st.DrawFn) -> WorldNode:
    own = draw(interfaces(in_world=True))
    sides = [draw(st.lists(externs, max_size=3)) for _ in range(2)]
    return WorldNode(own.name, own, *sides, draw(st.lists(included, max_size=2)))


@st.composite
def packages(draw: st.DrawFn, is_file: bool) -> PackageNode:
    name = draw(st.builds("{}:{}".format, words, words).map(lambda text: Name(text, 0, draw(docs))))
    package = PackageNode(Source("", ""), name, draw(st.none() | versions), is_file)
    if is_file and draw(st.booleans()):
        package.name = package.version = None
    package.aliases += draw(
        st.lists(st.builds(lambda path, name: (name or Name(path.name, 0), path), paths, st.none() | names), max_size=2)
    )
    package.worlds += draw(st.lists(worlds(), max_size=2))
    package.interfaces += draw(st.lists(interfaces(), max_size=2))
    return package


files = st.builds(lambda file, blocks: [file, *blocks], packages(True), st.lists(packages(False), max_size=2))
