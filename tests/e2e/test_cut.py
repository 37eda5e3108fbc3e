"""Content that a guest wrote before its failure reaches the client, which can tell that it is incomplete."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.ways import BOTH, WAYS, Cut


@WAYS
@BOTH
async def test_content_before_a_trap(guest: str, way: Any) -> None:
    async with way(guest) as ask:
        for _ in range(3):
            with pytest.raises(Cut) as caught:
                await ask("GET", "/trap-in-body")
            assert (caught.value.status, caught.value.content) == (200, b"begun\n")


@WAYS
async def test_content_before_an_error_in_place_of_trailers(way: Any) -> None:
    async with way("python_p3") as ask:
        for _ in range(3):
            with pytest.raises(Cut) as caught:
                await ask("GET", "/cut-off")
            assert (caught.value.status, caught.value.content) == (200, b"begun\n")
