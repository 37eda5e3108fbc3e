"""The ``error-code`` of wasi:http/types, which is the same in WASI 0.2 and 0.3."""

from __future__ import annotations

from typing import Any, NamedTuple

from wasi_trio._texts import shown
from wasi_trio.component._values import Variant


class DNSErrorPayload(NamedTuple):
    """The details of a DNS failure: the resolver's ``rcode`` and the extended ``info-code`` of RFC 8914."""

    rcode: str | None = None
    info_code: int | None = None


class TLSAlertReceivedPayload(NamedTuple):
    """A TLS alert of the peer: its number and description in RFC 8446, section 6."""

    alert_id: int | None = None
    alert_message: str | None = None


class FieldSizePayload(NamedTuple):
    """The name and size of a field that was too large."""

    field_name: str | None = None
    field_size: int | None = None


class HttpError(Exception):
    """A failure of an HTTP exchange. ``code`` is an ``error-code``.

    The second argument is the payload of the case, if it has one: ``HttpError("connection-refused")``,
    ``HttpError("internal-error", "why")``.
    """

    def __init__(self, case: str, value: Any = None) -> None:
        super().__init__(case if value is None else f"{case}: {shown(str(value))}")
        self.code = Variant(case, value)

    @classmethod
    def of(cls, code: Variant) -> HttpError:
        """Return the error for an ``error-code`` from a guest."""
        return cls(code.case, code.value)
