"""The processor time of requests. Exceeding the limit fails the exchange and traps the guest."""

from __future__ import annotations

from wasi_trio.component._errors import Trap
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import CpuTimeExceeded
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.wasi.http._errors import HttpError


class UsedUp(Trap):
    """The guest used all processor time of a request. The exchange has failed already."""


def charge(exchange: Exchange, seconds: float, limit: float) -> None:
    """Charge processor time to a request. If it exceeds the limit, fail the exchange and raise UsedUp.

    This cuts a response that is being sent.
    """
    exchange.processor += seconds
    if exchange.processor > limit:
        problem = f"used more than {limit:g} s of processor time"
        failure = CpuTimeExceeded(f"the guest {problem}")
        exchange.fail(failure, HttpError("internal-error", str(failure)))
        raise UsedUp(f"it {problem} for a request")


def retirement(trap: Trap, overdue: bool) -> Retirement:
    """Return the reason for which a trapped instance ends. ``overdue`` says that a request was past its deadline."""
    if isinstance(trap, UsedUp):
        return Retirement.CPU_TIME
    return Retirement.DEADLINE if overdue else Retirement.TRAP
