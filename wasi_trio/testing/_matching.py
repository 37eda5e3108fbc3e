"""Compares a guest's request with recorded requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from wasi_trio._texts import shown
from wasi_trio.testing._interactions import RecordedRequest

#: The values of the compared parts, in order. Equal requests have equal keys.
Key: TypeAlias = tuple[Any, ...]

PARTS = ("method", "scheme", "authority", "path", "query", "body")
#: The parts that ``url`` stands for.
_URL = ("scheme", "authority", "path", "query")
_HEADER = "header:"
#: Maximum number of recorded requests in the search for the nearest one.
_MAX_COMPARED = 500
#: Maximum number of characters compared in each of them.
_MAX_COMPARED_CHARACTERS = 2000
#: Maximum number of characters of a value in a message.
_MAX_SHOWN = 300


class Matching:
    """A comparison of requests by some of their parts. Raises ValueError for an unknown part."""

    def __init__(self, parts: Iterable[str]) -> None:
        self.parts: list[str] = []
        for part in [parts] if isinstance(parts, str) else parts:
            if part not in (*PARTS, "url") and not part.startswith(_HEADER):
                raise ValueError(f"match={part!r} is not one of url, {', '.join(PARTS)} and {_HEADER}NAME")
            self.parts += _URL if part == "url" else [part]

    @property
    def needs_body(self) -> bool:
        return "body" in self.parts

    def key(self, request: RecordedRequest) -> Key:
        return tuple(_value(request, part) for part in self.parts)

    def nearest(self, request: RecordedRequest, recorded: Sequence[RecordedRequest]) -> RecordedRequest | None:
        """Return the recorded request with the most similar text; None without recorded requests."""
        text = self._text(request)
        matcher: SequenceMatcher[str] = SequenceMatcher(autojunk=False)
        matcher.set_seq2(text)
        best, score = None, -1.0
        for other in recorded[:_MAX_COMPARED]:
            matcher.set_seq1(self._text(other))
            if matcher.real_quick_ratio() > score and matcher.ratio() > score:
                best, score = other, matcher.ratio()
        return best

    def _text(self, request: RecordedRequest) -> str:
        body = _plain(request) if self.needs_body else ""
        return f"{request.method} {request.url}\n{body}"[:_MAX_COMPARED_CHARACTERS]

    def differences(self, request: RecordedRequest, other: RecordedRequest) -> Iterator[str]:
        """Yield a line for each part in which two requests differ."""
        for part in self.parts:
            if _value(request, part) != _value(other, part):
                yield f"the {part} is {_displayed(request, part)}, recorded is {_displayed(other, part)}"


def _value(request: RecordedRequest, part: str) -> Any:
    """Return a part of a request in a normal form, which is equal for equivalent requests."""
    if part == "method":
        return request.method
    if part == "body":
        return _normalized_content(request)
    if part.startswith(_HEADER):
        return tuple(_header(request, part.removeprefix(_HEADER)))
    found = _url_part(request, part)
    if part == "query":
        return tuple(sorted(parse_qsl(found, keep_blank_values=True))) or found
    return found.lower() if part in ("scheme", "authority") else found


def _displayed(request: RecordedRequest, part: str) -> str:
    if part == "method":
        text = request.method
    elif part == "body":
        text = _plain(request)
    elif part.startswith(_HEADER):
        text = ", ".join(_header(request, part.removeprefix(_HEADER)))
    else:
        text = _url_part(request, part)
    return repr(shown(text, _MAX_SHOWN)) if not text or part == "body" else shown(text, _MAX_SHOWN)


def _url_part(request: RecordedRequest, part: str) -> str:
    scheme, _, rest = request.url.partition("://")
    if part == "scheme":
        return scheme
    # urlsplit refuses some URLs of guests.
    target, _, query = rest.partition("?")
    if part == "query":
        return query
    authority, slash, path = target.partition("/")
    return authority if part == "authority" else slash + path


def _header(request: RecordedRequest, name: str) -> list[str]:
    return [value for other, value in request.headers if other.lower() == name.strip().lower()]


def _normalized_content(request: RecordedRequest) -> object:
    """Return content in a normal form: JSON without regard to layout and order, a form without regard to order."""
    kind = _content_type(request)
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.dumps(json.loads(request.content.data), sort_keys=True)
        except (ValueError, RecursionError):
            return request.content.data
    if kind == "application/x-www-form-urlencoded":
        return tuple(sorted(parse_qsl(request.content.data.decode("latin-1"), keep_blank_values=True)))
    return request.content.data


def _content_type(request: RecordedRequest) -> str:
    return ", ".join(_header(request, "content-type")).partition(";")[0].strip().lower()


def _plain(request: RecordedRequest) -> str:
    return request.content.data.decode(errors="replace")
