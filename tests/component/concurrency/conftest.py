from __future__ import annotations

import pytest

from tests.component.concurrency.world import World


@pytest.fixture
def world() -> World:
    return World()
