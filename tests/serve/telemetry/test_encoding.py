"""Encoded spans are equal to those of the SDK's encoder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind, TraceState

from wasi_trio.serve.telemetry._encoding import Envelope, encode_span
from wasi_trio.serve.telemetry._spans import Common, Ended

RESOURCE = Resource({"service.name": "s", "n": 3})
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)
scalars = st.one_of(
    text, st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False, allow_infinity=False)
)
attributes = st.dictionaries(st.text("abc._é", min_size=1, max_size=300), scalars, max_size=20)
times = st.integers(1, (1 << 63) - 1)
states = st.dictionaries(st.text("ab", min_size=1, max_size=5), st.text("xyz", min_size=1, max_size=5), max_size=3)
spans = st.builds(
    Ended,
    text,
    st.sampled_from(list(SpanKind)),
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.just(1),
    states.map(lambda state: TraceState(list(state.items()))),
    st.none() | st.integers(1, (1 << 64) - 1),
    st.booleans(),
    times,
    times,
    attributes.map(lambda them: Common({f"common.{key}": value for key, value in them.items()})),
    attributes,
    st.lists(st.tuples(text, times, attributes | st.just({})), max_size=5),
    st.booleans(),
)


@given(st.lists(spans, min_size=1, max_size=4))
def test_the_encoding_equals_the_sdks(batch: list[Ended]) -> None:
    data = Envelope(RESOURCE)([encode_span(span) for span in batch])
    assert ExportTraceServiceRequest.FromString(data) == encode_spans([span.readable(RESOURCE) for span in batch])
