"""Counts the bytes of host memory that guests occupy: one account for each instance, one budget for each process.

An account counts linear memories, tables, and everything that Python keeps for a guest: handles and the objects behind
them, calls in progress, and queued values and contents. Small objects are counted with the handle that they belong to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from wasi_trio.component._errors import Trap

#: Bytes counted for each handle: the objects behind it, and up to ``FREE`` bytes of contents.
HANDLE: Final = 2048
#: Bytes that an object with a handle may hold before they are counted.
FREE: Final = 1024
#: Bytes counted for each call in progress: its coroutine or thread, and the task around it.
CALL: Final = 8192
#: Bytes counted for each guest thread: the typical use of its stack, and the objects around it.
THREAD: Final = 64 << 10


class OverBudget(Trap):
    """The guest occupies more host memory than its limit."""


class Budget:
    """The memory in bytes that all instances of a process occupy together, and its limit.

    An instance is refused more memory if the total exceeds ``limit`` and the instance has more than its share. So
    instances that grow up to their share can exceed the limit, by at most the limit itself.
    """

    __slots__ = ("accounts", "limit", "on_freed", "peak", "used")

    def __init__(self, limit: float = math.inf) -> None:
        self.limit = limit
        self.used = 0
        #: The highest use before a refund. The reader of this figure resets it.
        self.peak = 0
        #: The number of instances.
        self.accounts = 0
        #: Callbacks for the end of an instance, called in the order of their insertion.
        self.on_freed: dict[object, Callable[[], None]] = {}

    def admits(self, size: int) -> bool:
        """Return whether an instance of that size can be created. The first instance always can."""
        return self.used + size <= self.limit or not self.accounts

    def reserve(self, size: int) -> None:
        """Count an instance of about that size before it is created. ``unreserve`` ends this."""
        self.used += size
        self.accounts += 1

    def unreserve(self, size: int) -> None:
        """End a reservation. The instance exists, so its account counts its memory."""
        self.used -= size
        self.accounts -= 1

    def add(self, size: int) -> None:
        """Count bytes that belong to no single instance. A negative size subtracts."""
        self.used += size


class Account:
    """The memory in bytes that one instance occupies. All components of a composition share one account.

    ``is_instance`` is false for memory that belongs to no single instance. Such an account takes no share of the
    budget.
    """

    __slots__ = ("_is_instance", "budget", "limit", "used")

    def __init__(self, limit: float = math.inf, budget: Budget | None = None, *, is_instance: bool = True) -> None:
        self.limit = limit
        self.budget = budget
        self.used = 0
        self._is_instance = is_instance
        if budget is not None and is_instance:
            budget.accounts += 1

    def charge(self, size: int) -> None:
        """Count more bytes. Raise OverBudget if the limit is exceeded; then nothing is counted."""
        used = self.used + size
        excess = self._judge(used, size)
        if excess is not None:
            raise OverBudget(excess)
        if self.budget is not None:
            self.budget.used += size
        self.used = used

    def _judge(self, used: int, size: int) -> str | None:
        if used > self.limit:
            return f"the instance may hold at most {as_size(self.limit)} of memory"
        budget = self.budget
        if budget is not None and budget.used + size > budget.limit and used * budget.accounts > budget.limit:
            return f"all instances together may hold at most {as_size(budget.limit)} of memory"
        return None

    def refund(self, size: int) -> None:
        """Count fewer bytes."""
        self.used -= size
        budget = self.budget
        if budget is not None:
            if budget.used > budget.peak:
                budget.peak = budget.used
            budget.used -= size

    def grown(self, size: int) -> None:
        """Count bytes that already exist, even beyond the limit. ``excess`` checks the limit."""
        self.refund(-size)

    @property
    def excess(self) -> str | None:
        """The limit that the instance exceeds, as a message, or None."""
        return self._judge(self.used, 0)

    def close(self) -> None:
        """Subtract everything that the instance held, because it has ended. May be called again."""
        budget, self.budget = self.budget, None
        if budget is not None:
            budget.peak = max(budget.peak, budget.used)
            budget.used -= self.used
            budget.accounts -= self._is_instance
            for callback in list(budget.on_freed.values()):
                callback()


class Charge:
    """Bytes that are counted during the lifetime of this object. The owner of the bytes must own this object.

    With ``present``, the bytes are counted even beyond the limit, as in ``Account.grown``.
    """

    __slots__ = ("_account", "size")

    def __init__(self, account: Account, size: int, *, present: bool = False) -> None:
        """Count ``size`` bytes. Raises OverBudget."""
        self.size = 0
        self._account = account
        if present:
            account.grown(size)
        else:
            account.charge(size)
        self.size = size

    def resize(self, size: int) -> None:
        """Count ``size`` bytes instead. Raises OverBudget; then nothing changes."""
        if size > self.size:
            self._account.charge(size - self.size)
        else:
            self._account.refund(self.size - size)
        self.size = size

    def __del__(self) -> None:
        if self.size:
            self._account.refund(self.size)


def as_size(size: float) -> str:
    """Return a number of bytes with a readable unit."""
    if size == math.inf:
        return "any amount"
    for unit, exponent in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << exponent:
            return f"{size / (1 << exponent):.4g} {unit}"
    return f"{size:g} bytes"
