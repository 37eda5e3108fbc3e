"""Shared by the tests of sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wasi_trio.wasi._descriptors import GUESTS


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Give back the share of sockets that a test does not drop. An instance would drop them at its end."""
    before = GUESTS.count
    yield
    GUESTS.count = before
