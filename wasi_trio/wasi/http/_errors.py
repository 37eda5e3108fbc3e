"""The ``error-code`` of wasi:http/types, which WASI 0.2 and 0.3 spell alike."""

from __future__ import annotations

from typing import Any, NamedTuple

from wasi_trio._texts import shown
from wasi_trio.component._values import Variant


class DNSErrorPayload(NamedTuple):
    """What is known of a failed name look-up: the resolver's ``rcode`` and the extended ``info-code`` of RFC 8914."""

    rcode: str | None = None
    info_code: int | None = None


class TLSAlertReceivedPayload(NamedTuple):
    """A TLS alert of the peer: its number and description in RFC 8446, section 6."""

    alert_id: int | None = None
    alert_message: str | None = None


class FieldSizePayload(NamedTuple):
    """A header or trailer that was too large."""

    field_name: str | None = None
    field_size: int | None = None


class HttpError(Exception):
    """An HTTP exchange failed; ``code`` is the case of ``error-code`` that says how.

    ``HttpError("connection-refused")`` and ``HttpError("internal-error", "why")`` both work: the second
    argument is the payload of the case.
    """

    def __init__(self, case: str, value: Any = None) -> None:
        super().__init__(case if value is None else f"{case}: {shown(str(value))}")
        self.code = Variant(case, value)

    @classmethod
    def of(cls, code: Variant) -> HttpError:
        """The error for an ``error-code`` that came from a guest."""
        return cls(code.case, code.value)
