"""The table of routes, which finds the route of a request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from wasi_trio.serve.routing._patterns import Pattern, decoded, host_of, readings

T = TypeVar("T")

#: The maximum number of cached hosts, as clients sent them. A full cache is cleared.
MAX_CACHED = 1024
#: The parts of a path with several interpretations.
_UNUSUAL = re.compile(r"%|/\.|//")


class Ambiguous(Exception):
    """Different interpretations of a path lead to different routes."""


class _Prefixes(Generic[T]):
    """The routes of one host by prefix."""

    __slots__ = ("by_prefix", "depth")

    def __init__(self) -> None:
        self.by_prefix: dict[str, T] = {}
        #: The number of segments of the longest prefix.
        self.depth = 0

    def add(self, prefix: str, route: T) -> None:
        self.by_prefix[prefix] = route
        self.depth = max(self.depth, prefix.count("/"))

    def find(self, path: str) -> T | None:
        by_prefix = self.by_prefix
        found = by_prefix.get("")
        end = 0
        for _ in range(self.depth):
            end = path.find("/", end + 1)
            if end < 0:
                return by_prefix.get(path, found)
            found = by_prefix.get(path[:end], found)
        return found


class RouteTable(Generic[T]):
    """Routes by their patterns, which are all different.

    An exact host takes precedence over wildcards, a longer wildcard over a shorter one, and any wildcard over a route
    for any host. Among routes for the same host, the longest prefix takes precedence. A prefix matches whole segments.
    """

    def __init__(self, routes: Iterable[tuple[Pattern, T]]) -> None:
        self._hosts: dict[str, _Prefixes[T]] = {}
        given = list(routes)
        #: The only route, if it matches all requests, as in a server without routes.
        self._for_all = given[0][1] if len(given) == 1 and given[0][0] == Pattern("", "") else None
        for pattern, route in given:
            self._hosts.setdefault(pattern.host, _Prefixes()).add(pattern.prefix, route)
        #: The number of labels of the longest wildcard.
        self._labels = max((host.count(".") for host in self._hosts if host.startswith("*.")), default=0)
        self._any = [self._hosts[""]] if "" in self._hosts else []
        self._known: dict[str | None, list[_Prefixes[T]]] | None = {} if self._hosts.keys() - {""} else None

    def find(self, authority: str | None, path: str) -> T | None:
        """Return the route of a request, if any. Raise Ambiguous.

        A path is compared after decoding, except for slashes, because an encoded character has the same meaning (RFC
        3986, section 6.2.2). With dot segments, empty segments or encoded slashes, all interpretations of the path must
        lead to the same route: the guest receives the path as sent, and its interpretation is unknown.
        """
        if self._for_all is not None:
            return self._for_all
        if not path.startswith("/"):  # the asterisk form of OPTIONS
            path = "/"
        hosts = self._of(authority)
        if not _UNUSUAL.search(path):
            return self._find(hosts, path)
        path = decoded(path)
        found = self._find(hosts, path)
        if any(self._find(hosts, reading) is not found for reading in readings(path)):
            raise Ambiguous
        return found

    @staticmethod
    def _find(hosts: list[_Prefixes[T]], path: str) -> T | None:
        for prefixes in hosts:
            found = prefixes.find(path)
            if found is not None:
                return found
        return None

    def _of(self, authority: str | None) -> list[_Prefixes[T]]:
        """Return the routes for a host in order of precedence."""
        known = self._known
        if known is None:
            return self._any
        found = known.get(authority)
        if found is None:
            if len(known) >= MAX_CACHED:
                known.clear()
            found = known[authority] = self._look_up(host_of(authority))
        return found

    def _look_up(self, host: str) -> list[_Prefixes[T]]:
        found: list[_Prefixes[T]] = []
        if not host:
            return self._any
        if host in self._hosts and not host.startswith("*"):
            found.append(self._hosts[host])
        if not host.startswith("["):
            labels = host.split(".")[-self._labels :] if self._labels else []
            if len(labels) == host.count(".") + 1:  # a wildcard needs one more label in front
                labels = labels[1:]
            while labels:
                prefixes = self._hosts.get("*." + ".".join(labels))
                if prefixes is not None:
                    found.append(prefixes)
                labels = labels[1:]
        return found + self._any
