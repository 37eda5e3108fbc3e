"""The record of a response for the access log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from wasi_trio.serve.http._heads import Fields


class AccessRecord(NamedTuple):
    """A request and its response, which was sent or cut. ``seconds`` is the time between the two."""

    client: tuple[str, int] | None
    version: str
    method: str
    scheme: str
    target: str
    headers: Fields
    status: int
    response_headers: list[tuple[bytes, bytes]]
    seconds: float
    #: Fields that identify the request, such as its instance.
    about: Mapping[str, str]


AccessLog: TypeAlias = Callable[[AccessRecord], None]
