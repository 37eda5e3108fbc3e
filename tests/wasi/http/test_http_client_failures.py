from __future__ import annotations

import socket
import struct
import sys

import pytest
import trio
import trio.testing
from http_origin import abortion, content, failure, read_all, read_head

from wasi_trio.component._values import Variant
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._client import Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_refused(origin):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin.port = unused.getsockname()[1]
        assert await failure(origin.send()) == Variant("connection-refused")


async def test_a_name_that_does_not_exist(origin):
    origin.port = 80
    code = await failure(origin.send(origin.request(host="name.invalid")))
    assert code.case == "DNS-error"
    assert code.value.rcode


@pytest.mark.skipif(sys.platform != "linux", reason="how a full queue of connections is treated is Linux's own")
async def test_a_connection_that_takes_too_long(origin):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = origin.port = listener.getsockname()[1]
        # Accepts no connection: these connections fill its queue.
        waiting = []
        try:
            for _ in range(3):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
                waiting.append(sock)
            assert await failure(origin.send(connect_timeout=0.05)) == Variant("connection-timeout")
        finally:
            for sock in waiting:
                sock.close()


async def test_a_look_up_that_takes_too_long(origin):
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
            await trio.sleep_forever()

        async def getnameinfo(self, sockaddr, flags):
            raise NotImplementedError

    origin.port = 80
    trio.socket.set_custom_hostname_resolver(Resolver())
    code = await failure(origin.send(origin.request(host="somewhere.test"), connect_timeout=0.01))
    assert code == Variant("DNS-timeout")


async def test_the_next_address_is_tried_when_one_refuses(origin):
    await origin.answer(OK)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        addresses = [("127.0.0.1", unused.getsockname()[1]), ("127.0.0.1", origin.port)]

        class Resolver(trio.abc.HostnameResolver):
            async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

            async def getnameinfo(self, sockaddr, flags):
                raise NotImplementedError

        trio.socket.set_custom_hostname_resolver(Resolver())
        response = await origin.send(origin.request(host="somewhere.test"))
        assert await content(response.body) == b"ok"


async def test_addresses_can_be_prohibited(origin):
    await origin.answer(OK)
    origin.client = Client(allow_address=lambda address: address != "127.0.0.1")
    assert await failure(origin.send()) == Variant("destination-IP-prohibited")


async def test_a_response_that_does_not_begin(origin):
    await origin.start(read_all)
    assert await failure(origin.send(first_byte_timeout=0.01)) == Variant("connection-read-timeout")


async def test_informational_responses_do_not_count_as_the_first_byte(origin):
    async def handler(stream):
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        await read_all(stream)

    await origin.start(handler)
    assert await failure(origin.send(first_byte_timeout=0.01)) == Variant("connection-read-timeout")


async def test_a_response_that_does_not_go_on(origin):
    async def handler(stream):
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        await read_all(stream)

    await origin.start(handler)
    response = await origin.send(between_bytes_timeout=0.01)
    assert await response.body.receive_some() == b"some"
    assert await abortion(response.body) == Variant("connection-read-timeout")


async def test_a_reader_that_pauses_is_no_timeout(origin):
    await origin.answer(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(300_000))
    response = await origin.send(between_bytes_timeout=0.2)
    while response.body.permit():
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(0.3)
    assert len(await content(response.body)) == 300_000


@pytest.mark.parametrize(
    ("raw", "case"),
    [
        (b"", "connection-terminated"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "HTTP-response-incomplete"),
        (b"hello there\r\n\r\n", "HTTP-protocol-error"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP-response-transfer-coding"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000 + b"\r\n\r\n", "HTTP-response-header-section-size"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: x\r\n" * 12_000 + b"\r\n", "HTTP-response-header-section-size"),
    ],
)
async def test_malformed_responses(origin, raw, case):
    await origin.answer(raw)
    assert (await failure(origin.send())).case == case


@pytest.mark.parametrize(
    ("raw", "case"),
    [
        (b"Content-Length: 5\r\n\r\nhell", "HTTP-response-incomplete"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "HTTP-response-incomplete"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n", "HTTP-response-incomplete"),
        (b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "HTTP-protocol-error"),
        (
            b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"x" * 200_000 + b"\r\n\r\n",
            "HTTP-response-trailer-section-size",
        ),
    ],
)
async def test_responses_that_break_off(origin, raw, case):
    await origin.answer(b"HTTP/1.1 200 OK\r\n" + raw)
    response = await origin.send()
    assert (await abortion(response.body)).case == case


@pytest.mark.parametrize("started", [False, True])
async def test_a_reset_connection(origin, started):
    async def handler(stream):
        await read_head(stream)
        if started:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
            await read_head(stream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    await origin.start(handler)
    if not started:
        assert await failure(origin.send()) == Variant("connection-terminated")
        return
    body = Body()
    response = await origin.send(origin.request("POST", body=body))
    assert await response.body.receive_some() == b"some"
    body.try_write(b"\r\n\r\n")
    assert await abortion(response.body) == Variant("connection-terminated")


@pytest.mark.parametrize(
    ("change", "case"),
    [
        ({"scheme": "ftp"}, "HTTP-protocol-error"),
        ({"method": "GE T"}, "HTTP-request-method-invalid"),
        ({"method": ""}, "HTTP-request-method-invalid"),
        ({"method": "CONNECT"}, "HTTP-request-method-invalid"),
        ({"authority": None}, "HTTP-request-URI-invalid"),
        ({"authority": "a b"}, "HTTP-request-URI-invalid"),
        ({"authority": "user:secret@127.0.0.1"}, "HTTP-request-URI-invalid"),
        ({"authority": "127.0.0.1:99999"}, "HTTP-request-URI-invalid"),
        ({"authority": "[::1::2]"}, "HTTP-request-URI-invalid"),
        ({"authority": "a" * 64 + ".test"}, "HTTP-request-URI-invalid"),
        ({"path_with_query": "/a b"}, "HTTP-request-URI-invalid"),
        ({"path_with_query": "/\r\nHost: x"}, "HTTP-request-URI-invalid"),
        ({"path_with_query": "http://other/"}, "HTTP-request-URI-invalid"),
    ],
)
async def test_unsendable_requests(origin, change, case):
    origin.port = 1
    request = origin.request(body=Body())
    for name, value in change.items():
        setattr(request, name, value)
    assert (await failure(origin.send(request))).case == case
    assert request.body.closed
