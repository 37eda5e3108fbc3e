"""Admission against a model, with any order of events. It uses neither wasm nor trio."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wasi_trio.serve.pool._admission import STRENGTH, Admission, Bounds, Slot, Verdict
from wasi_trio.serve.pool._outcomes import Retirement


class Machine(RuleBasedStateMachine):
    """A model that keeps lists of requests, where admission keeps counts."""

    @initialize(
        requests=st.sampled_from([1, 2, 5, math.inf]),
        queued=st.sampled_from([0, 1, 3, math.inf]),
        reuse=st.integers(1, 5),
        at_once=st.integers(1, 4),
    )
    def begin(self, requests: float, queued: float, reuse: int, at_once: int) -> None:
        self.bounds = Bounds(requests, queued, reuse, at_once)
        self.has_memory = True
        self.admission: Admission[int] = Admission(self.bounds, lambda: self.has_memory)
        self.requests = 0
        self.queued: list[int] = []
        #: The active requests of each instance, and the number of all its requests.
        self.has: dict[Slot, list[int]] = {}
        self.had: dict[Slot, int] = {}
        #: The available instances. The first has been available for longest.
        self.roomy: list[Slot] = []
        self.draining = False

    # ---- the model ----

    def active(self) -> int:
        return sum(map(len, self.has.values()))

    def review(self, slot: Slot) -> None:
        bounds = self.bounds
        room = slot.ready and slot.retired is None
        room = room and len(self.has[slot]) < bounds.at_once and self.had[slot] < bounds.reuse
        if room and slot not in self.roomy:
            self.roomy.append(slot)
        elif not room and slot in self.roomy:
            self.roomy.remove(slot)

    def placed(self, request: int, verdict: Verdict, slot: Slot) -> None:
        if self.roomy:
            assert (verdict, slot) == (Verdict.ACCEPT, self.roomy[0])
        else:
            assert verdict is Verdict.START and slot not in self.has
            assert slot.number == len(self.has) + 1
            assert slot.retired is (Retirement.SHUTDOWN if self.draining else None)
            self.has[slot], self.had[slot] = [], 0
        self.has[slot].append(request)
        self.had[slot] += 1
        self.review(slot)

    def can_place(self) -> bool:
        return self.active() < self.bounds.requests and (bool(self.roomy) or self.has_memory)

    def fill_places(self) -> None:
        while (request := self.admission.next_queued()) is not None:
            assert self.can_place()
            assert request == self.queued.pop(0), "in the order in which they came"
            self.placed(request, *self.admission.place())

    def slot(self, data: st.DataObject, busy: bool = False) -> Slot:
        return data.draw(st.sampled_from([slot for slot, has in self.has.items() if has or not busy]))

    # ---- events ----

    @rule()
    def submit(self) -> None:
        self.requests += 1
        possible = self.can_place()
        assert self.admission.can_place() is possible
        assert self.admission.short is (self.active() < self.bounds.requests and not possible)
        verdict, slot = self.admission.submit(self.requests)
        if possible:
            assert slot is not None
            self.placed(self.requests, verdict, slot)
        elif len(self.queued) < self.bounds.queued:
            assert (verdict, slot) == (Verdict.QUEUE, None)
            self.queued.append(self.requests)
        else:
            assert (verdict, slot) == (Verdict.REFUSE, None)

    @precondition(lambda self: self.active())
    @rule(data=st.data(), ready=st.booleans())
    def finish(self, data: st.DataObject, ready: bool) -> None:
        slot = self.slot(data, busy=True)
        self.has[slot].pop(0)
        self.admission.done(slot, ready)
        self.review(slot)
        self.admission.release()
        self.fill_places()

    @precondition(lambda self: self.active())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        slot = self.slot(data, busy=True)
        self.admission.set_ready(slot, False)
        self.review(slot)
        given = [self.has[slot].pop() for _ in range(data.draw(st.integers(1, len(self.has[slot]))))]
        self.had[slot] -= len(given)
        self.admission.give_back(slot, len(given))
        self.review(slot)
        for request in given:
            if self.can_place():
                self.placed(request, *self.admission.place())
            else:
                self.admission.enqueue(request)
                self.queued.append(request)
        self.fill_places()

    @precondition(lambda self: self.has)
    @rule(data=st.data(), ready=st.booleans())
    def set_ready(self, data: st.DataObject, ready: bool) -> None:
        slot = self.slot(data)
        self.admission.set_ready(slot, ready)
        self.review(slot)
        self.fill_places()

    @rule(has=st.booleans())
    def change_memory(self, has: bool) -> None:
        self.has_memory = has
        if has:
            self.fill_places()

    @precondition(lambda self: self.has)
    @rule(data=st.data(), reason=st.sampled_from(Retirement))
    def retire(self, data: st.DataObject, reason: Retirement) -> None:
        slot = self.slot(data)
        before = slot.retired
        self.admission.retire(slot, reason)
        stronger = before is None or STRENGTH[reason] > STRENGTH[before]
        assert slot.retired is (reason if stronger else before)
        self.review(slot)

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.queued))
        self.queued.remove(request)
        self.admission.withdraw(request)
        self.admission.withdraw(request)

    @rule()
    def drain(self) -> None:
        self.draining = True
        self.admission.drain()

    # ---- invariants ----

    @invariant()
    def counts(self) -> None:
        admission, bounds = self.admission, self.bounds
        assert admission.active == self.active() <= bounds.requests
        assert list(admission.queued) == self.queued
        assert not self.queued or not self.can_place(), "nobody waits for nothing"
        assert admission.started == len(self.has)
        for slot, has in self.has.items():
            assert (slot.load, slot.taken) == (len(has), self.had[slot])
            assert slot.load <= bounds.at_once and slot.taken <= bounds.reuse
            assert admission.spent(slot) == (slot.taken == bounds.reuse)
            assert admission.closed(slot) == (slot.taken == bounds.reuse or slot.retired is not None)


TestAdmission = Machine.TestCase
TestAdmission.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


def test_every_reason_has_its_strength() -> None:
    assert set(STRENGTH) == set(Retirement)


@pytest.mark.parametrize(("count", "reuse", "at_once", "started"), [(17, 128, 16, 2), (40, 2, 40, 20), (5, 1, 16, 5)])
def test_simultaneous_requests_fill_instances(count: int, reuse: int, at_once: int, started: int) -> None:
    admission: Admission[int] = Admission(Bounds(reuse=reuse, at_once=at_once))
    slots = [admission.submit(number)[1] for number in range(count)]
    assert admission.started == len(set(slots)) == started
