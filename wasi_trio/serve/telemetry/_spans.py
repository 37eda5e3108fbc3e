"""Spans that have ended: made when everything is known, of values that this package has chosen and bounded.

The SDK's own are made for code that adds to them from any thread while they last: they take locks, and check and copy
each attribute, which costs 35 µs for one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

Value: TypeAlias = "str | int | float | bool"
Attributes: TypeAlias = Mapping[str, Value]
#: an event: name, time in nanoseconds since 1970, attributes
Moment: TypeAlias = tuple[str, int, Attributes]

#: the semantic conventions that spans and metrics follow
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
SCOPE = InstrumentationScope("wasi_trio", schema_url=SCHEMA)
_UNSET = Status()
_FAILED = Status(StatusCode.ERROR)


class Common:
    """Attributes that many spans have alike; ``encoded`` is for whoever encodes spans to keep them as bytes."""

    __slots__ = ("attributes", "encoded")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.encoded: bytes | None = None


NONE = Common({})


class Ended(NamedTuple):
    """A span that has ended. Its times are in nanoseconds since 1970."""

    name: str
    kind: SpanKind
    trace_id: int
    span_id: int
    flags: int
    state: TraceState
    #: the parent's number, and whether that is in another process
    parent: int | None
    is_remote: bool
    start: int
    end: int
    common: Common
    attributes: Attributes
    moments: Sequence[Moment]
    failed: bool

    def readable(self, resource: Resource) -> ReadableSpan:
        """The same for exporters of others."""
        flags = TraceFlags(self.flags)
        parent = self.parent
        return ReadableSpan(
            self.name,
            SpanContext(self.trace_id, self.span_id, False, flags, self.state),
            None if parent is None else SpanContext(self.trace_id, parent, self.is_remote, flags, self.state),
            resource,
            self._all(),
            [Event(name, dict(attributes), time) for name, time, attributes in self.moments],
            kind=self.kind,
            status=_FAILED if self.failed else _UNSET,
            start_time=self.start,
            end_time=self.end,
            instrumentation_scope=SCOPE,
        )

    def _all(self) -> dict[str, Any]:
        return {**self.common.attributes, **self.attributes}

    def cut(self, limit: int) -> Ended:
        """With no text longer than an operator wants."""
        moments = [(name, time, _cut(attributes, limit)) for name, time, attributes in self.moments]
        return self._replace(common=Common(_cut(self._all(), limit)), attributes={}, moments=moments)


def _cut(attributes: Attributes, limit: int) -> Attributes:
    return {key: value[:limit] if isinstance(value, str) else value for key, value in attributes.items()}
