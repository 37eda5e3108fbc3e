"""A soak of a few seconds, which finds those leaks that do not require minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.soak import PLANS, Plan, soak


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.title)
async def test_nothing_is_left_behind(plan: Plan, tmp_path: Path) -> None:
    # Memory is not checked here, because the system needs time to return it.
    plan = replace(plan, growth=256 << 20)
    (course,) = await soak([plan], tmp_path, seconds=2, rounds=2, rest=0)
    assert course.problems() == []
    assert set(course.visits) == set(plan.clients)
