from __future__ import annotations

import pytest

from tests.component.concurrency.host_log import Log
from tests.component.concurrency.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def log() -> Log:
    return Log()
