"""The destinations of guests' requests are limited by the allow-list, which also limits sockets."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import trio
from test_http_outgoing_handler import OutgoingHandler, get, request

from wasi_trio.component._values import Ok, Variant
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._context import HttpOptions
from wasi_trio.wasi.http._messages import Response
from wasi_trio.wasi.sockets._context import NetworkOptions

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
DENIED, PROHIBITED = "HTTP-request-denied", "destination-IP-prohibited"


def handler(nursery, entries, **http):
    options = WasiOptions(network=NetworkOptions(outbound=Outbound.parse(entries)))
    if http:
        options = replace(options, http=HttpOptions(**http))
    return OutgoingHandler(WasiContext(options, nursery=nursery))


class Resolver(trio.abc.HostnameResolver):
    """A resolver that returns the loopback address at first, and another address after that."""

    def __init__(self):
        self.asked = []

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        address = "192.0.2.1" if self.asked else "127.0.0.1"
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@pytest.fixture
async def resolver():
    made = Resolver()
    trio.socket.set_custom_hostname_resolver(made)
    return made


@pytest.mark.parametrize("entry", ["127.0.0.2", "https://127.0.0.1", "127.0.0.1:1", "example.test", "tcp://127.0.0.1"])
async def test_an_address_that_is_denied(origin, nursery, entry):
    await origin.answer(OK)
    outcome = await get(handler(nursery, [entry]).handle(request(f"127.0.0.1:{origin.port}"), None).value)
    assert outcome.value == Variant(DENIED)


async def test_a_name_that_is_allowed(origin, nursery, resolver):
    """The name is resolved once, and the connection uses the resolved address."""
    await origin.answer(OK)
    ask = handler(nursery, ["*.example.test"])
    outcome = await get(ask.handle(request(f"www.example.test:{origin.port}"), None).value)
    assert isinstance(outcome, Ok)
    assert resolver.asked == [b"www.example.test"]


async def test_an_unlisted_name_is_not_resolved(nursery, resolver):
    outcome = await get(handler(nursery, ["example.test"]).handle(request("secret.evil.test"), None).value)
    assert outcome.value == Variant(DENIED)
    assert resolver.asked == []


async def test_a_name_by_its_addresses(origin, nursery, resolver):
    """If networks are allowed, the addresses of an unlisted host decide."""
    await origin.answer(OK)
    ask = handler(nursery, ["127.0.0.0/8"])
    assert isinstance(await get(ask.handle(request(f"a.test:{origin.port}"), None).value), Ok)
    outcome = await get(ask.handle(request(f"a.test:{origin.port}"), None).value)
    assert outcome.value == Variant(PROHIBITED)
    assert resolver.asked == [b"a.test", b"a.test"]


@pytest.mark.parametrize("authority", ["0x7f.1", "2130706433", "127.1"])
async def test_other_ways_to_write_an_address(origin, nursery, authority):
    """A text that only the system interprets as an address is judged by the resulting address."""
    await origin.answer(OK)
    ask = handler(nursery, ["192.0.2.0/24"]).handle(request(f"{authority}:{origin.port}"), None).value
    assert (await get(ask)).value == Variant(PROHIBITED)
    ask = handler(nursery, ["127.0.0.1"]).handle(request(f"{authority}:{origin.port}"), None).value
    assert isinstance(await get(ask), Ok)


async def test_requests_that_the_embedder_answers(nursery):
    """The list also applies to requests that the embedder answers."""

    async def send(request, options, nursery):
        return Response(200, [], Body.empty())

    ask = handler(nursery, ["example.test"], send=send)
    assert isinstance(await get(ask.handle(request("example.test"), None).value), Ok)
    assert (await get(ask.handle(request("other.test"), None).value)).value == Variant(DENIED)


async def test_without_a_list(origin, nursery):
    await origin.answer(OK)
    ask = OutgoingHandler(WasiContext(WasiOptions(), nursery=nursery))
    assert isinstance(await get(ask.handle(request(f"127.0.0.1:{origin.port}"), None).value), Ok)


def blocking(nursery, entries=None):
    outbound = None if entries is None else Outbound.parse(entries)
    options = WasiOptions(network=NetworkOptions(outbound=outbound, block_private=True))
    return OutgoingHandler(WasiContext(options, nursery=nursery))


@pytest.mark.parametrize("entries", [None, ["*"], ["a.test"], ["0.0.0.0/0"], ["a.test", "10.0.0.0/8"]])
async def test_private_addresses_that_are_blocked(origin, nursery, resolver, entries):
    """No name leads to a blocked address, not even a listed one."""
    await origin.answer(OK)
    outcome = await get(blocking(nursery, entries).handle(request(f"a.test:{origin.port}"), None).value)
    assert outcome.value == Variant(PROHIBITED)
    for authority in ("127.0.0.1", "[::ffff:127.0.0.1]", "127.1"):
        asked = blocking(nursery, entries).handle(request(f"{authority}:{origin.port}"), None).value
        assert (await get(asked)).value.case in (DENIED, PROHIBITED)


async def test_private_addresses_that_are_on_the_list(origin, nursery, resolver):
    await origin.answer(OK)
    ask = blocking(nursery, ["127.0.0.0/8"])
    assert isinstance(await get(ask.handle(request(f"a.test:{origin.port}"), None).value), Ok)
    assert isinstance(await get(ask.handle(request(f"127.0.0.1:{origin.port}"), None).value), Ok)
