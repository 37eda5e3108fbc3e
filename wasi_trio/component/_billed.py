"""Resources of the host's that are counted when a guest has them."""

from __future__ import annotations

from typing import ClassVar

from wasi_trio.component._account import Account, Charge


class Billed:
    """A resource that is counted with the same number of bytes for as long as it lives: ``COST``."""

    __slots__ = ("_charge",)

    COST: ClassVar[int]

    def bill(self, account: Account) -> None:
        """Count it in an account. Raises OverBudget."""
        self._charge = Charge(account, self.COST)
