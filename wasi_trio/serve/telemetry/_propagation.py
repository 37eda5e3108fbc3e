"""How the context of a request goes on: from its client's headers to the guest's, and to those of what it sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from wasi_trio.serve.telemetry._switch import Wanted

#: bytes of a header that is looked into: what the W3C's Trace Context asks for, and what its Baggage does
MOST: Final = 512
MOST_BAGGAGE: Final = 8192
BAGGAGE: Final = "baggage"

Headers = list[tuple[str, bytes]]


class Propagation:
    """Reads and writes contexts in the headers that the propagators of an operator's choice have for them.

    Baggage is not looked into: it goes from the request to those that its guest sends as it came.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._propagators: Sequence[TextMapPropagator] = [point.load()() for point in wanted.propagators]
        #: in lower case
        self.fields = frozenset(field.lower() for one in self._propagators for field in one.fields)
        #: whether baggage goes on
        self.baggage = wanted.baggage
        #: only the W3C's Trace Context, which is so simple that it is written here: that is a third of the time
        self._is_plain = [type(one) for one in self._propagators] == [TraceContextTextMapPropagator]

    def extract(self, found: Headers) -> SpanContext | None:
        """What such headers say of a request's context; None where they say nothing that can be understood."""
        carrier: dict[str, str] = {}
        for name, value in found:
            key, text = name.lower(), value.decode("latin-1")
            # Several of a name are one list (RFC 9110, section 5.3), which only tracestate may be.
            carrier[key] = f"{carrier[key]},{text}" if key in carrier else text
        context = Context()
        for propagator in self._propagators:
            context = propagator.extract({key: text for key, text in carrier.items() if len(text) <= MOST}, context)
        span = get_current_span(context).get_span_context()
        return span if span.is_valid else None

    def inject(self, headers: Headers, trace_id: int, span_id: int, flags: int, state: TraceState) -> Headers:
        """Headers, which have no context, with this one."""
        if self._is_plain and not state:
            return [*headers, ("traceparent", b"00-%032x-%016x-%02x" % (trace_id, span_id, flags))]
        carrier: dict[str, str] = {}
        span = NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(flags), state))
        context = set_span_in_context(span, Context())
        for propagator in self._propagators:
            propagator.inject(carrier, context)
        return [*headers, *((name, value.encode("latin-1", "replace")) for name, value in carrier.items())]

    def without(self, headers: Headers) -> Headers:
        """Headers without those of a context."""
        return [field for field in headers if field[0].lower() not in self.fields]


def passed_on(baggage: Headers) -> Headers:
    """Baggage as far as it goes on: not where there is more than it may be."""
    return baggage if sum(len(value) for _, value in baggage) <= MOST_BAGGAGE else []


def has(headers: Headers, name: str) -> bool:
    return any(field[0].lower() == name for field in headers)
