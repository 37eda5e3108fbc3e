"""What an operator says of routes: which requests each is for, and what answers them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wasi_trio.serve.routing._patterns import Pattern, parse_pattern
from wasi_trio.wasi._arguments import parse_component
from wasi_trio.wasi.registry._references import is_reference

#: what a route may be called, as the label of metrics
_LABEL = re.compile(r"[\x21-\x7e]{1,200}\Z")
#: stands for all requests that no other route is for
EVERYTHING = Pattern("", "")


@dataclass(frozen=True, slots=True)
class RouteOrder:
    """One route.

    The first of ``components`` is given its requests, each answers what the one before it asks of
    ``wasi:http/handler``, and the last may ask that of the files in the folder ``files``, which answer the requests
    themselves where there are no components. Neither stands for the component that is built in. With ``strip_prefix``
    they see the path below the route's prefix. ``settings`` are the values, by name, that are others than the server's.
    """

    pattern: Pattern
    components: tuple[str, ...] = ()
    files: str | None = None
    strip_prefix: bool = False
    label: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called in metrics and logs."""
        return self.label or str(self.pattern)

    @property
    def watched(self) -> tuple[str, ...]:
        """The files and folders that it is read from: not the components that are in a registry."""
        files = [path for path in self.components if not is_reference(path)]
        return (*files, *([self.files] if self.files else []))


def parse_route(text: str) -> RouteOrder:
    """``HOST/PREFIX=FILE[,FILE...]``, where a last FILE that ends with a slash is a folder; raises ValueError."""
    pattern, equals, what = text.partition("=")
    paths = what.split(",")
    if not equals or not pattern or not all(paths):
        raise ValueError(f"{text!r} is not of the form HOST/PREFIX=FILE or HOST/PREFIX=FOLDER/")
    files = paths.pop() if paths[-1].endswith("/") and not is_reference(paths[-1]) else None
    return make_route(parse_pattern(pattern), paths, files)


def make_route(
    pattern: Pattern,
    components: Sequence[str],
    files: str | None,
    *,
    strip_prefix: bool = False,
    label: str = "",
    settings: Mapping[str, Any] | None = None,
) -> RouteOrder:
    """Raises ValueError for what is no route."""
    for path in components:
        parse_component(path)
        if path.endswith("/") and not is_reference(path):
            raise ValueError(f"{path!r}: a folder of files can only be the last that answers a route")
    if files is not None:
        _check_folder(files)
    if not components and files is None:
        raise ValueError(f"the route {str(pattern)!r} has neither a component nor files")
    if label and not _LABEL.match(label):
        raise ValueError(f"{label!r} is not a route's name: up to 200 visible characters of ASCII")
    return RouteOrder(pattern, tuple(components), files, strip_prefix, label, settings or {})


def _check_folder(path: str) -> None:
    if "\0" in path or not path:
        raise ValueError(f"{path!r} is not a folder's path")
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK))
    except OSError as error:
        raise ValueError(f"cannot open {path!r} as a directory: {error.strerror}") from None


def all_routes(declared: Sequence[RouteOrder], components: Sequence[str]) -> tuple[RouteOrder, ...]:
    """The routes of a server, of which ``components`` answer what no route is for; raises ValueError."""
    routes = list(declared)
    if components or not routes:
        routes.append(RouteOrder(EVERYTHING, tuple(components)))
    patterns: set[Pattern] = set()
    names: set[str] = set()
    for route in routes:
        if route.pattern in patterns:
            also = ", which the components without a route answer" if components and route is routes[-1] else ""
            raise ValueError(f"there are two routes for {str(route.pattern)!r}{also}")
        if route.name in names:
            raise ValueError(f"there are two routes of the name {route.name!r}")
        patterns.add(route.pattern)
        names.add(route.name)
    return tuple(routes)
