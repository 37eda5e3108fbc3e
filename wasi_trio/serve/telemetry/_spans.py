"""Finished spans. Each is created once all its values are known and bounded.

The SDK's spans can be changed by any thread while they last. They take locks, and check and copy each attribute, which
costs 35 µs for a typical span.
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
#: An event: its name, its time in nanoseconds since 1970, and its attributes.
Moment: TypeAlias = tuple[str, int, Attributes]

#: The version of the semantic conventions.
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
SCOPE = InstrumentationScope("wasi_trio", schema_url=SCHEMA)
_UNSET = Status()
_FAILED = Status(StatusCode.ERROR)


class Common:
    """Attributes that many spans share. ``encoded`` caches their encoded form."""

    __slots__ = ("attributes", "encoded")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.encoded: bytes | None = None


NONE = Common({})


class Ended(NamedTuple):
    """A finished span. Its times are in nanoseconds since 1970."""

    name: str
    kind: SpanKind
    trace_id: int
    span_id: int
    flags: int
    state: TraceState
    #: The parent's identifier, and whether the parent is in another process.
    parent: int | None
    is_remote: bool
    start: int
    end: int
    common: Common
    attributes: Attributes
    moments: Sequence[Moment]
    failed: bool

    def readable(self, resource: Resource) -> ReadableSpan:
        """Return the span as an object of the SDK, for other exporters."""
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
        """Return the span with its texts cut to ``limit`` characters."""
        moments = [(name, time, _cut(attributes, limit)) for name, time, attributes in self.moments]
        return self._replace(common=Common(_cut(self._all(), limit)), attributes={}, moments=moments)


def _cut(attributes: Attributes, limit: int) -> Attributes:
    return {key: value[:limit] if isinstance(value, str) else value for key, value in attributes.items()}
