"""Describes a response as text that is the same in every run, for snapshot libraries."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from wasi_trio.testing._interactions import CassetteError, decoded

#: A varying part: the name of a field or JSON member, a JSON path that begins with ``$``, or a regular expression.
Varying: TypeAlias = str | re.Pattern[str]

#: The fields that differ from run to run.
USUALLY_VARYING = (
    "age",
    "date",
    "expires",
    "request-id",
    "server-timing",
    "traceparent",
    "tracestate",
    "x-correlation-id",
    "x-request-id",
    "x-trace-id",
)
#: Maximum number of base64 characters in a line.
_LINE = 76
_STEP = re.compile(
    r"""
    \.\. (?P<anywhere> [\w-]+ )
    | \. (?: (?P<name> [\w-]+ ) | (?P<each> \* ) )
    | \[ (?: (?P<all> \* ) | (?P<index> -?\d+ ) | (?P<quote> ['"] ) (?P<quoted> .*? ) (?P=quote) ) \]
    """,
    re.VERBOSE,
)

_Fields: TypeAlias = Iterable[tuple[str, bytes]]


def snapshot(status: int, headers: _Fields, content: bytes, trailers: _Fields, varying: Sequence[Varying]) -> str:
    """Return the status, the fields, the content and the trailers as text, without the varying parts.

    Raises ValueError for an invalid JSON path.
    """
    rules = _Rules(varying)
    headers = list(headers)
    with suppress(CassetteError):  # Content in an unknown coding is shown encoded.
        content = decoded(content, [(name, value.decode("latin-1")) for name, value in headers], whole=True).data
    body = rules.content(content, _value(headers, "content-type"))
    lines = [str(status)]
    lines += rules.fields(headers, ("content-length",) if body.varies else ())
    sections = ["\n".join(lines)]
    if body.text:
        sections.append(body.text)
    after = list(rules.fields(trailers, ()))
    if after:
        sections.append("\n".join(after))
    return "\n\n".join(sections) + "\n"


class _Body:
    """The text of some content. ``varies`` means that a part of it was replaced, so its length varies as well."""

    def __init__(self, text: str, varies: bool) -> None:
        self.text = text

        self.varies = varies


class _Rules:
    def __init__(self, varying: Sequence[Varying]) -> None:
        self._names = {name.lower() for name in USUALLY_VARYING}
        self._paths: list[tuple[str, list[_Step]]] = []
        self._patterns: list[re.Pattern[str]] = []
        for rule in varying:
            if isinstance(rule, re.Pattern):
                self._patterns.append(rule)
            elif rule.startswith("$"):
                self._paths.append((rule, _steps(rule)))
            else:
                self._names.add(rule.lower())

    def fields(self, fields: _Fields, more: Sequence[str]) -> Iterator[str]:
        for name, value in fields:
            text = f"<{name.lower()}>" if name.lower() in (*self._names, *more) else self._text(value.decode("latin-1"))
            yield f"{name}: {text}"

    def _text(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(_placeholder, text)
        return text

    def content(self, content: bytes, kind: str) -> _Body:
        kind = kind.partition(";")[0].strip().lower()
        if kind == "application/json" or kind.endswith("+json"):
            with suppress(ValueError, RecursionError):  # Invalid JSON is shown unchanged.
                return self._indented(content)
        return self._plain(content)

    def _indented(self, content: bytes) -> _Body:
        data = json.loads(content)
        before = json.dumps(data)
        data = self._json(data)
        shown = json.dumps(data, indent=2, ensure_ascii=False)
        text = self._text(shown)
        return _Body(text, json.dumps(data) != before or text != shown)

    def _plain(self, content: bytes) -> _Body:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            encoded = base64.b64encode(content).decode()
            lines = [encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)]
            size = f"{len(content)} byte{'s' * (len(content) != 1)}:"
            return _Body("\n".join([size, *lines]), varies=False)
        replaced = self._text(text)
        return _Body(replaced, replaced != text)

    def _json(self, data: Any) -> Any:
        for path, steps in self._paths:
            data = _replaced(data, steps, f"<{path}>")
        return self._without_names(data)

    def _without_names(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {
                name: f"<{name}>" if name.lower() in self._names else self._without_names(value)
                for name, value in data.items()
            }
        if isinstance(data, list):
            return [self._without_names(item) for item in data]
        return data


def _placeholder(match: re.Match[str]) -> str:
    """Return the replacement of a match: the name of its group, or ``<varies>``."""
    return f"<{match.lastgroup or 'varies'}>"


def _value(fields: _Fields, name: str) -> str:
    return next((value.decode("latin-1") for other, value in fields if other.lower() == name), "")


# ---- JSON paths ------------------------------------------------------------------------------------------

#: A step of a path: returns the selected places in a value, each as an object or array with one of its keys.
_Step: TypeAlias = Callable[[Any], "list[tuple[Any, Any]]"]


def _steps(path: str) -> list[_Step]:
    steps: list[_Step] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise ValueError(f"{path!r} is not a JSON path, such as $.items[0].id, $.items[*].id or $..id")
        steps.append(_step(match))
        at = match.end()
    if not steps:
        raise ValueError(f"{path!r} is the whole content: name a member, such as $.id")
    return steps


def _step(match: re.Match[str]) -> _Step:
    if match["anywhere"] is not None:
        name = match["anywhere"]
        return lambda data: list(_anywhere(data, name))
    if match["each"] or match["all"]:
        return lambda data: [(data, key) for key in _keys(data)]
    key: Any = int(match["index"]) if match["index"] is not None else match["name"] or match["quoted"]
    kind = list if isinstance(key, int) else dict
    return lambda data: [(data, key)] if isinstance(data, kind) and _has(data, key) else []


def _keys(data: Any) -> list[Any]:
    return list(data) if isinstance(data, dict) else list(range(len(data))) if isinstance(data, list) else []


def _has(data: Any, key: Any) -> bool:
    return key in data if isinstance(data, dict) else -len(data) <= key < len(data)


def _anywhere(data: Any, name: str) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, dict) and name in data:
        yield data, name
    for key in _keys(data):
        yield from _anywhere(data[key], name)


def _replaced(data: Any, steps: Sequence[_Step], text: str) -> Any:
    """Return data in which a text has replaced the selected values. A path may select none."""
    places: list[tuple[Any, Any]] = [([data], 0)]
    for step in steps:
        places = [place for holder, key in places for place in step(holder[key])]
    for holder, key in places:
        holder[key] = text
    return data
