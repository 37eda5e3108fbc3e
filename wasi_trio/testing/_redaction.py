"""Finds secrets in recorded messages and replaces them everywhere."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias
from urllib.parse import quote_plus, unquote, unquote_plus

from wasi_trio.testing._interactions import (
    Content,
    Fields,
    Interaction,
    RecordedRequest,
    RecordedResponse,
    failure_with,
)

REDACTED = "REDACTED"

#: The fields whose values are always replaced.
HEADERS = ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token")
#: The parameters of queries and forms, and members of JSON, whose values are always replaced.
PARAMETERS = ("access_token", "api_key", "apikey", "client_secret", "id_token", "password", "refresh_token")

#: Names, or a mapping of names to the replacements of their values.
Names: TypeAlias = Iterable[str] | Mapping[str, str]
#: A rule for secrets in content: a function that returns the content without them, or a regular expression. The groups
#: of an expression are secrets. Without groups, the whole match is a secret.
BodyRule: TypeAlias = str | re.Pattern[str] | Callable[[bytes], bytes]

#: Minimum size of a secret that is replaced outside of its own place, in bytes. A shorter one may be an ordinary word.
MIN_SECRET = 6
#: The fields whose value is a URL.
_URLS = ("location", "content-location", "referer")
#: The characters that JSON escapes by a backslash and a letter.
_SHORT = {'"': b'"', "\\": b"\\", "/": b"/", "\b": b"b", "\f": b"f", "\n": b"n", "\r": b"r", "\t": b"t"}
#: The characters that HTML escapes by a name.
_NAMED = {"&": b"amp", "<": b"lt", ">": b"gt", '"': b"quot", "'": b"apos"}
_FORM = "application/x-www-form-urlencoded"


class Redaction:
    """Rules that keep secrets out of a cassette's file.

    A value that one rule has replaced is a secret of the whole cassette. ``sweep`` replaces it everywhere, in plain
    form and in the encodings of messages.
    """

    def __init__(
        self,
        headers: Names = (),
        parameters: Names = (),
        body: BodyRule | Iterable[BodyRule] = (),
        values: str | Iterable[str | None] = (),
    ) -> None:
        self._headers = _replacements(HEADERS, headers)
        self._parameters = _replacements(PARAMETERS, parameters)
        rules: Iterable[BodyRule] = [body] if isinstance(body, (str, re.Pattern)) or callable(body) else body
        self._body = [re.compile(rule) if isinstance(rule, str) else rule for rule in rules]
        names = "|".join(re.escape(name) for name in self._parameters)
        self._member = re.compile(rf'"({names})"\s*:\s*"((?:[^"\\]|\\.)*)', re.IGNORECASE | re.DOTALL)
        self._secrets: dict[bytes, None] = {}
        self._pattern: re.Pattern[bytes] | None = None
        for value in [values] if isinstance(values, str) else values:
            if value:  # None is an unset environment variable.
                self._remember(value, minimum=1)

    # ---- by rule -----------------------------------------------------------------------------------------

    def apply(self, interaction: Interaction) -> Interaction:
        """Return an interaction in which the rules have replaced secrets, and remember these for ``sweep``."""
        response = interaction.response
        return replace(
            interaction,
            request=self.request(interaction.request),
            response=None if response is None else self._response(response),
        )

    def request(self, request: RecordedRequest) -> RecordedRequest:
        """Return a request in which the rules have replaced secrets, and remember these."""
        return replace(
            request,
            url=self._url(request.url),
            headers=self._fields(request.headers),
            content=self._content(request.content, request.headers),
            trailers=self._fields(request.trailers),
        )

    def _response(self, response: RecordedResponse) -> RecordedResponse:
        return replace(
            response,
            headers=self._fields(response.headers),
            content=self._content(response.content, response.headers),
            trailers=self._fields(response.trailers),
        )

    def _fields(self, fields: Fields) -> Fields:
        return [(name, self._field(name, value)) for name, value in fields]

    def _field(self, name: str, value: str) -> str:
        replacement = self._headers.get(name.lower())
        if replacement is None:
            return self._url(value) if name.lower() in _URLS else value
        for secret in _secrets_of_field(name.lower(), value):
            self._remember(secret)
        return replacement

    def _url(self, url: str) -> str:
        before, mark, query = url.partition("?")
        scheme, slashes, rest = before.partition("://")
        authority, slash, path = rest.partition("/")
        user, at, host = authority.rpartition("@")
        if at:
            for part in (user, *user.split(":")):
                self._remember(unquote(part))
            before = f"{scheme}{slashes}{REDACTED}@{host}{slash}{path}"
        query, hash_, fragment = query.partition("#")
        return f"{before}{mark}{self._pairs(query)}{hash_}{fragment}"

    def _pairs(self, query: str) -> str:
        return "&".join(map(self._pair, query.split("&")))

    def _pair(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        replacement = self._parameters.get(unquote_plus(name).lower())
        if replacement is None or not equals:
            return pair
        self._remember(value)
        self._remember(unquote_plus(value))
        return f"{name}={quote_plus(replacement)}"

    def _content(self, content: Content, headers: Fields) -> Content:
        if not content.data:
            return content
        data = content.data
        text, encoding = _decoded(data)
        if any(name.lower() == "content-type" and value.lower().startswith(_FORM) for name, value in headers):
            text = self._pairs(text)
        text = self._member.sub(self._replace_member, text)
        for rule in self._body:
            if isinstance(rule, re.Pattern):
                text = rule.sub(self._replace_match, text)
        data = text.encode(encoding)
        for rule in self._body:
            if not isinstance(rule, re.Pattern):
                data = rule(data)
        return replace(content, data=data)

    def _replace_member(self, match: re.Match[str]) -> str:
        self._remember(match[2])
        with suppress(ValueError):  # The text may only look like JSON.
            self._remember(json.loads(f'"{match[2]}"', strict=False))
        before = match[0][: match.start(2) - match.start()]
        return before + _json_escaped(self._parameters[match[1].lower()])

    def _replace_match(self, match: re.Match[str]) -> str:
        if not match.re.groups:
            self._remember(match[0])
            return REDACTED
        pieces, at = [], match.start()
        for group in range(1, match.re.groups + 1):
            start, end = match.span(group)
            if start < at:
                continue  # The group took no part in the match, or is within another group.
            self._remember(match[group])
            pieces += [match.string[at:start], REDACTED]
            at = end
        return "".join([*pieces, match.string[at : match.end()]])

    # ---- everywhere --------------------------------------------------------------------------------------

    def _remember(self, secret: str, minimum: int = MIN_SECRET) -> None:
        readings = [secret]
        with suppress(UnicodeError):  # A field is read as Latin-1, but is often UTF-8.
            readings.append(secret.encode("latin-1").decode())
        for text in readings:
            data = text.encode("utf-8", "surrogatepass")
            if len(data) >= minimum and text != REDACTED and data not in self._secrets:
                self._secrets[data] = None
                self._pattern = None

    def sweep(self, interaction: Interaction) -> Interaction:
        """Return an interaction without any of the remembered secrets."""
        response = interaction.response
        if response is not None:
            response = replace(
                response,
                headers=self._swept_fields(response.headers),
                content=self._swept(response.content, cut=interaction.left or interaction.failure is not None),
                trailers=self._swept_fields(response.trailers),
            )
        failure = interaction.failure
        return replace(
            interaction,
            request=self.sweep_request(interaction.request),
            response=response,
            failure=None if failure is None else failure_with(failure, self._swept_text),
        )

    def sweep_request(self, request: RecordedRequest) -> RecordedRequest:
        """Return a request without any of the remembered secrets."""
        return replace(
            request,
            method=self._swept_text(request.method),
            url=self._swept_text(request.url),
            headers=self._swept_fields(request.headers),
            content=self._swept(request.content),
            trailers=self._swept_fields(request.trailers),
        )

    def _swept_fields(self, fields: Fields) -> Fields:
        return [(name, self._swept_value(value)) for name, value in fields]

    def _swept_value(self, value: str) -> str:
        return self._without_secrets(value.encode("latin-1")).decode("latin-1")

    def _swept(self, content: Content, cut: bool = False) -> Content:
        data = self._without_secrets(content.data)
        return replace(content, data=self._without_beginning(data) if cut else data)

    def _without_beginning(self, data: bytes) -> bytes:
        """Return incomplete content, without the beginning of a secret at its end."""
        for secret in self._secrets:
            for size in range(len(secret) - 1, MIN_SECRET - 1, -1):
                if data.endswith(secret[:size]):
                    return data[:-size] + REDACTED.encode()
        return data

    def _swept_text(self, text: str) -> str:
        return self._without_secrets(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def _without_secrets(self, data: bytes) -> bytes:
        if not self._secrets or not data:
            return data
        if self._pattern is None:
            self._pattern = _pattern_of(self._secrets)
        return self._pattern.sub(REDACTED.encode(), data)


def _replacements(usual: Iterable[str], more: Names) -> dict[str, str]:
    replacements = dict.fromkeys(usual, REDACTED)
    more = [more] if isinstance(more, str) else more
    pairs = more.items() if isinstance(more, Mapping) else dict.fromkeys(more, REDACTED).items()
    return replacements | {name.lower(): replacement for name, replacement in pairs}


def _secrets_of_field(name: str, value: str) -> Iterator[str]:
    """Yield a field's value, and its parts that other messages may contain."""
    yield value
    if name in ("cookie", "set-cookie"):
        pairs = value.split(";") if name == "cookie" else [value.partition(";")[0]]
        for pair in pairs:
            crumb = pair.partition("=")[2].strip().strip('"')
            yield crumb
            yield unquote(crumb)
        return
    scheme, space, credentials = value.partition(" ")
    if space:
        yield credentials.strip()
    if scheme.lower() == "basic":
        try:
            user = base64.b64decode(credentials.strip() + "==").decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        yield user
        yield user.partition(":")[2]
    yield from re.findall(r'"([^"]*)"', credentials)


def _pattern_of(secrets: Iterable[bytes]) -> re.Pattern[bytes]:
    """Return an expression for all forms of some secrets."""
    forms: set[bytes] = {form for secret in secrets for form in _forms(secret)}
    longest_first = sorted(forms, key=lambda form: len(form), reverse=True)
    # The lookahead makes the search fast, because few places begin with one of these bytes.
    first = b"".join(
        rb"\x%02x" % byte for byte in sorted({byte for secret in secrets for byte in _first_bytes(secret)})
    )
    return re.compile(b"(?=[%b])(?:%b)" % (first, b"|".join(longest_first)))


def _first_bytes(secret: bytes) -> Iterator[int]:
    """Yield the possible first bytes of the forms of a secret."""
    character = secret.decode("utf-8", "surrogatepass")[0]
    yield from (*b"%\\&+", secret[0])
    yield from (secret.hex()[:1] + secret.hex()[:1].upper()).encode()
    yield from character.encode("latin-1", "ignore")
    for form in _base64(secret):
        yield form[0]


def _forms(secret: bytes) -> Iterator[bytes]:
    """Yield regular expressions for the forms of a secret in messages."""
    # Encoders escape different characters, so each character may be escaped or not.
    yield b"".join(map(_character, secret.decode("utf-8", "surrogatepass")))
    yield b"(?i:%b)" % secret.hex().encode()
    yield from map(re.escape, _base64(secret))


def _base64(secret: bytes) -> Iterator[bytes]:
    """Yield a secret in base64 at each offset, without the ends, which depend on its neighbours."""
    for offset in range(3):
        start, end = (offset * 8 + 5) // 6, (offset + len(secret)) * 8 // 6
        if end - start >= MIN_SECRET:
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                yield encode(bytes(offset) + secret + bytes(2))[start:end]


def _character(character: str) -> bytes:
    """Return a regular expression for one character: plain, or as URLs, JSON and HTML escape it."""
    plain = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    spelled = [
        re.escape(plain),
        b"".join(b"%%%02x" % byte for byte in plain),
        # A string in JSON may contain JSON, whose backslashes are escaped again.
        b"".join(rb"\\+u%b" % units[at : at + 2].hex().encode() for at in range(0, len(units), 2)),
        rb"&\#(?:0*%d|x0*%x);" % (ord(character), ord(character)),
    ]
    with suppress(UnicodeEncodeError):
        spelled.append(re.escape(character.encode("latin-1")))
    if character in _SHORT:
        spelled.append(rb"\\+%b" % re.escape(_SHORT[character]))
    if character in _NAMED:
        spelled.append(b"&%b;" % _NAMED[character])
    if character == " ":
        spelled.append(rb"\+")
    return b"(?:%b)" % b"|".join(b"(?i:%b)" % form if form[:1] in (b"%", b"\\", b"&") else form for form in spelled)


def _json_escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _decoded(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"
