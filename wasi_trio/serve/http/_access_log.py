"""What an access log is told of a response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from wasi_trio.serve.http._heads import Fields


class AccessRecord(NamedTuple):
    """A request and its response, which has gone out or was cut; ``seconds`` is the time between both."""

    client: tuple[str, int] | None
    version: str
    method: str
    scheme: str
    target: str
    headers: Fields
    status: int
    response_headers: list[tuple[bytes, bytes]]
    seconds: float
    #: such as the instance that the request had
    about: Mapping[str, str]


AccessLog: TypeAlias = Callable[[AccessRecord], None]
