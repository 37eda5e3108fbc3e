"""Requests with what became of them, as a cassette holds them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wasi_trio.wasi.http._errors import (
    DNSErrorPayload,
    FieldSizePayload,
    HttpError,
    TLSAlertReceivedPayload,
)

#: names and values, in Latin-1, in order
Fields: TypeAlias = list[tuple[str, str]]

#: bytes of content that a cassette holds for one message
MOST = 16 << 20
#: the content codings that a cassette can look into
CODINGS = ("gzip", "deflate")

#: the payloads of error codes that have fields
PAYLOADS: dict[str, type[Any]] = {
    "DNS-error": DNSErrorPayload,
    "TLS-alert-received": TLSAlertReceivedPayload,
    "HTTP-request-header-size": FieldSizePayload,
    "HTTP-request-trailer-size": FieldSizePayload,
    "HTTP-response-header-size": FieldSizePayload,
    "HTTP-response-trailer-size": FieldSizePayload,
}


class CassetteError(Exception):
    """A cassette cannot be read, or an exchange of a guest cannot be recorded."""


@dataclass(frozen=True)
class Content:
    """Content without the ``coding`` that its message has it in; "" is none."""

    data: bytes = b""
    coding: str = ""

    def encoded(self) -> bytes:
        """The content as the message has it."""
        if self.coding == "gzip":
            return gzip.compress(self.data, mtime=0)
        if self.coding == "deflate":
            return zlib.compress(self.data)
        return self.data


@dataclass(frozen=True)
class RecordedRequest:
    method: str
    url: str
    headers: Fields
    content: Content = Content()
    trailers: Fields = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


@dataclass(frozen=True)
class RecordedResponse:
    status: int
    headers: Fields
    content: Content = Content()
    trailers: Fields = field(default_factory=list)


@dataclass(frozen=True)
class Interaction:
    """A request, and its response as far as it came.

    ``failure`` is the error that took the response's place, or cut it. ``left`` says that the guest did not wait for
    the response or its end.
    """

    request: RecordedRequest
    response: RecordedResponse | None = None
    failure: HttpError | None = None
    left: bool = False


def failure_with(failure: HttpError, change: Callable[[str], str]) -> HttpError:
    """An error with the texts in it changed."""
    value = failure.code.value
    if isinstance(value, str):
        value = change(value)
    elif isinstance(value, tuple):
        value = type(value)(*(change(part) if isinstance(part, str) else part for part in value))
    return HttpError(failure.code.case, value)


def decoded(data: bytes, headers: Fields, whole: bool) -> Content:
    """Content out of its coding. Raises CassetteError for a coding that is not among CODINGS, and for bad data."""
    coding = ", ".join(value for name, value in headers if name.lower() == "content-encoding").strip().lower()
    coding = {"x-gzip": "gzip", "identity": ""}.get(coding, coding)
    if not coding or not data:
        return Content(data)
    if coding not in CODINGS:
        raise CassetteError(f"the content is encoded as {coding}, in which secrets cannot be found")
    windows = (zlib.MAX_WBITS | 16,) if coding == "gzip" else (zlib.MAX_WBITS, -zlib.MAX_WBITS)
    for bits in windows:
        plain = _inflated(data, bits, whole)
        if plain is not None:
            return Content(plain, coding)
    raise CassetteError(f"the content is not {coding}, though its content-encoding says so")


def _inflated(data: bytes, bits: int, whole: bool) -> bytes | None:
    """Compressed data plain, None if it is bad; raises CassetteError if that is too large."""
    plain = bytearray()
    while data:
        inflater = zlib.decompressobj(bits)
        try:
            plain += inflater.decompress(data, MOST + 1 - len(plain))
        except zlib.error:
            return None
        if len(plain) > MOST:
            raise CassetteError(f"the content is larger than {MOST >> 20} MiB when decoded")
        if not inflater.eof:
            return None if whole else bytes(plain)
        data = inflater.unused_data
    return bytes(plain)
