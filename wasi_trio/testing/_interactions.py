"""The interactions of a cassette: requests with their responses or failures."""

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

#: Pairs of a name and a value, in order. Values have only Latin-1 characters.
Fields: TypeAlias = list[tuple[str, str]]

#: Maximum size of one message's content, in bytes.
MAX_CONTENT = 16 << 20
#: The content codings that a cassette can decode.
CODINGS = ("gzip", "deflate")

#: The payload types of error codes whose payload is a record.
PAYLOADS: dict[str, type[Any]] = {
    "DNS-error": DNSErrorPayload,
    "TLS-alert-received": TLSAlertReceivedPayload,
    "HTTP-request-header-size": FieldSizePayload,
    "HTTP-request-trailer-size": FieldSizePayload,
    "HTTP-response-header-size": FieldSizePayload,
    "HTTP-response-trailer-size": FieldSizePayload,
}


class CassetteError(Exception):
    """A cassette cannot be read or written, or a guest's request cannot be recorded."""


@dataclass(frozen=True)
class Content:
    """Decoded content. ``coding`` is its content coding in the message, or ""."""

    data: bytes = b""
    coding: str = ""

    def encoded(self) -> bytes:
        """Return the content in its coding."""
        if self.coding == "gzip":
            return gzip.compress(self.data, mtime=0)
        if self.coding == "deflate":
            return zlib.compress(self.data)
        return self.data


@dataclass(frozen=True)
class RecordedRequest:
    """A request in a cassette."""

    method: str
    url: str
    headers: Fields
    content: Content = Content()
    trailers: Fields = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


@dataclass(frozen=True)
class RecordedResponse:
    """A response in a cassette."""

    status: int
    headers: Fields
    content: Content = Content()
    trailers: Fields = field(default_factory=list)


@dataclass(frozen=True)
class Interaction:
    """A request and its response, which may be incomplete.

    ``failure`` is the error that replaced or cut the response. ``left`` means that the guest left before the response
    or before its end.
    """

    request: RecordedRequest
    response: RecordedResponse | None = None
    failure: HttpError | None = None
    left: bool = False


def failure_with(failure: HttpError, change: Callable[[str], str]) -> HttpError:
    """Return an error in which ``change`` has replaced each string."""
    value = failure.code.value
    if isinstance(value, str):
        value = change(value)
    elif isinstance(value, tuple):
        value = type(value)(*(change(part) if isinstance(part, str) else part for part in value))
    return HttpError(failure.code.case, value)


def decoded(data: bytes, headers: Fields, whole: bool) -> Content:
    """Decode the content of a message with these headers. ``whole`` means that ``data`` is complete.

    Raises CassetteError for an unknown coding, for bad data, and for content of more than 16 MiB.
    """
    coding = ", ".join(value for name, value in headers if name.lower() == "content-encoding").strip().lower()
    coding = {"x-gzip": "gzip", "identity": ""}.get(coding, coding)
    if not coding or not data:
        return Content(data)
    if coding not in CODINGS:
        raise CassetteError(f"the content is encoded as {coding}, which cannot be searched for secrets")
    windows = (zlib.MAX_WBITS | 16,) if coding == "gzip" else (zlib.MAX_WBITS, -zlib.MAX_WBITS)
    for bits in windows:
        plain = _inflated(data, bits, whole)
        if plain is not None:
            return Content(plain, coding)
    raise CassetteError(f"the content is not {coding}, but its content-encoding is")


def _inflated(data: bytes, bits: int, whole: bool) -> bytes | None:
    """Return decompressed data; None for bad data. Raises CassetteError if the result is too large."""
    plain = bytearray()
    while data:
        inflater = zlib.decompressobj(bits)
        try:
            plain += inflater.decompress(data, MAX_CONTENT + 1 - len(plain))
        except zlib.error:
            return None
        if len(plain) > MAX_CONTENT:
            raise CassetteError(f"the content is larger than {MAX_CONTENT >> 20} MiB when decoded")
        if not inflater.eof:
            return None if whole else bytes(plain)
        data = inflater.unused_data
    return bytes(plain)
