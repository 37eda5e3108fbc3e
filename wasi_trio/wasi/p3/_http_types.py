"""The types of futures in wasi:http 0.3, as in its WIT."""

from __future__ import annotations

from wasi_trio.component import _types as t

_FIELD_SIZE = t.Record((("field-name", t.Option(t.STRING)), ("field-size", t.Option(t.U32))))

ERROR_CODE = t.Variant(
    (
        ("DNS-timeout", None),
        ("DNS-error", t.Record((("rcode", t.Option(t.STRING)), ("info-code", t.Option(t.U16))))),
        ("destination-not-found", None),
        ("destination-unavailable", None),
        ("destination-IP-prohibited", None),
        ("destination-IP-unroutable", None),
        ("connection-refused", None),
        ("connection-terminated", None),
        ("connection-timeout", None),
        ("connection-read-timeout", None),
        ("connection-write-timeout", None),
        ("connection-limit-reached", None),
        ("TLS-protocol-error", None),
        ("TLS-certificate-error", None),
        ("TLS-alert-received", t.Record((("alert-id", t.Option(t.U8)), ("alert-message", t.Option(t.STRING))))),
        ("HTTP-request-denied", None),
        ("HTTP-request-length-required", None),
        ("HTTP-request-body-size", t.Option(t.U64)),
        ("HTTP-request-method-invalid", None),
        ("HTTP-request-URI-invalid", None),
        ("HTTP-request-URI-too-long", None),
        ("HTTP-request-header-section-size", t.Option(t.U32)),
        ("HTTP-request-header-size", t.Option(_FIELD_SIZE)),
        ("HTTP-request-trailer-section-size", t.Option(t.U32)),
        ("HTTP-request-trailer-size", _FIELD_SIZE),
        ("HTTP-response-incomplete", None),
        ("HTTP-response-header-section-size", t.Option(t.U32)),
        ("HTTP-response-header-size", _FIELD_SIZE),
        ("HTTP-response-body-size", t.Option(t.U64)),
        ("HTTP-response-trailer-section-size", t.Option(t.U32)),
        ("HTTP-response-trailer-size", _FIELD_SIZE),
        ("HTTP-response-transfer-coding", t.Option(t.STRING)),
        ("HTTP-response-content-coding", t.Option(t.STRING)),
        ("HTTP-response-timeout", None),
        ("HTTP-upgrade-failed", None),
        ("HTTP-protocol-error", None),
        ("loop-detected", None),
        ("configuration-error", None),
        ("internal-error", t.Option(t.STRING)),
    )
)


class _AnyFields(t.ResourceType):
    """A placeholder for ``fields`` that equals the type of this resource in every component.

    Each component has its own type, which a future from the host does not know.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, t.ResourceType) and other.name == self.name and other.owner is None

    def __hash__(self) -> int:
        return hash(self.name)


FIELDS = _AnyFields("fields")

#: the outcome of transmitting or handling a message
RESULT = t.Result(None, ERROR_CODE)

TRAILERS = t.Result(t.Option(t.Own(FIELDS)), ERROR_CODE)
