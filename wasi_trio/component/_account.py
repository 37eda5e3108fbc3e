"""What guests make the host hold, counted in bytes: an account for each instance, a budget for all of a process.

Counted are linear memories, tables, and whatever Python keeps for a guest: its handles and what is behind them, calls
under way, values and contents that wait. Small things are counted with the handle that they belong to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from wasi_trio.component._errors import Trap

#: bytes that a handle counts, whatever it stands for: the objects behind it, and up to ``FREE`` bytes of contents
HANDLE: Final = 2048
#: bytes that something with a handle may hold before they are counted
FREE: Final = 1024
#: bytes that a call under way counts: its coroutine or its thread, and the task around it
CALL: Final = 8192
#: bytes that a guest's thread counts: what it usually uses of its stack, and the objects around it
THREAD: Final = 64 << 10


class OverBudget(Trap):
    """The guest made the host hold more than it may."""


class Budget:
    """The bytes that all instances of a process hold together, and how many they may.

    An instance is refused more when all together are over ``limit`` and it has more than its share. So the limit is
    overrun by instances that grow up to their share, and by no more than it is itself.
    """

    __slots__ = ("accounts", "limit", "on_freed", "peak", "used")

    def __init__(self, limit: float = math.inf) -> None:
        self.limit = limit
        self.used = 0
        #: the most that was in use when some was freed; whoever looks at it sets it back
        self.peak = 0
        #: instances that there are
        self.accounts = 0
        #: called when an instance has ended, in the order of their keys
        self.on_freed: dict[object, Callable[[], None]] = {}

    def admits(self, size: int) -> bool:
        """Whether an instance of that size can be made. The first always can."""
        return self.used + size <= self.limit or not self.accounts

    def reserve(self, size: int) -> None:
        """An instance of about that size is going to be made: it counts from here on, until ``unreserve``."""
        self.used += size
        self.accounts += 1

    def unreserve(self, size: int) -> None:
        """It is made now, and counts for itself."""
        self.used -= size
        self.accounts -= 1

    def add(self, size: int) -> None:
        """Count bytes that are held for no one instance; a negative number takes some back."""
        self.used += size


class Account:
    """What one instance holds; all components of a composition share one.

    ``is_instance`` is false for what is held for no one instance, and has no part in what each may.
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
        """Count bytes more. Raises OverBudget, with nothing counted, where these are too many."""
        used = self.used + size
        excess = self._judge(used, size)
        if excess is not None:
            raise OverBudget(excess)
        if self.budget is not None:
            self.budget.used += size
        self.used = used

    def _judge(self, used: int, size: int) -> str | None:
        if used > self.limit:
            return f"the instance may hold no more than {as_size(self.limit)} of memory"
        budget = self.budget
        if budget is not None and budget.used + size > budget.limit and used * budget.accounts > budget.limit:
            return f"all instances together may hold no more than {as_size(budget.limit)} of memory"
        return None

    def refund(self, size: int) -> None:
        """Count bytes less."""
        self.used -= size
        budget = self.budget
        if budget is not None:
            if budget.used > budget.peak:
                budget.peak = budget.used
            budget.used -= size

    def grown(self, size: int) -> None:
        """Count bytes that are there already, however many; ``excess`` judges them."""
        self.refund(-size)

    @property
    def excess(self) -> str | None:
        """What is wrong with how much the instance holds, if anything."""
        return self._judge(self.used, 0)

    def close(self) -> None:
        """The instance is gone, and everything it held. Harmless when repeated."""
        budget, self.budget = self.budget, None
        if budget is not None:
            budget.peak = max(budget.peak, budget.used)
            budget.used -= self.used
            budget.accounts -= self._is_instance
            for callback in list(budget.on_freed.values()):
                callback()


class Charge:
    """Bytes counted for as long as this object lives: whoever holds them holds this.

    Those that are ``present`` are counted in any case, as by ``Account.grown``.
    """

    __slots__ = ("_account", "size")

    def __init__(self, account: Account, size: int, *, present: bool = False) -> None:
        """Raises OverBudget."""
        self.size = 0
        self._account = account
        if present:
            account.grown(size)
        else:
            account.charge(size)
        self.size = size

    def resize(self, size: int) -> None:
        """Count that many bytes from here on. Raises OverBudget, with nothing changed."""
        if size > self.size:
            self._account.charge(size - self.size)
        else:
            self._account.refund(self.size - size)
        self.size = size

    def __del__(self) -> None:
        if self.size:
            self._account.refund(self.size)


def as_size(size: float) -> str:
    """Bytes as people write them."""
    if size == math.inf:
        return "any amount"
    for unit, exponent in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << exponent:
            return f"{size / (1 << exponent):.4g} {unit}"
    return f"{size:g} bytes"
