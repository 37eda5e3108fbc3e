"""The declaration of routes: which requests each route matches, and what answers them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wasi_trio.serve.routing._patterns import Pattern, parse_pattern
from wasi_trio.wasi._arguments import parse_component
from wasi_trio.wasi.registry._references import is_reference

#: A valid name of a route. It becomes a label of metrics.
_LABEL = re.compile(r"[\x21-\x7e]{1,200}\Z")
#: The pattern that matches all requests that no other route matches.
EVERYTHING = Pattern("", "")


@dataclass(frozen=True, slots=True)
class RouteDeclaration:
    """The declaration of one route.

    The first of ``components`` receives the requests. Each component's wasi:http/handler requests go to the next one,
    and those of the last one to the files in the folder ``files``, if given. Without components, these files answer the
    requests. Without either, the built-in component does. With ``strip_prefix`` they see the path below the route's
    prefix. ``settings`` are the values that override the server's, by name.
    """

    pattern: Pattern
    components: tuple[str, ...] = ()
    files: str | None = None
    strip_prefix: bool = False
    label: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The route's name in metrics and logs."""
        return self.label or str(self.pattern)

    @property
    def watched(self) -> tuple[str, ...]:
        """The files and folders of the route. Components in a registry have none."""
        files = [path for path in self.components if not is_reference(path)]
        return (*files, *([self.files] if self.files else []))


def parse_route(text: str) -> RouteDeclaration:
    """Parse ``HOST/PREFIX=FILE[,FILE...]``. A last FILE with a slash at its end is a folder. Raise ValueError."""
    pattern, equals, what = text.partition("=")
    paths = what.split(",")
    if not equals or not pattern or not all(paths):
        raise ValueError(f"{text!r} is not of the form HOST/PREFIX=FILE or HOST/PREFIX=FOLDER/")
    files = paths.pop() if paths[-1].endswith("/") and not is_reference(paths[-1]) else None
    for path in paths:
        if os.path.isdir(path) and not path.endswith("/") and not is_reference(path):
            raise ValueError(f"{path!r} is a folder: write '{path}/' to serve its files")
    return make_route(parse_pattern(pattern), paths, files)


def make_route(
    pattern: Pattern,
    components: Sequence[str],
    files: str | None,
    *,
    strip_prefix: bool = False,
    label: str = "",
    settings: Mapping[str, Any] | None = None,
) -> RouteDeclaration:
    """Create a valid route. Raise ValueError for an invalid one."""
    for path in components:
        parse_component(path)
        if path.endswith("/") and not is_reference(path):
            raise ValueError(f"{path!r}: a folder of files must be the last part of a route")
    if files is not None:
        _check_folder(files)
    if not components and files is None:
        raise ValueError(f"the route {str(pattern)!r} has neither a component nor files")
    if label and not _LABEL.match(label):
        raise ValueError(f"{label!r} is not a name of a route: use at most 200 visible ASCII characters")
    return RouteDeclaration(pattern, tuple(components), files, strip_prefix, label, settings or {})


def _check_folder(path: str) -> None:
    if "\0" in path or not path:
        raise ValueError(f"{path!r} is not a folder's path")
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK))
    except OSError as error:
        raise ValueError(f"cannot open {path!r} as a directory: {error.strerror}") from None


def all_routes(declared: Sequence[RouteDeclaration], components: Sequence[str]) -> tuple[RouteDeclaration, ...]:
    """Return the routes of a server. ``components`` answer the requests without a route. Raise ValueError."""
    routes = list(declared)
    if components or not routes:
        routes.append(RouteDeclaration(EVERYTHING, tuple(components)))
    patterns: set[Pattern] = set()
    names: set[str] = set()
    for route in routes:
        if route.pattern in patterns:
            also = ", which the components without a route also answer" if components and route is routes[-1] else ""
            raise ValueError(f"two routes match {str(route.pattern)!r}{also}")
        if route.name in names:
            raise ValueError(f"two routes have the name {route.name!r}")
        patterns.add(route.pattern)
        names.add(route.name)
    return tuple(routes)
