"""The resource ``request-options`` of wasi:http/types 0.3."""

from __future__ import annotations

from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http._request_options import RequestOptions as Timeouts

_DONE: Ok[None] = Ok(None)
_IMMUTABLE = Err(Variant("immutable"))


class RequestOptions:
    """The timeouts of a request, in nanoseconds. They are immutable once a request has them."""

    __slots__ = ("_between_bytes", "_connect", "_first_byte", "immutable")

    def __init__(self) -> None:
        self._connect: int | None = None
        self._first_byte: int | None = None
        self._between_bytes: int | None = None
        self.immutable = False

    def get_connect_timeout(self) -> int | None:
        return self._connect

    def set_connect_timeout(self, duration: int | None) -> Ok[None] | Err[Variant]:
        if self.immutable:
            return _IMMUTABLE
        self._connect = duration
        return _DONE

    def get_first_byte_timeout(self) -> int | None:
        return self._first_byte

    def set_first_byte_timeout(self, duration: int | None) -> Ok[None] | Err[Variant]:
        if self.immutable:
            return _IMMUTABLE
        self._first_byte = duration
        return _DONE

    def get_between_bytes_timeout(self) -> int | None:
        return self._between_bytes

    def set_between_bytes_timeout(self, duration: int | None) -> Ok[None] | Err[Variant]:
        if self.immutable:
            return _IMMUTABLE
        self._between_bytes = duration
        return _DONE

    def clone(self) -> RequestOptions:
        copy = RequestOptions()
        copy._connect = self._connect
        copy._first_byte = self._first_byte
        copy._between_bytes = self._between_bytes
        return copy

    def timeouts(self) -> Timeouts:
        return Timeouts.from_nanoseconds(self._connect, self._first_byte, self._between_bytes)
