from __future__ import annotations

import pytest
from http_origin import Origin


@pytest.fixture
async def origin(nursery):
    return Origin(nursery)
