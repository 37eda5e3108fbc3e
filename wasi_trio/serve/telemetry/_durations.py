"""How long requests take, by what the semantic conventions tell them apart by: ``http.server.request.duration``."""

from __future__ import annotations

from typing import Final, NamedTuple

from wasi_trio.serve.pool._metrics import Distribution

#: bounds, in seconds, that the conventions advise
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
#: kinds of requests that are told apart: guests choose statuses, of which there are 800
MOST: Final = 500


class Kind(NamedTuple):
    """A kind of requests, of which there are few."""

    method: str
    scheme: str
    status: int | None
    failure: str | None
    version: str


#: all those that there was no room for
REST: Final = Kind("", "", None, None, "")


class Durations:
    """A distribution for each kind of requests. To be fed from one thread; any may read it."""

    def __init__(self) -> None:
        self.kinds: dict[Kind, Distribution] = {}

    def observe(
        self, seconds: float, method: str, scheme: str, status: int | None, failure: str | None, version: str
    ) -> None:
        kind = Kind(method, scheme, status, failure, version)
        distribution = self.kinds.get(kind)
        if distribution is None:
            if len(self.kinds) >= MOST:
                kind = REST
            distribution = self.kinds.setdefault(kind, Distribution(BOUNDS))
        distribution.observe(seconds)
