"""Reads the components of a test from files, bytes or WebAssembly text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from wasi_trio.wasi._loading import assembled, read_component

#: The path of a component, its bytes, or its text, which begins with ``(`` or a comment.
Source: TypeAlias = str | os.PathLike[str] | bytes

_TEXT = ("(", ";;")


class Named(NamedTuple):
    """A component's bytes and its name."""

    name: str
    data: bytes


def is_path(source: Source) -> bool:
    """Return whether the source is the path of a component and not the component itself."""
    return isinstance(source, os.PathLike) or (isinstance(source, str) and not source.lstrip().startswith(_TEXT))


def read(sources: Sequence[Source]) -> list[Named]:
    """Read components. Their names are unique, except for a file that occurs twice. Raises LoadError."""
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
