"""A tenth of each attack, with the figures that do not depend on the machine; ``nox -s attack`` checks all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.attacks import ATTACKS, Attack, Figure
from tests.attack.run import Course, run


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.in_short], ids=lambda attack: attack.name)
async def test_it_is_survived(attack: Attack, tmp_path: Path) -> None:
    (course,) = await run([attack], tmp_path, short=True)
    assert course.problems(always=True) == []


def test_violations_are_problems() -> None:
    course = Course(ATTACKS[0])
    course.figures = [
        Figure("right", 1, at_most=1, at_least=1, always=True),
        Figure("many", 2, at_most=1, always=True),
        Figure("few", 0, "ms", at_least=1),
    ]
    name = ATTACKS[0].name
    assert course.problems() == [
        f"{name}: many: 2 , at most 1 is right",
        f"{name}: few: 0 ms, at least 1 is right",
    ]
    assert course.problems(always=True) == [f"{name}: many: 2 , at most 1 is right"]
