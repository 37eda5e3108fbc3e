"""Requests as spans, from the reports of the handler and of the runtime.

A request is one span. Its waits, and those of its guest, are attributes and events of that span. As separate spans each
would cost as much again, would never have children, and would never be propagated. A request sent by the guest is a
separate span, because another process continues its trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, DEFAULT_OFF, DEFAULT_ON, Decision
from opentelemetry.trace import NonRecordingSpan, SpanKind, TraceFlags, TraceState, set_span_in_context

from wasi_trio.runtime._origins import ORIGIN
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._outcomes import Outcome
from wasi_trio.serve.telemetry._conventions import (
    LONG,
    OTHER,
    SHORT,
    address,
    known_methods,
    redacted,
    scheme_of,
    server_attributes,
    url_of,
)
from wasi_trio.serve.telemetry._durations import Durations
from wasi_trio.serve.telemetry._propagation import BAGGAGE, Propagation, has, passed_on
from wasi_trio.serve.telemetry._spans import NONE, Ended, Moment, Value
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response

if TYPE_CHECKING:
    from wasi_trio.serve.pool._tracing import RequestStream

#: The maximum numbers of a request's host calls recorded as events, and of its sent requests with spans.
MAX_WAITS: Final = 32
MAX_SENT: Final = 64
_NOTHING: Final[Mapping[str, str]] = {}
_RANDOM: Final[int] = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
#: The statuses from which a span has an ``error.type``: for a server its own errors, for a client all errors.
_SERVER_FAULT: Final = 500
_CLIENT_FAULT: Final = 400
#: The minimum time between a response's head and its end at which a span records both, in seconds.
_STREAMED: Final = 0.001


class SpanTracer:
    """The ``Tracer`` of handlers. It exports requests as spans, measures their durations, or both.

    ``sinks`` receive finished spans. ``provider`` is None without spans, and ``durations`` is None without metrics.
    """

    def __init__(
        self,
        provider: TracerProvider | None,
        sinks: tuple[Callable[[Ended], None], ...],
        propagation: Propagation,
        durations: Durations | None,
        limit: int | None = None,
    ) -> None:
        self.provider = provider
        self.propagation = propagation
        self.durations = durations
        self.methods = known_methods()
        self._sinks = sinks
        #: The maximum length of a value, if the operator limits it.
        self._limit = limit
        #: The sampling decision for requests without a context, if it is the same for all.
        self._always: bool | None = None
        if provider is not None:
            self._always = {DEFAULT_ON: True, ALWAYS_ON: True, DEFAULT_OFF: False, ALWAYS_OFF: False}.get(
                provider.sampler
            )

    def begin(self, exchange: Exchange, stream: RequestStream | None) -> TracedRequest:
        traced = TracedRequest(self, exchange.submitted)
        if stream is not None:
            traced.version = stream.version
            client = stream.client
            if client is not None:
                traced.client = client[0]
        if self.provider is not None:
            self._begin_span(traced, exchange.request, self.provider)
        return traced

    def _begin_span(self, traced: TracedRequest, request: Request, provider: TracerProvider) -> None:
        propagation, headers = self.propagation, request.headers
        fields = propagation.fields
        given: list[tuple[str, bytes]] = []
        baggage: list[tuple[str, bytes]] = []
        for field in headers:  # names are in lower case
            name = field[0]
            if name in fields:
                given.append(field)
            elif name == "user-agent":
                traced.agent = field[1]
            elif name == BAGGAGE:
                baggage.append(field)
        if baggage and propagation.baggage:
            traced.baggage = passed_on(baggage)
        origin = ORIGIN.get()
        ids = provider.id_generator
        if isinstance(origin, TracedRequest) and origin.trace_id:
            # The request comes from another component of the chain.
            traced.kind = SpanKind.INTERNAL
            traced.trace_id, traced.parent = origin.trace_id, origin.span_id
            traced.flags, traced.state, traced.recording = origin.flags, origin.state, origin.recording
        else:
            parent = propagation.extract(given) if given else None
            if parent is not None:
                traced.trace_id, traced.parent, traced.is_remote = parent.trace_id, parent.span_id, True
                traced.flags = parent.trace_flags & _RANDOM
            else:
                traced.trace_id, traced.flags = ids.generate_trace_id(), _RANDOM
            if parent is None and self._always is not None:
                traced.recording = self._always
            else:
                context = None if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
                method = request.method[:SHORT]
                result = provider.sampler.should_sample(context, traced.trace_id, method, SpanKind.SERVER)
                traced.recording = result.decision is Decision.RECORD_AND_SAMPLE
                if result.trace_state:
                    traced.state = result.trace_state
            if traced.recording:
                traced.flags |= TraceFlags.SAMPLED
        traced.span_id = ids.generate_span_id()
        traced.start = time.time_ns()
        if fields:
            others = propagation.without(headers) if given else headers
            request.headers = propagation.inject(others, traced.trace_id, traced.span_id, traced.flags, traced.state)

    def method(self, method: str) -> str:
        return method if method in self.methods else OTHER

    def emit(self, span: Ended) -> None:
        if self._limit is not None:
            span = span.cut(self._limit)
        for sink in self._sinks:
            sink(span)


class TracedRequest:
    """The ``RequestTrace`` of one request. Class attributes are the values before the first report."""

    #: 0 if only metrics are exported.
    trace_id = span_id = flags = 0
    state: TraceState = TraceState()
    parent: int | None = None
    is_remote = False
    kind = SpanKind.SERVER
    #: Whether the request is sampled.
    recording = False
    #: The start, in nanoseconds since 1970.
    start = 0
    version = ""
    client: str | None = None
    agent: bytes | None = None
    baggage: Sequence[tuple[str, bytes]] = ()
    #: The numbers of waits in host calls, of sent requests, and of those of both that no span records.
    waits = sent = omitted = 0
    _moments: Sequence[Moment] = ()
    _made_began = _made = _began = 0.0
    _instance: str | None = None
    _responded_at: float | None = None
    _sent_at: float | None = None
    _over = False

    def __init__(self, tracer: SpanTracer, submitted: float) -> None:
        self._tracer = tracer
        self._submitted = submitted

    @property
    def ids(self) -> Mapping[str, str]:
        if not self.trace_id:
            return _NOTHING
        return {"trace_id": f"{self.trace_id:032x}", "span_id": f"{self.span_id:016x}"}

    def at(self, moment: float) -> int:
        """Convert a time of trio's clock into nanoseconds since 1970."""
        return self.start + int((moment - self._submitted) * 1e9)

    # ---- reports of the handler --------------------------------------------------------------------------

    def instance_made(self, began: float) -> None:
        self._made_began, self._made = began, trio.current_time()

    def began(self, instance: str) -> None:
        self._instance = instance
        self._began = trio.current_time()

    def responded(self, exchange: Exchange) -> None:
        self._responded_at = trio.current_time()
        assert exchange.response is not None
        exchange.response.body.subscribe_end(self._has_sent)

    def _has_sent(self, _: object) -> None:
        self._sent_at = trio.current_time()

    def ended(self, exchange: Exchange, outcome: Outcome) -> None:
        now = trio.current_time()
        # The guest's work after its response is not part of the request.
        end = now if self._sent_at is None else self._sent_at
        request, status, tracer = exchange.request, exchange.status, self._tracer
        method = tracer.method(request.method)
        failure = None
        if outcome is not Outcome.OK:
            failure = outcome.value
        elif status is not None and status >= _SERVER_FAULT:
            failure = str(status)
        if tracer.durations is not None and self.kind is SpanKind.SERVER:
            scheme = scheme_of(request)
            tracer.durations.observe(end - self._submitted, method, scheme, status, failure, self.version)
        self._over = True
        if self.recording:
            self._emit(exchange, outcome, method, status, failure, now, end)

    def _emit(
        self,
        exchange: Exchange,
        outcome: Outcome,
        method: str,
        status: int | None,
        failure: str | None,
        now: float,
        end: float,
    ) -> None:
        request = exchange.request
        path, mark, query = (request.path_with_query or "/").partition("?")
        attributes: dict[str, Value] = {"url.path": path[:LONG]}
        if mark:
            attributes["url.query"] = redacted(query)
        if self._instance is not None:
            attributes["wasi_trio.instance"] = self._instance
            made = self._made - self._made_began if self._made else 0.0
            attributes["wasi_trio.queue.duration"] = max(self._began - self._submitted - made, 0.0)
            attributes["wasi_trio.guest.duration"] = now - self._began
            if made:
                attributes["wasi_trio.instance_start.duration"] = made
        if self._responded_at is not None and end - self._responded_at > _STREAMED:
            attributes["wasi_trio.response_head.duration"] = self._responded_at - self._submitted
        if exchange.processor:
            attributes["wasi_trio.guest.cpu_time"] = exchange.processor
        if self.omitted:
            attributes["wasi_trio.omitted"] = self.omitted
        common = server_attributes(
            request.method[:SHORT],
            method,
            scheme_of(request),
            (request.authority or "")[: 2 * SHORT],
            self.client,
            self.version,
            None if self.agent is None else self.agent[:SHORT],
            status,
            failure,
            outcome.value,
        )
        name = "HTTP" if method is OTHER else method
        moments, self._moments = self._moments, ()
        self._tracer.emit(
            Ended(
                name,
                self.kind,
                self.trace_id,
                self.span_id,
                self.flags,
                self.state,
                self.parent,
                self.is_remote,
                self.start,
                self.at(end),
                common,
                attributes,
                moments,
                failure is not None,
            )
        )

    # ---- reports of the runtime --------------------------------------------------------------------------

    def waited(self, func: Any, began: float) -> None:
        if not self.recording or self._over:
            return
        self.waits += 1
        if self.waits > MAX_WAITS:
            self.omitted += 1
            return
        attributes = {"wasi_trio.host_call.duration": trio.current_time() - began}
        self._moments = [*self._moments, (_name(func), self.at(began), attributes)]

    def sends(self, request: Request) -> SentRequest | None:
        if not self.trace_id:
            return None
        propagation, headers = self._tracer.propagation, request.headers
        parent, state, continues = self.span_id, self.state, bool(propagation.fields)
        given = [field for field in headers if field[0].lower() in propagation.fields]
        found = propagation.extract(given) if given else None
        if found is not None:
            if found.trace_id == self.trace_id:
                parent, state = found.span_id, found.trace_state  # the request's span, or one created by the guest
            else:
                continues = False  # the guest has begun its own trace
        sent: SentRequest | None = None
        if self.recording and self.sent < MAX_SENT:
            self.sent += 1
            sent = SentRequest(self, request, parent, state)
        elif self.recording:
            self.omitted += 1
        if continues:
            span = parent if sent is None else sent.span_id
            others = propagation.without(headers) if given else headers
            headers = propagation.inject(others, self.trace_id, span, self.flags, state)
        if self.baggage and not has(headers, BAGGAGE):
            headers = [*headers, *self.baggage]
        request.headers = headers
        return sent

    def tracer(self) -> SpanTracer:
        return self._tracer


class SentRequest:
    """The span of a request sent by a guest, until the end of its response."""

    __slots__ = ("_attributes", "_began", "_method", "_origin", "_parent", "_state", "span_id")

    def __init__(self, origin: TracedRequest, request: Request, parent: int, state: TraceState) -> None:
        tracer = origin.tracer()
        assert tracer.provider is not None
        self.span_id = tracer.provider.id_generator.generate_span_id()
        self._origin = origin
        self._parent = parent
        self._state = state
        self._began = trio.current_time()
        method = self._method = tracer.method(request.method)
        scheme = (request.scheme or "https").lower()[:SHORT]
        authority = request.authority or ""
        host, port = address(authority, scheme)
        self._attributes: dict[str, Value] = {
            "http.request.method": method,
            "server.address": host,
            "url.full": url_of(scheme, authority, request.path_with_query or "/"),
            "network.protocol.version": "1.1",
        }
        if port is not None:
            self._attributes["server.port"] = port
        if method is OTHER:
            self._attributes["http.request.method_original"] = request.method[:SHORT]

    def ended(self, outcome: Response | HttpError | None) -> None:
        attributes, origin = self._attributes, self._origin
        failure = None
        if isinstance(outcome, Response):
            attributes["http.response.status_code"] = outcome.status
            error = outcome.body.error
            if outcome.status >= _CLIENT_FAULT:
                failure = str(outcome.status)
            elif error is not None:
                failure = error.code.case
        else:
            failure = "cancelled" if outcome is None else outcome.code.case
        if failure is not None:
            attributes["error.type"] = failure
        origin.tracer().emit(
            Ended(
                "HTTP" if self._method is OTHER else self._method,
                SpanKind.CLIENT,
                origin.trace_id,
                self.span_id,
                origin.flags,
                self._state,
                self._parent,
                False,
                origin.at(self._began),
                origin.at(trio.current_time()),
                NONE,
                attributes,
                (),
                failure is not None,
            )
        )


def _name(func: Any) -> str:
    """Return the name of a host function in WIT."""
    interface, name = getattr(func, "interface", ""), getattr(func, "name", "a component's function")
    return f"{interface}#{name}"[:SHORT] if interface else name[:SHORT]
