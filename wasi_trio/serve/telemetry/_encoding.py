"""The encoding of spans for OTLP (opentelemetry/proto/trace/v1/trace.proto) in protobuf's wire format.

``opentelemetry-exporter-otlp-proto-common`` first creates an object for each attribute, event and value. That takes 30
µs a span, twice the time of all other tracing of a request, and on any thread it holds the GIL against the event loop.
So this module encodes the spans itself, and a test compares its output with that of the package. Encoded spans also
spare the garbage collector while they wait. The package still encodes the surrounding message, once for each batch.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from wasi_trio.serve.telemetry._spans import SCOPE, Attributes, Ended, Value

#: The length up to which a text is cached.
_SHORT: Final = 48
_pack_double = struct.Struct("<d").pack
_pack_fixed64 = struct.Struct("<Q").pack
_pack_times = struct.Struct("<BQBQ").pack
_WELL: Final = b"\x7a\x00"
_FAILED: Final = b"\x7a\x02\x18\x02"
#: The flags of a known parent: in this process, and in another one (SpanFlags).
_LOCAL: Final = b"\x85\x01\x00\x01\x00\x00"
_REMOTE: Final = b"\x85\x01\x00\x03\x00\x00"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


#: The encoded common lengths.
_LENGTHS: Final = [_varint(number) for number in range(2048)]


def _sized(data: bytes) -> bytes:
    """Return data with its length in front."""
    size = len(data)
    return (_LENGTHS[size] if size < 2048 else _varint(size)) + data


def _text(text: str) -> bytes:
    # A lone surrogate becomes a question mark.
    return _sized(text.encode("utf-8", "replace"))


@lru_cache(maxsize=512)
def _key(key: str) -> bytes:
    return b"\x0a" + _text(key)


@lru_cache(maxsize=512)
def _double_key(key: str) -> bytes:
    """Return the bytes of a KeyValue before its double value, including the length."""
    head = _key(key) + b"\x12\x09\x21"
    return _LENGTHS[len(head) + 8] + head if len(head) < 2040 else _varint(len(head) + 8) + head


def _text_attribute(key: str, value: str) -> bytes:
    return _sized(_key(key) + b"\x12" + _sized(b"\x0a" + _text(value)))


_short_attribute = lru_cache(maxsize=2048)(_text_attribute)


def _attribute(key: str, value: Value) -> bytes:
    """Encode a KeyValue, with its length."""
    if isinstance(value, float):
        return _double_key(key) + _pack_double(value)
    if isinstance(value, str):
        return _short_attribute(key, value) if len(value) <= _SHORT else _text_attribute(key, value)
    if isinstance(value, bool):
        encoded = b"\x10\x01" if value else b"\x10\x00"
    else:
        encoded = b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    return _sized(_key(key) + b"\x12" + _sized(encoded))


def _attributes(attributes: Attributes) -> bytes:
    return b"".join([b"\x4a" + _attribute(key, value) for key, value in attributes.items()])


@lru_cache(maxsize=512)
def _moment(name: str) -> tuple[bytes, bytes]:
    """Return the bytes before and after the time of an event without attributes."""
    behind = b"\x12" + _text(name)
    size = 9 + len(behind)
    return b"\x5a" + _varint(size) + b"\x09", behind


def _event(name: str, time: int, attributes: Attributes) -> bytes:
    parts = [b"\x09", _pack_fixed64(time), b"\x12", _text(name)]
    for key, value in attributes.items():
        parts.append(b"\x1a")
        parts.append(_attribute(key, value))
    return b"\x5a" + _sized(b"".join(parts))


def encode_span(span: Ended) -> bytes:
    """Encode a Span of OTLP."""
    name, kind, trace_id, span_id, _, state, parent, is_remote, start, end, common, attributes, moments, failed = span
    if common.encoded is None:
        common.encoded = _attributes(common.attributes)
    parts = [
        b"\x0a\x10",
        trace_id.to_bytes(16),
        b"\x12\x08",
        span_id.to_bytes(8),
        b"\x1a" + _text(",".join(f"{key}={value}" for key, value in state.items())) if state else b"\x1a\x00",
    ]
    if parent is not None:
        parts += (b"\x22\x08", parent.to_bytes(8))
    parts += (
        b"\x2a",
        _text(name),
        b"\x30",
        _LENGTHS[kind.value + 1],
        _pack_times(0x39, start, 0x41, end),
        common.encoded,
    )
    for key, value in attributes.items():
        parts.append(b"\x4a")
        parts.append(_attribute(key, value))
    for name, time, told in moments:
        if told:
            parts.append(_event(name, time, told))
        else:
            before, behind = _moment(name)
            parts += (before, _pack_fixed64(time), behind)
    parts.append(_FAILED if failed else _WELL)
    parts.append(_REMOTE if is_remote and parent is not None else _LOCAL)
    return b"".join(parts)


class Envelope:
    """Encodes ExportTraceServiceRequests of encoded spans with one resource."""

    def __init__(self, resource: Resource) -> None:
        context = SpanContext(1, 1, False, TraceFlags(TraceFlags.SAMPLED))
        span = ReadableSpan("", context, None, resource, kind=SpanKind.SERVER, instrumentation_scope=SCOPE)
        request: ExportTraceServiceRequest = encode_spans([span])
        (resource_spans,) = request.resource_spans
        (scope_spans,) = resource_spans.scope_spans
        del scope_spans.spans[:]
        self._scope = scope_spans.SerializeToString()
        del resource_spans.scope_spans[:]
        self._resource = resource_spans.SerializeToString()

    def __call__(self, spans: Sequence[bytes]) -> bytes:
        inner = b"".join([self._scope, *(b"\x12" + _sized(span) for span in spans)])
        return b"\x0a" + _sized(self._resource + b"\x12" + _sized(inner))
