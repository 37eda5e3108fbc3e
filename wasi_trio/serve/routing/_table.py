"""Which route a request goes to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from wasi_trio.serve.routing._patterns import Pattern, decoded, host_of, readings

T = TypeVar("T")

#: hosts that are remembered as clients sent them; there are as many as clients like, so then they are forgotten
MOST_KNOWN = 1024
#: what a path has that may be read in more than one way
_UNUSUAL = re.compile(r"%|/\.|//")


class Ambiguous(Exception):
    """A path leads to different routes, depending on how it is read."""


class _Prefixes(Generic[T]):
    """The routes of one host, by prefix."""

    __slots__ = ("by_prefix", "depth")

    def __init__(self) -> None:
        self.by_prefix: dict[str, T] = {}
        #: segments of the longest
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
    """Routes by their patterns, no two of which are the same.

    Of those that match, the one for the host itself comes before those for wildcards, of which a longer one comes
    first, and those before the ones for any host. Of routes for the same host the longest prefix comes first; a prefix
    matches whole segments.
    """

    def __init__(self, routes: Iterable[tuple[Pattern, T]]) -> None:
        self._hosts: dict[str, _Prefixes[T]] = {}
        given = list(routes)
        #: the one route of a table whose route is for all requests, as of a server without routes
        self._for_all = given[0][1] if len(given) == 1 and given[0][0] == Pattern("", "") else None
        for pattern, route in given:
            self._hosts.setdefault(pattern.host, _Prefixes()).add(pattern.prefix, route)
        #: labels of the longest wildcard
        self._labels = max((host.count(".") for host in self._hosts if host.startswith("*.")), default=0)
        self._any = [self._hosts[""]] if "" in self._hosts else []
        self._known: dict[str | None, list[_Prefixes[T]]] | None = {} if self._hosts.keys() - {""} else None

    def find(self, authority: str | None, path: str) -> T | None:
        """The route of a request, if there is one; raises Ambiguous.

        A path is compared decoded, since a character means the same percent-encoded (RFC 3986, section 6.2.2), but for
        a slash. What has dot segments, empty ones or encoded slashes must lead to the same route whether a program
        takes notice of them or not: the guest is given the path as it was sent, and nobody knows what it makes of them.
        """
        if self._for_all is not None:
            return self._for_all
        if not path.startswith("/"):  # the asterisk of OPTIONS
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
        """The routes for a host, those that come first first."""
        known = self._known
        if known is None:
            return self._any
        found = known.get(authority)
        if found is None:
            if len(known) >= MOST_KNOWN:
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
            if len(labels) == host.count(".") + 1:  # what is below a name has a label more
                labels = labels[1:]
            while labels:
                prefixes = self._hosts.get("*." + ".".join(labels))
                if prefixes is not None:
                    found.append(prefixes)
                labels = labels[1:]
        return found + self._any
