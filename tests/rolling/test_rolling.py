"""A few seconds of each course, in HAProxy's default mode; ``nox -s rolling`` runs them in full."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.balancer.haproxy import program
from tests.rolling.courses import Course, killed, replaced, stopped, storeless

pytestmark = pytest.mark.skipif(program() is None, reason="haproxy is not installed")


@pytest.mark.parametrize("what", [replaced, killed, stopped, storeless])
async def test_only_permitted_losses(what: Callable[[Path, str, int], Awaitable[Course]], tmp_path: Path) -> None:
    course = await what(tmp_path, "safe", 600)
    assert course.problems == []
    assert min(course.get, course.post) >= 200
    assert (course.refused > 0) is (what is storeless)


def test_violations_are_problems() -> None:
    course = Course("it", "safe", post=2, lost=["GET"])
    course.judge(1)
    assert course.problems == [
        "it, safe: 1 lost, 0 at most: ['GET']",
        "it, safe: 1 were counted, 2 to 2 is right",
    ]
