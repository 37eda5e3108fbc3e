"""The heads of requests, and their validation (RFC 9110, RFC 9112, RFC 9113, RFC 3986).

httptools (llhttp) splits a head into its fields. It receives one complete head at a time and nothing after it, so that
its rules for content and upgrades have no effect. It also receives a fixed request line in place of the client's: HTTP
allows any method, and llhttp knows some forty. llhttp also accepts several spaces, and other protocols' versions. h11
takes twelve times as long for the same head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

import httptools

#: Field lines as received, with names in lower case.
Fields = list[tuple[str, bytes]]

#: A request line (RFC 9112, section 3): its method, its target and both numbers of its version.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/([0-9])\.([0-9])\r\n")
#: The line in its place for httptools.
_LINE = b"GET / HTTP/1.1\r\n"
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
#: The bytes that a field value must not contain (RFC 9110, section 5.5).
_FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
#: A path (RFC 3986, section 3.3) and a query. Browsers also send brackets in both, and the other extra bytes in
#: queries.
_PATH_AND_QUERY = re.compile(r"/[!$-;=@-Z_a-z~\[\]]*(?:\?[!$-;=?-Z_a-z~\[\]{}|\\^`]*)?\Z")
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|[-._~0-9A-Za-z%!$&'()*+,;=]*)(?::[0-9]{0,5})?\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*\Z")
_LENGTH = re.compile(rb"[0-9]{1,20}\Z")

#: Common field names, so that most names need no decoding.
_NAMES = {
    spelled.encode(): name
    for name in [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "if-modified-since",
        "if-none-match",
        "origin",
        "pragma",
        "range",
        "referer",
        "te",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ]
    for spelled in (name, name.title())
}


class BadRequest(Exception):
    """A request that violates HTTP. ``status`` is the status for the client, and the message is one line."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Http1Head:
    """The head of an HTTP/1 request. ``length`` is the length of its content, or None for chunks."""

    method: str
    scheme: str | None
    authority: str | None
    path_with_query: str
    minor_version: int
    headers: Fields
    length: int | None
    keep_alive: bool
    expects_continue: bool
    accepts_trailers: bool


class _Collector:
    """The callbacks for httptools."""

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def _split(data: bytes) -> list[tuple[bytes, bytes]]:
    """Split field lines, with the empty line at their end, into names and values. Raise BadRequest."""
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(_LINE + data)
    except httptools.HttpParserUpgrade:
        return collector.headers
    except httptools.HttpParserError as error:
        raise BadRequest(f"a malformed head: {error}") from None
    return collector.headers


def read_head(data: bytes) -> Http1Head:
    """Parse the complete head of an HTTP/1 request, with the empty line at its end. Raise BadRequest."""
    line = _REQUEST_LINE.match(data)
    if line is None:
        raise BadRequest("a malformed request line")
    method, target, major, minor = line.groups()
    if major != b"1":
        raise BadRequest("only HTTP/1 and HTTP/2 are supported", 505)
    if method == b"CONNECT":
        raise BadRequest("CONNECT is not supported", 501)
    # A client with a later version gets the behaviour of HTTP/1.1 (RFC 9110, section 2.5).
    reader = _Reader(method.decode("ascii"), target.decode("ascii"), 0 if minor == b"0" else 1)
    start = line.end()
    return reader.read(_split(data[start:]))


def read_trailers(data: bytes) -> Fields:
    """Parse a trailer section, with the empty line at its end. Raise BadRequest."""
    return [(_name(name), checked(value)) for name, value in _split(data)]


def _name(name: bytes) -> str:
    return _NAMES.get(name) or name.decode("latin-1").lower()


def checked(value: bytes) -> bytes:
    """Return a field value. Raise BadRequest if it contains a control character."""
    if _FORBIDDEN_IN_VALUE.search(value):
        raise BadRequest("a field's value contains a control character")
    return value


def check_name(name: str) -> None:
    """Raise BadRequest unless ``name`` is a field name in lower case, as HTTP/2 requires."""
    if not _FIELD_NAME.fullmatch(name):
        raise BadRequest("a malformed field name")


def check_method(method: str) -> None:
    """Raise BadRequest unless ``method`` is a supported method."""
    if not _TOKEN.fullmatch(method.encode("latin-1")):
        raise BadRequest("a malformed method")
    if method == "CONNECT":
        raise BadRequest("CONNECT is not supported", 501)


def check_path(path: str, method: str) -> None:
    """Raise BadRequest unless ``path`` is a path with an optional query, or ``*`` for OPTIONS."""
    if not _PATH_AND_QUERY.match(path) and not (path == "*" and method == "OPTIONS"):
        raise BadRequest("a malformed request target")


def check_authority(authority: str) -> None:
    """Raise BadRequest unless ``authority`` is a host with an optional port, or empty (RFC 9110, section 7.2)."""
    found = _AUTHORITY.match(authority)
    if found is None or authority.startswith(":"):
        raise BadRequest("a malformed host")
    if found["v6"]:
        try:
            IPv6Address(found["v6"])
        except AddressValueError:
            raise BadRequest("a malformed host") from None


#: The default ports.
_PORTS = {"http": "80", "https": "443"}


def is_same_authority(one: str, other: str, scheme: str) -> bool:
    """Return whether two authorities are the same for a scheme (RFC 3986, section 6.2.3)."""
    return one == other or _normalized(one, scheme) == _normalized(other, scheme)


def _normalized(authority: str, scheme: str) -> str:
    authority = authority.lower()
    host, _, port = authority.rpartition(":")
    return host if host and port in ("", _PORTS.get(scheme)) else authority


def check_scheme(scheme: str) -> None:
    """Raise BadRequest unless ``scheme`` is a URI scheme."""
    if not _SCHEME.match(scheme):
        raise BadRequest("a malformed scheme")


def read_length(value: bytes) -> int:
    """Parse the value of ``content-length``. Raise BadRequest."""
    if not _LENGTH.match(value):
        raise BadRequest("a malformed content-length")
    return int(value)


def tokens(value: bytes) -> list[bytes]:
    """Return the members of a list of tokens, in lower case."""
    return [token.strip(b" \t") for token in value.lower().split(b",")]


class _Reader:
    """Parses the fields of a head that concern the connection."""

    def __init__(self, method: str, target: str, minor_version: int) -> None:
        self._method = method
        self._target = target
        self._minor_version = minor_version
        self._host: str | None = None
        self._lengths: list[bytes] = []
        self._codings: list[bytes] = []
        self._connection: list[bytes] = []
        self._expects_continue = False
        self._accepts_trailers = False

    def read(self, lines: list[tuple[bytes, bytes]]) -> Http1Head:
        headers: Fields = []
        for spelled, value in lines:
            name = _name(spelled)
            if _FORBIDDEN_IN_VALUE.search(value):
                raise BadRequest("a field's value contains a control character")
            value = value.strip(b" \t")
            handle = _HANDLERS.get(name)
            if handle is not None:
                handle(self, value)
            headers.append((name, value))
        scheme, authority, path = self._split_target()
        connection = self._connection
        keep_alive = b"keep-alive" in connection if self._minor_version == 0 else True
        return Http1Head(
            self._method,
            scheme,
            authority,
            path,
            self._minor_version,
            headers,
            self._length(),
            keep_alive and b"close" not in connection,
            self._expects_continue and self._minor_version == 1,
            self._accepts_trailers and self._minor_version == 1,
        )

    def _on_host(self, value: bytes) -> None:
        if self._host is not None:
            raise BadRequest("more than one host field")
        self._host = value.decode("latin-1")

    def _on_length(self, value: bytes) -> None:
        self._lengths.append(value)

    def _on_coding(self, value: bytes) -> None:
        self._codings += tokens(value)

    def _on_connection(self, value: bytes) -> None:
        self._connection += tokens(value)

    def _on_expect(self, value: bytes) -> None:
        if value.lower() != b"100-continue":
            raise BadRequest("an unsupported expectation", 417)
        self._expects_continue = True

    def _on_te(self, value: bytes) -> None:
        self._accepts_trailers = self._accepts_trailers or b"trailers" in tokens(value)

    def _length(self) -> int | None:
        """Return the length of the content, or None for chunks (RFC 9112, section 6)."""
        if self._codings:
            if self._lengths:
                raise BadRequest("both content-length and transfer-encoding")
            if self._minor_version == 0:
                raise BadRequest("transfer-encoding in HTTP/1.0")
            if self._codings != [b"chunked"]:
                raise BadRequest("an unsupported transfer coding", 501)
            return None
        if not self._lengths:
            return 0
        if len(self._lengths) > 1:
            raise BadRequest("more than one content-length field")
        return read_length(self._lengths[0])

    def _split_target(self) -> tuple[str | None, str | None, str]:
        """Return the scheme, authority and path of the target (RFC 9112, section 3.2)."""
        host, target = self._host, self._target
        if host is None:
            if self._minor_version == 1:
                raise BadRequest("no host field")
        else:
            check_authority(host)
        scheme: str | None = None
        if not target.startswith("/") and target != "*":
            scheme, separator, rest = target.partition("://")
            if not separator:
                raise BadRequest("a malformed request target")
            check_scheme(scheme)
            scheme = scheme.lower()
            end = min([rest.find(mark) for mark in "/?" if mark in rest], default=len(rest))
            host, target = rest[:end], rest[end:]
            if not host:
                raise BadRequest("a malformed request target")
            check_authority(host)
            if not target.startswith("/"):
                target = "/" + target
        check_path(target, self._method)
        return scheme, host, target


#: The readers of fields that concern the connection.
_HANDLERS: dict[str, Callable[[_Reader, bytes], None]] = {
    "host": _Reader._on_host,
    "content-length": _Reader._on_length,
    "transfer-encoding": _Reader._on_coding,
    "connection": _Reader._on_connection,
    "expect": _Reader._on_expect,
    "te": _Reader._on_te,
}
