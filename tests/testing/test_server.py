"""A component behind a real server, in a test."""

from __future__ import annotations

import httpx
import pytest
import trio

from tests.guests import wat
from tests.guests.build import build
from tests.testing.support import guest
from wasi_trio.testing import Answer, LoadError, OutgoingRequest, Retirement, UnexpectedRequest, server


@pytest.mark.parametrize("name", ["hello", "p3_hello"])
async def test_a_real_client(name: str) -> None:
    async with server(wat.source(name)) as live, httpx.AsyncClient(base_url=live.url, trust_env=False) as client:
        response = await client.get("/x")
        assert (response.status_code, response.text) == (200, "Hello, world!\n")
        assert "date" in response.headers
        assert live.url == f"http://127.0.0.1:{live.port}"
        assert [instance.requests for instance in live.instances] == [1]
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", live.port)


async def test_two_at_once_have_ports_of_their_own() -> None:
    async with server(wat.source("hello")) as one, server(wat.source("p3_middleware"), guest("hello")) as other:
        assert one.port != other.port
        async with httpx.AsyncClient(trust_env=False) as client:
            assert "x-middleware" not in (await client.get(one.url)).headers
            assert (await client.get(other.url)).headers["x-middleware"] == "passed"


async def test_a_guest_that_traps_is_a_500() -> None:
    async with server(wat.source("trap")) as live, httpx.AsyncClient(base_url=live.url, trust_env=False) as client:
        assert (await client.get("/")).status_code == 500
        await live.settled()
        assert live.instances[0].retired is Retirement.TRAP


async def test_outgoing_requests() -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        return Answer(content=f"from {request.url}")

    async with (
        server(build("python_p2"), outgoing=outgoing) as live,
        httpx.AsyncClient(base_url=live.url, trust_env=False) as client,
    ):
        assert (await client.get("/fetch?url=http://example.test/x")).text == "from http://example.test/x"


async def test_a_request_that_nothing_answers_ends_the_block() -> None:
    """The harness does not know the client's request, and the client sees only the guest's reaction."""
    with pytest.raises(UnexpectedRequest, match="the guest asked for GET http"):
        async with server(build("python_p2")) as live, httpx.AsyncClient(base_url=live.url, trust_env=False) as client:
            await client.get("/fetch?url=http://example.test/x")
            await trio.sleep_forever()


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError) as caught:
        async with server(wat.source("hello")):
            raise error
    assert caught.value is error


async def test_what_is_no_component() -> None:
    with pytest.raises(LoadError, match="cannot read"):
        async with server("nowhere.wasm"):
            pass
