"""Where a test's components come from: files, bytes, or WebAssembly text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from wasi_trio.wasi._loading import assembled, read_component

#: the path of a component, its bytes, or its text, which begins with ``(`` or a comment
Source: TypeAlias = str | os.PathLike[str] | bytes

_TEXT = ("(", ";;")


class Named(NamedTuple):
    """A component's bytes, and what to call it."""

    name: str
    data: bytes


def is_path(source: Source) -> bool:
    """Whether this says where a component is, and is not the component itself."""
    return isinstance(source, os.PathLike) or (isinstance(source, str) and not source.lstrip().startswith(_TEXT))


def read(sources: Sequence[Source]) -> list[Named]:
    """The components, each with a name of its own unless it is the same file; raises LoadError."""
    named = []
    for number, source in enumerate(sources, 1):
        name = "the component" if len(sources) == 1 else f"component {number}"
        if is_path(source):
            assert not isinstance(source, bytes)
            name = os.fspath(source)
            data = read_component(name)
        else:
            data = source.encode() if isinstance(source, str) else bytes(source)  # type: ignore[arg-type]
        named.append(Named(name, assembled(data, name)))
    return named
