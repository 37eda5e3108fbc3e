"""Accounts and their budget: the bytes counted, refused and refunded."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wasi_trio.component._account import Account, Budget, Charge, OverBudget, as_size


def test_a_charge_beyond_the_limit_is_refused_without_effect() -> None:
    account = Account(limit=100)
    account.charge(60)
    with pytest.raises(OverBudget, match="the instance may hold at most 100 bytes of memory"):
        account.charge(41)
    account.charge(40)
    assert account.used == 100


def test_a_charge_lasts_as_long_as_its_object() -> None:
    account = Account(limit=100)
    charge = Charge(account, 70)
    with pytest.raises(OverBudget):
        Charge(account, 31)
    with pytest.raises(OverBudget):
        charge.resize(101)
    assert account.used == charge.size == 70
    charge.resize(10)
    assert account.used == 10
    del charge
    assert account.used == 0


def test_existing_bytes_are_counted_before_they_are_judged() -> None:
    account = Account(limit=100)
    account.grown(90)
    assert account.used == 90 and account.excess is None
    account.grown(20)
    assert account.excess == "the instance may hold at most 100 bytes of memory"
    account.grown(-60)
    assert account.used == 50 and account.excess is None


def test_beyond_the_budget_instances_above_their_share_are_refused() -> None:
    budget = Budget(limit=100)
    large, small = Account(budget=budget), Account(budget=budget)
    large.charge(95)
    assert not budget.admits(6) and budget.admits(5)
    with pytest.raises(OverBudget, match="all instances together"):
        large.charge(6)
    small.charge(50)
    with pytest.raises(OverBudget, match="all instances together"):
        small.charge(1)
    assert budget.used == 145


def test_the_end_of_an_instance_refunds_everything() -> None:
    budget = Budget(limit=100)
    freed: list[int] = []
    budget.on_freed["test"] = lambda: freed.append(budget.used)
    account = Account(budget=budget)
    charge = Charge(account, 80)
    assert not budget.admits(30)
    account.close()
    account.close()
    assert freed == [0] and budget.accounts == 0 and budget.admits(1000)
    del charge
    assert budget.used == 0


def test_the_first_instance_is_always_admitted() -> None:
    budget = Budget(limit=10)
    budget.add(50)
    assert budget.admits(1)
    Account(budget=budget)
    assert not budget.admits(0)


@pytest.mark.parametrize(
    ("size", "text"),
    [(3, "3 bytes"), (1536, "1.5 KiB"), (64 << 20, "64 MiB"), (1 << 30, "1 GiB"), (math.inf, "any amount")],
)
def test_amounts(size: float, text: str) -> None:
    assert as_size(size) == text


class Accounts(RuleBasedStateMachine):
    """For any instances and charges, the sums are right and the limits hold."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(limit=1000)
        self.held: dict[Account, list[Charge]] = {}

    @rule(limit=st.integers(0, 800))
    def begin(self, limit: int) -> None:
        self.held[Account(limit, self.budget)] = []

    @precondition(lambda self: self.held)
    @rule(data=st.data(), size=st.integers(0, 500))
    def hold(self, data: st.DataObject, size: int) -> None:
        account = data.draw(st.sampled_from(list(self.held)))
        before = self.budget.used
        try:
            self.held[account].append(Charge(account, size))
        except OverBudget:
            assert account.used + size > account.limit or before + size > self.budget.limit
            assert self.budget.used == before

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), size=st.integers(0, 500))
    def change(self, data: st.DataObject, size: int) -> None:
        charges = self.drawn(data)
        charge = charges[data.draw(st.integers(0, len(charges) - 1))]
        before = charge.size
        try:
            charge.resize(size)
        except OverBudget:
            assert charge.size == before < size

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        self.drawn(data).pop()

    def drawn(self, data: st.DataObject) -> list[Charge]:
        """Return an account's charges. Drawn by number, because Hypothesis keeps drawn objects alive."""
        lists = [charges for charges in self.held.values() if charges]
        return lists[data.draw(st.integers(0, len(lists) - 1))]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        account = data.draw(st.sampled_from(list(self.held)))
        account.close()
        del self.held[account]

    @invariant()
    def sums(self) -> None:
        for account, charges in self.held.items():
            assert account.used == sum(charge.size for charge in charges) <= account.limit
        assert self.budget.used == sum(account.used for account in self.held)
        assert self.budget.accounts == len(self.held)


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
