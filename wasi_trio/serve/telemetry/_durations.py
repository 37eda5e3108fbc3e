"""The durations of requests: the metric ``http.server.request.duration`` of the semantic conventions."""

from __future__ import annotations

from typing import Final, NamedTuple

from wasi_trio.serve.pool._metrics import Distribution

#: The bounds recommended by the conventions, in seconds.
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
#: The maximum number of kinds. Guests choose among 800 statuses.
MAX_KINDS: Final = 500


class Kind(NamedTuple):
    """The attributes that distinguish durations."""

    method: str
    scheme: str
    status: int | None
    failure: str | None
    version: str


#: The kind for requests beyond the maximum number of kinds.
REST: Final = Kind("", "", None, None, "")


class Durations:
    """A distribution for each kind of requests. One thread writes them; any thread may read them."""

    def __init__(self) -> None:
        self.kinds: dict[Kind, Distribution] = {}

    def observe(
        self, seconds: float, method: str, scheme: str, status: int | None, failure: str | None, version: str
    ) -> None:
        kind = Kind(method, scheme, status, failure, version)
        distribution = self.kinds.get(kind)
        if distribution is None:
            if len(self.kinds) >= MAX_KINDS:
                kind = REST
            distribution = self.kinds.setdefault(kind, Distribution(BOUNDS))
        distribution.observe(seconds)
