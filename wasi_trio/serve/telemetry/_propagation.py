"""The propagation of a request's context: from its client to the guest, and to the guest's own requests."""

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

#: The maximum sizes of fields that are parsed: those required by W3C Trace Context and W3C Baggage, in bytes.
MAX_SIZE: Final = 512
MAX_BAGGAGE_SIZE: Final = 8192
BAGGAGE: Final = "baggage"

Headers = list[tuple[str, bytes]]


class Propagation:
    """Reads and writes contexts in header fields, with the propagators of the operator's choice.

    Baggage is not parsed. It is copied from a request to the guest's own requests.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._propagators: Sequence[TextMapPropagator] = [point.load()() for point in wanted.propagators]
        #: The header fields of the propagators, in lower case.
        self.fields = frozenset(field.lower() for one in self._propagators for field in one.fields)
        #: Whether baggage is copied.
        self.baggage = wanted.baggage
        #: Whether the propagator is W3C Trace Context alone, which is encoded here in a third of the time.
        self._is_plain = [type(one) for one in self._propagators] == [TraceContextTextMapPropagator]

    def extract(self, found: Headers) -> SpanContext | None:
        """Return the valid context in header fields, or None."""
        carrier: dict[str, str] = {}
        for name, value in found:
            key, text = name.lower(), value.decode("latin-1")
            # Several fields of one name form a list (RFC 9110, section 5.3). Only tracestate allows that.
            carrier[key] = f"{carrier[key]},{text}" if key in carrier else text
        context = Context()
        for propagator in self._propagators:
            context = propagator.extract({key: text for key, text in carrier.items() if len(text) <= MAX_SIZE}, context)
        span = get_current_span(context).get_span_context()
        return span if span.is_valid else None

    def inject(self, headers: Headers, trace_id: int, span_id: int, flags: int, state: TraceState) -> Headers:
        """Return header fields with a context added. They must not contain one."""
        if self._is_plain and not state:
            return [*headers, ("traceparent", b"00-%032x-%016x-%02x" % (trace_id, span_id, flags))]
        carrier: dict[str, str] = {}
        span = NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(flags), state))
        context = set_span_in_context(span, Context())
        for propagator in self._propagators:
            propagator.inject(carrier, context)
        return [*headers, *((name, value.encode("latin-1", "replace")) for name, value in carrier.items())]

    def without(self, headers: Headers) -> Headers:
        """Return header fields without those of a context."""
        return [field for field in headers if field[0].lower() not in self.fields]


def passed_on(baggage: Headers) -> Headers:
    """Return the baggage to copy: nothing if it is too large."""
    return baggage if sum(len(value) for _, value in baggage) <= MAX_BAGGAGE_SIZE else []


def has(headers: Headers, name: str) -> bool:
    return any(field[0].lower() == name for field in headers)
