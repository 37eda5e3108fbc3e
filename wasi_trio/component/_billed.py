"""The base of the host's resources that an account counts."""

from __future__ import annotations

from typing import ClassVar

from wasi_trio.component._account import Account, Charge


class Billed:
    """A resource that counts a fixed number of bytes, ``COST``, during its lifetime."""

    __slots__ = ("_charge",)

    COST: ClassVar[int]

    def bill(self, account: Account) -> None:
        """Count this resource in an account. Raises OverBudget."""
        self._charge = Charge(account, self.COST)
