"""Conditional and range requests (RFC 9110, sections 13 and 14) for files with an entity tag, a date and a length.

werkzeug parses the fields and applies their rules.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from werkzeug.http import http_date, parse_date, parse_etags, parse_range_header, quote_etag
from werkzeug.sansio.http import is_resource_modified

#: The maximum length of a condition. Parsing takes quadratic time.
MAX_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Representation:
    """The state of a file at a moment. ``modified`` is in nanoseconds since 1970."""

    size: int
    modified: int

    @property
    def tag(self) -> str:
        return f"{self.modified:x}-{self.size:x}"

    @property
    def date(self) -> datetime:
        return datetime.fromtimestamp(self.modified // 10**9, UTC)

    def validators(self) -> list[tuple[str, bytes]]:
        """Return the fields that identify the representation to a client."""
        return [("etag", quote_etag(self.tag).encode()), ("last-modified", http_date(self.date).encode())]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a request: a status, and the part of the content from ``start`` to ``end``."""

    status: HTTPStatus
    start: int = 0
    end: int = 0


def judge(method: str, headers: Iterable[tuple[str, bytes]], what: Representation) -> Verdict:
    """Return the answer to a GET or HEAD request. Malformed conditions are ignored."""
    fields = _fields(headers)
    whole = Verdict(HTTPStatus.OK, 0, what.size)
    if not fields:
        return whole
    if _precondition_failed(fields, what):
        return Verdict(HTTPStatus.PRECONDITION_FAILED)
    if not is_resource_modified(
        http_if_modified_since=fields.get("if-modified-since"),
        http_if_none_match=fields.get("if-none-match"),
        etag=quote_etag(what.tag),
        last_modified=what.date,
    ):
        return Verdict(HTTPStatus.NOT_MODIFIED)
    return whole if method != "GET" else _part(fields, what) or whole


_READ = frozenset({"if-match", "if-unmodified-since", "if-none-match", "if-modified-since", "range", "if-range"})


def _fields(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name in _READ:
            before = f"{fields[name]}, " if name in fields else ""
            fields[name] = before + value.decode("latin-1")
    # A range whose condition is ignored could be a part of another content.
    return {name: value for name, value in fields.items() if len(value) <= MAX_LENGTH or name == "if-range"}


def _precondition_failed(fields: dict[str, str], what: Representation) -> bool:
    if "if-match" in fields:
        return not parse_etags(fields["if-match"]).contains(what.tag)
    until = parse_date(fields.get("if-unmodified-since"))
    return until is not None and what.date > until


def _is_current(validator: str, what: Representation) -> bool:
    """Return whether the validator of an ``if-range`` field is strong, and that of the file (section 13.1.5)."""
    validator = validator.strip()
    if len(validator) > MAX_LENGTH:
        return False
    if validator.startswith(('"', "W/")):
        return validator == quote_etag(what.tag)
    # Within a second the file may change again, and keep its date (section 8.8.2.2).
    return parse_date(validator) == what.date and time.time() >= what.modified // 10**9 + 1


def _part(fields: dict[str, str], what: Representation) -> Verdict | None:
    """Return the requested part, or None for the whole. A request for several parts gets the whole (section 14.2)."""
    wanted = parse_range_header(fields.get("range"))
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return None
    if "if-range" in fields and not _is_current(fields["if-range"], what):
        return None
    start, _ = wanted.ranges[0]
    if start < -what.size:  # a suffix longer than the file
        return Verdict(HTTPStatus.PARTIAL_CONTENT, 0, what.size) if what.size else None
    found = wanted.range_for_length(what.size)
    if found is None:
        return Verdict(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return Verdict(HTTPStatus.PARTIAL_CONTENT, *found)
