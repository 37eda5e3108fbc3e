"""The ways in which an exchange can fail."""

from __future__ import annotations

from wasi_trio.serve.pool._outcomes import Outcome
from wasi_trio.wasi.http._errors import HttpError


class ExchangeFailed(Exception):
    """A request received no response. ``status`` is the HTTP status for the client, and ``str()`` is one line.

    ``error`` is the error for a guest that made the request. ``retry_after`` is the time after which a client may try
    again, in seconds, if that could help.
    """

    status = 500
    outcome = Outcome.GUEST_FAILED
    retry_after: int | None = None
    error: HttpError | None = None


class GuestFailed(ExchangeFailed):
    """The guest trapped, exited, or returned without a response."""


class InstantiationFailed(ExchangeFailed):
    """No instance could be created for the request."""

    status = 503
    outcome = Outcome.INSTANTIATION_FAILED


class Overloaded(ExchangeFailed):
    """The queue of waiting requests is full, or the memory does not suffice for another instance."""

    status = 503
    outcome = Outcome.OVERLOADED
    retry_after = 1


class ShuttingDown(ExchangeFailed):
    """The handler ended before the guest answered."""

    status = 503
    outcome = Outcome.SHUTDOWN
    retry_after = 1


class DeadlinePassed(ExchangeFailed):
    """The guest did not answer by the request's deadline."""

    status = 504
    outcome = Outcome.DEADLINE


class CpuTimeExceeded(ExchangeFailed):
    """The guest exceeded the request's limit of processor time."""

    status = 503
    outcome = Outcome.CPU_TIME
