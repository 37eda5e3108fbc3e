"""Responses and their announced length, where HTTP allows content and where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.support import logged
from tests.e2e.ways import BOTH, WAYS, Cut, harness


@WAYS
@BOTH
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 304), ("POST", 304)])
@pytest.mark.parametrize("body", ["", "0123456789", "more-than-that"])
async def test_the_length_of_unsent_content(
    method: str, status: int, body: str, guest: str, way: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The length is the guest's, whatever the guest writes. The guest's write succeeds, so it does not trap."""
    async with way(guest) as ask:
        for _ in range(2):  # the connection and the instance stay usable
            got = await ask(method, f"/answer?status={status}&length=10&body={body}")
            assert (got.status, got.content) == (status, b"")
            assert got.headers["content-length"] == "10"
    assert not [line for line in logged(caplog) if "trapped" in line]


@WAYS
@BOTH
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("body", ["", "0123456789"])
async def test_a_204_has_no_length(method: str, body: str, guest: str, way: Any) -> None:
    async with way(guest) as ask:
        for _ in range(2):
            got = await ask(method, f"/answer?status=204&length=10&body={body}")
            assert (got.status, got.content) == (204, b"")
            assert "content-length" not in got.headers


@BOTH
async def test_a_successful_connect_response_has_neither_content_nor_length(guest: str) -> None:
    """This uses the harness, because the clients here do not support CONNECT."""
    async with harness(guest) as ask:
        got = await ask("CONNECT", "/answer?length=10&body=01234")
        assert (got.status, got.content) == (200, b"")
        assert "content-length" not in got.headers
        got = await ask("CONNECT", "/answer?status=403&length=5&body=01234")
        assert (got.status, got.content, got.headers["content-length"]) == (403, b"01234", "5")


@WAYS
@BOTH
async def test_content_of_the_announced_length(guest: str, way: Any) -> None:
    async with way(guest) as ask:
        for body in ("0123456789", ""):
            got = await ask("GET", f"/answer?length={len(body)}&body={body}")
            assert (got.status, got.content) == (200, body.encode())
            assert got.headers["content-length"] == str(len(body))


@WAYS
@BOTH
@pytest.mark.parametrize("body", ["", "012345678"])
async def test_short_content_does_not_appear_complete(body: str, guest: str, way: Any) -> None:
    async with way(guest) as ask:
        try:
            got = await ask("GET", f"/answer?length=10&body={body}")
        except Cut:
            return
        assert got.status == 500


@WAYS
@pytest.mark.parametrize("how", ["unasked", "early"])
async def test_a_wasi_0_2_guest_writes_before_it_sets_its_response(how: str, way: Any) -> None:
    """The request is not known by then. Errors about a length are reported when the response is set."""
    async with way("python_p2") as ask:
        for method, status in (("HEAD", 200), ("GET", 304)):
            got = await ask(method, f"/answer?status={status}&length=10&{how}")
            assert (got.status, got.content, got.headers["content-length"]) == (status, b"", "10")
        got = await ask("GET", f"/answer?length=0&{how}")
        assert (got.status, got.content, got.headers["content-length"]) == (200, b"", "0")
        try:
            got = await ask("GET", f"/answer?length=10&{how}")
        except Cut:
            return
        assert got.status == 500
