"""Requests and responses in the form in which tests write and read them."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import trio

from wasi_trio.wasi.http._body import Body, BodyClosed, Trailers
from wasi_trio.wasi.http._fields import FieldError, FieldMap, is_token
from wasi_trio.wasi.http._messages import Request
from wasi_trio.wasi.http._uri import is_target

#: The content of a message: bytes, text (encoded as UTF-8), or an iterable of pieces.
Content: TypeAlias = bytes | str | AsyncIterable[bytes]
#: Header or trailer fields. A name may occur several times. Text is encoded as Latin-1.
Fields: TypeAlias = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]

#: Methods whose requests state their length even if they are empty (RFC 9110, section 8.6).
_METHODS_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})


class Headers(Mapping[str, str]):
    """Received fields by case-insensitive name. The values of a repeated name are joined by commas.

    ``get_all`` returns each value. ``raw`` is the list of all fields as received.
    """

    def __init__(self, raw: Iterable[tuple[str, bytes]] = ()) -> None:
        self.raw = list(raw)

    def get_all(self, name: str) -> list[str]:
        """Return the values of a field, in order, or an empty list if the field is absent."""
        key = name.lower()
        return [value.decode("latin-1") for other, value in self.raw if other.lower() == key]

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.raw))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.raw})

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


class Incoming:
    """A message whose content may not have arrived completely."""

    def __init__(self, body: Body, headers: Iterable[tuple[str, bytes]]) -> None:
        self.headers = Headers(headers)
        self._body = body
        self._content: bytes | None = None

    async def read(self) -> bytes:
        """Return all of the content, except the pieces that an iteration has already yielded."""
        if self._content is None:
            self._content = b"".join([piece async for piece in self])
        else:
            await trio.lowlevel.checkpoint()
        return self._content

    async def text(self, encoding: str = "utf-8") -> str:
        """Return all of the content as text. Raises UnicodeDecodeError."""
        return (await self.read()).decode(encoding)

    async def json(self) -> Any:
        """Return all of the content decoded as JSON. Raises ValueError."""
        return json.loads(await self.read())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the content as it arrives. Cancellation of a step loses nothing."""
        if self._content is not None:
            if self._content:
                yield self._content
            return
        while piece := await self._receive():
            yield piece

    async def _receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return await self._body.receive_some()

    @property
    def trailers(self) -> Headers:
        """The fields after the content. Empty until all of the content has been read."""
        return Headers((self._body.trailers or ()) if self._body.ended else ())


class Feed:
    """Writes content into a body piece by piece."""

    def __init__(self, body: Body, content: AsyncIterable[bytes], trailers: Trailers) -> None:
        self._body = body
        self._content = content
        self._trailers = trailers

    async def run(self, pause: float | None = None) -> None:
        """Write the content until its end or until the reader closes the body.

        ``pause`` is the maximum time in seconds for each piece. Raises trio.TooSlowError and any exception of the
        content.
        """
        pieces = aiter(self._content)
        try:
            while True:
                with trio.fail_after(math.inf if pause is None else pause):
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                await self._body.send_all(piece)
                await trio.lowlevel.checkpoint()
        except BodyClosed:
            return
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
        self._body.finish(self._trailers)


def fields(source: Fields) -> list[tuple[str, bytes]]:
    """Return fields in the form in which they are sent. Raises ValueError for fields that HTTP or WASI forbids."""
    pairs = source.items() if isinstance(source, Mapping) else source
    checked = FieldMap()
    sent = []
    for name, value in pairs:
        try:
            encoded = value.encode("latin-1") if isinstance(value, str) else value
            checked.add(name, encoded)
            sent.append((name, encoded))
        except (FieldError, UnicodeEncodeError) as error:
            why = "belongs to the connection" if str(error) == "forbidden" else "is not a field of HTTP"
            raise ValueError(f"{name}: {value!r} {why}") from None
    return sent


def encode(
    headers: list[tuple[str, bytes]], content: Content | None, data: object, trailers: Fields, always: bool
) -> tuple[Body, Feed | None]:
    """Return the body for the content, or for ``data`` as JSON, and the feed for content in pieces.

    Adds content-type and content-length to ``headers`` if they are known and absent. The length 0 is added only if
    ``always``.
    """
    names = {name.lower() for name, _ in headers}
    if data is not None:
        if content is not None:
            raise ValueError("content and json exclude each other: pass one of them")
        content = json.dumps(data)
        if "content-type" not in names:
            headers.append(("content-type", b"application/json"))
    after = fields(trailers)
    if isinstance(content, AsyncIterable):
        body = Body()
        return body, Feed(body, content, after)
    whole = (content.encode() if isinstance(content, str) else content) or b""
    if (whole or always) and not after and "content-length" not in names:
        headers.append(("content-length", b"%d" % len(whole)))
    return Body.of(whole, after or None), None


def request(
    method: str, url: str, headers: Fields, content: Content | None, data: object, trailers: Fields
) -> tuple[Request, Feed | None]:
    """Return a request to a component, and the feed of its content. Raises ValueError."""
    if not is_token(method):
        raise ValueError(f"{method!r} is not a method")
    scheme, authority, path = "http", "localhost", url
    if not url.startswith("/"):
        parts = urlsplit(url)
        scheme, authority = parts.scheme, parts.netloc
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not scheme or not authority:
            raise ValueError(f"{url!r} is neither a path that begins with / nor a URL")
    if not (path.isascii() and is_target(path)):
        raise ValueError(f"{path!r} has characters that must be percent-encoded in a path")
    sent = fields(headers)
    body, feed = encode(sent, content, data, trailers, method in _METHODS_WITH_CONTENT)
    return Request(method, scheme, authority, path, sent, body), feed
