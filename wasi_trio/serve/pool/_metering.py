"""The processor time of requests: who has used too much of it is answered, and the guest's call ended by a trap."""

from __future__ import annotations

from wasi_trio.component._errors import Trap
from wasi_trio.serve.pool._exchange import CpuTimeExceeded, Exchange
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.wasi.http._errors import HttpError


class UsedUp(Trap):
    """A request has used all the processor time that it may; its exchange has failed already."""


def charge(exchange: Exchange, seconds: float, limit: float) -> None:
    """Count processor time that a guest has used for a request; raises UsedUp, with the exchange failed.

    A response that is on its way is cut.
    """
    exchange.processor += seconds
    if exchange.processor > limit:
        problem = f"used more than {limit:g} s of processor time"
        failure = CpuTimeExceeded(f"the guest {problem}")
        exchange.fail(failure, HttpError("internal-error", str(failure)))
        raise UsedUp(f"it {problem} for a request")


def retirement(trap: Trap, overdue: bool) -> Retirement:
    """Why an instance ends that trapped; ``overdue`` says that it was past a deadline."""
    if isinstance(trap, UsedUp):
        return Retirement.CPU_TIME
    return Retirement.DEADLINE if overdue else Retirement.TRAP
