from __future__ import annotations

import ssl

import pytest
import trio
import trustme
from http_origin import content, failure, read_all, read_head

from wasi_trio.component._values import Variant
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._client import Client
from wasi_trio.wasi.http._connect import default_tls_context
from wasi_trio.wasi.http._connections import Connections


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def server_side(authority, name="127.0.0.1"):
    """Return a function that adds TLS to a server's stream, with a certificate for ``name``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return lambda stream: trio.SSLStream(stream, context, server_side=True, https_compatible=True)


def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Client(tls=context)


async def hello(stream):
    try:
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        await read_all(stream)
    except trio.BrokenResourceError:
        pass  # the client rejected the certificate


async def test_a_certificate_of_a_trusted_authority(origin, authority):
    await origin.start(hello, server_side(authority))
    origin.client = trusting(authority)
    response = await origin.send(origin.request(scheme="https"))
    assert await content(response.body) == b"hello"


async def test_https_is_the_default(origin, authority):
    await origin.start(hello, server_side(authority))
    origin.client = trusting(authority)
    response = await origin.send(origin.request(scheme=None))
    assert await content(response.body) == b"hello"


async def test_streaming_both_ways(origin, authority):
    async def echo(stream):
        _, rest = await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
        async for data in stream:
            await stream.send_all(data)

    await origin.start(echo, server_side(authority))
    origin.client = trusting(authority)
    body = Body()
    response = await origin.send(origin.request("POST", scheme="https", body=body))
    for _ in range(3):
        body.try_write(b"x" * 20_000)
        read = b""
        while len(read) < 20_000:
            read += await response.body.receive_some()
    body.finish()
    assert await response.body.receive_some() == b""


async def test_the_system_does_not_trust_just_anyone(origin, authority):
    await origin.start(hello, server_side(authority))
    assert default_tls_context() is default_tls_context()
    assert await failure(origin.send(origin.request(scheme="https"))) == Variant("TLS-certificate-error")


async def test_a_certificate_for_another_name(origin, authority):
    await origin.start(hello, server_side(authority, "somewhere.test"))
    origin.client = trusting(authority)
    assert await failure(origin.send(origin.request(scheme="https"))) == Variant("TLS-certificate-error")


async def test_a_server_without_tls(origin):
    async def plain(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 This is no TLS\r\n\r\n")

    await origin.start(plain)
    assert await failure(origin.send(origin.request(scheme="https"))) == Variant("TLS-protocol-error")


async def test_a_server_that_refuses_the_handshake(origin, authority):
    async def refuse(stream):
        await stream.receive_some()
        await stream.send_all(bytes([21, 3, 3, 0, 2, 2, 40]))  # a fatal alert: handshake_failure

    await origin.start(refuse)
    origin.client = trusting(authority)
    code = await failure(origin.send(origin.request(scheme="https")))
    assert code.case == "TLS-alert-received"
    assert "HANDSHAKE_FAILURE" in code.value.alert_message


async def test_a_server_that_leaves_during_the_handshake(origin):
    async def leave(stream):
        await stream.receive_some()

    await origin.start(leave)
    code = await failure(origin.send(origin.request(scheme="https")))
    assert code.case in ("TLS-protocol-error", "connection-terminated")


async def test_a_handshake_that_takes_too_long(origin):
    await origin.start(read_all)
    request = origin.request(scheme="https")
    assert await failure(origin.send(request, connect_timeout=0.05)) == Variant("connection-timeout")


async def test_a_connection_cut_below_tls(origin, authority):
    async def cut(stream):
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        await stream.transport_stream.aclose()

    await origin.start(cut, server_side(authority))
    origin.client = trusting(authority)
    response = await origin.send(origin.request(scheme="https"))
    assert await response.body.receive_some() == b"some"
    await response.body.wait_readable()
    assert response.body.error.code == Variant("HTTP-response-incomplete")


def replies(*pieces):
    """Return a handler that answers each request with these bytes, each in its own record, sent together."""
    seen = []

    async def handler(stream):
        count = 0
        try:
            while (await read_head(stream))[0]:
                count += 1
                seen.append(count)
                raw = stream.transport_stream
                held = _Held(raw)
                stream.transport_stream = held
                for piece in pieces:
                    await stream.send_all(piece)
                stream.transport_stream = raw
                await raw.send_all(held.data)
        except trio.BrokenResourceError:
            pass  # the client has left

    return handler, seen


class _Held:
    """Collects data and sends it all at once."""

    def __init__(self, stream):
        self.data = b""
        self._stream = stream

    async def send_all(self, data):
        self.data += data

    async def receive_some(self, size=None):
        return await self._stream.receive_some(size)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_connection_is_kept(origin, authority, version):
    handler, seen = replies(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    await origin.start(handler, server_side(authority))
    origin.client = trusting(authority)
    origin.client.tls.minimum_version = origin.client.tls.maximum_version = version
    connections = Connections(origin.nursery)
    for _ in range(3):
        response = await origin.send(origin.request(scheme="https"), connections=connections)
        assert await content(response.body) == b"hello"
    assert seen == [1, 2, 3]
    assert (connections.opened, connections.reused) == (1, 2)


async def test_data_left_in_tls_answers_no_request(origin, authority):
    """An unrequested response arrives in a separate record: the socket has no more data, but TLS has."""
    handler, seen = replies(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    )
    await origin.start(handler, server_side(authority))
    origin.client = trusting(authority)
    connections = Connections(origin.nursery)
    for _ in range(2):
        response = await origin.send(origin.request(scheme="https"), connections=connections)
        assert await content(response.body) == b"hello"
    assert seen == [1, 1]


async def test_plain_and_secure_connections_are_not_mixed_up(origin, authority):
    handler, _ = replies(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    await origin.start(handler, server_side(authority))
    origin.client = trusting(authority)
    connections = Connections(origin.nursery)
    response = await origin.send(origin.request(scheme="https"), connections=connections)
    assert await content(response.body) == b"hello"
    assert connections.idle == 1
    with trio.fail_after(10):
        await failure(origin.send(origin.request(scheme="http"), connections=connections))
    assert connections.reused == 0
