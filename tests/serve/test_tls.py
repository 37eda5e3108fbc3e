"""TLS and the negotiation of HTTP/2, from the settings to real clients."""

from __future__ import annotations

import dataclasses
import math
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trio
import trio.testing
import trustme

from tests.serve.support import connect, guest, read_to_end, read_until
from wasi_trio.serve._config_file import gather
from wasi_trio.serve._configuration import ProtocolOptions
from wasi_trio.serve._listening import address_of, listening
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._server import MAX_HANDSHAKES, Server
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.settings._setting import SettingError


class Certificates(NamedTuple):
    """The files of a server's certificate and key, and the certificate that clients trust."""

    certificate: str
    key: str
    authority: str
    trust: ssl.SSLContext


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    names = [str(folder / name) for name in ("cert.pem", "key.pem", "ca.pem")]
    for blob in issued.cert_chain_pems:
        blob.write_to_path(names[0], append=True)
    issued.private_key_pem.write_to_path(names[1])
    authority.cert_pem.write_to_path(names[2])
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return Certificates(*names, trust)


@asynccontextmanager
async def serving(
    name: str,
    certificates: Certificates,
    options: HandlerOptions | None = None,
    stop: trio.Event | None = None,
    send_timeout: float = math.inf,
    max_connections: int | None = None,
) -> AsyncIterator[int]:
    """Serve a guest over TLS during the block, and yield the port."""
    given = {
        "addr": ("127.0.0.1", 0),
        "certfile": certificates.certificate,
        "keyfile": certificates.key,
    }
    protocols = ProtocolOptions(None, gather(given, {}, None))
    with listening(protocols.secure, protocols.plain, protocols.sockets) as (listener,):
        assert listener.secure
        port = int(address_of(listener.sock).rpartition(":")[2])
        async with ProxyHandler(guest(name), options) as handler, trio.open_nursery() as nursery:
            limits = dataclasses.replace(protocols.limits, send_timeout=send_timeout)
            server = Server(HandlerService(handler), limits=limits, max_connections=max_connections)

            async def run() -> None:
                await server.run([], trio.Event() if stop is None else stop, secure=[listener.sock], tls=protocols.tls)

            nursery.start_soon(run)
            yield port
            if stop is None:
                nursery.cancel_scope.cancel()


def client(certificates: Certificates, http2: bool) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=certificates.trust, http1=not http2, http2=http2, trust_env=False, timeout=60)


async def test_stalled_handshakes_do_not_block_other_clients(certificates: Certificates) -> None:
    """They take no slots of connections. Beyond the limit, the oldest one is dropped."""
    async with serving("hello", certificates, max_connections=1) as port:
        silent = [await connect(port) for _ in range(MAX_HANDSHAKES + 1)]
        with trio.fail_after(60):
            async with client(certificates, http2=False) as asks:
                assert (await asks.get(f"https://127.0.0.1:{port}/")).text == "Hello, world!\n"
            assert await read_to_end(silent[0]) == b""
        for stream in silent:
            await stream.aclose()


@pytest.mark.parametrize("http2", [True, False])
async def test_a_streamed_response(certificates: Certificates, http2: bool) -> None:
    """Written content arrives while the guest pauses. This response never ends."""
    async with serving("endless_body", certificates) as port, client(certificates, http2) as asks:
        url = f"https://127.0.0.1:{port}/"
        async with asks.stream("GET", url) as response:
            assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            assert await anext(response.aiter_raw()) == b"begun\n"


@pytest.mark.parametrize("http2", [True, False])
async def test_a_large_request_and_response(certificates: Certificates, http2: bool) -> None:
    content = bytes(range(256)) * 4096
    async with serving("echo", certificates) as port, client(certificates, http2) as asks:
        response = await asks.post(f"https://127.0.0.1:{port}/echo", content=content)
    assert response.content == content


async def test_a_client_that_reads_nothing(certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    async with serving("endless_body", certificates, send_timeout=0.2) as port:
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=certificates.trust)
        await stream.send_all(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
        with trio.fail_after(30):
            while "no progress in sending for 0.2 s" not in caplog.text:
                await trio.lowlevel.checkpoint()
            with pytest.raises(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
        await trio.aclose_forcefully(stream)


async def test_many_requests_on_one_connection(certificates: Certificates) -> None:
    async with (
        serving("counter", certificates, HandlerOptions(max_instance_reuse_count=3)) as port,
        client(certificates, http2=True) as asks,
    ):
        texts = [(await asks.get(f"https://localhost:{port}/")).text for _ in range(4)]
    assert texts == ["1\n", "2\n", "3\n", "1\n"]


@pytest.mark.parametrize("http2", [True, False])
async def test_a_cut_response(certificates: Certificates, http2: bool, mock_clock: trio.testing.MockClock) -> None:
    """The guest begins its response, and pauses for longer than allowed."""
    async with (
        serving("endless_body", certificates, HandlerOptions(body_timeout=0.05)) as port,
        client(certificates, http2) as asks,
    ):
        content = b""
        with pytest.raises(httpx.RemoteProtocolError):
            async with asks.stream("GET", f"https://127.0.0.1:{port}/") as response:
                assert response.status_code == 200
                async for piece in response.aiter_raw():
                    content += piece
                    mock_clock.rate = 1  # until now no timeout passes
        assert content == b"begun\n"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_close_notify_is_sent(certificates: Certificates, version: bytes) -> None:
    async with serving("hello", certificates) as port:
        stream = trio.SSLStream(await connect(port), certificates.trust, server_hostname="localhost")
        async with stream:
            await stream.send_all(b"GET / HTTP/" + version + b"\r\nhost: x\r\nconnection: close\r\n\r\n")
            # This client requires close_notify.
            received = b"".join([piece async for piece in stream])
            # The response is chunked if the guest was interrupted between its head and its end.
            assert received.removesuffix(b"\r\n0\r\n\r\n").endswith(b"Hello, world!\n")


async def test_a_cut_response_without_a_length(certificates: Certificates, mock_clock: trio.testing.MockClock) -> None:
    """In HTTP/1.0 the end of the connection marks the end of the content, so close_notify must not be sent."""
    async with serving("endless_body", certificates, HandlerOptions(body_timeout=0.05)) as port:
        stream = trio.SSLStream(await connect(port), certificates.trust, server_hostname="localhost")
        async with stream:
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):
                while await stream.receive_some():
                    mock_clock.rate = 1  # until now no timeout passes


async def test_clients_without_tls(certificates: Certificates) -> None:
    async with serving("hello", certificates) as port:
        async with await connect(port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"HTTP" not in await read_to_end(stream)
        async with client(certificates, http2=False) as asks:
            assert (await asks.get(f"https://127.0.0.1:{port}/")).text == "Hello, world!\n"


async def test_a_stalled_handshake_does_not_delay_shutdown(certificates: Certificates) -> None:
    stop = trio.Event()
    async with serving("hello", certificates, stop=stop) as port, await connect(port) as stuck:
        stream = trio.SSLStream(await connect(port), certificates.trust, server_hostname="localhost")
        await stream.send_all(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
        await read_until(stream, b"\r\n\r\n")  # so the connection before it was accepted, too
        stop.set()
        assert await read_to_end(stuck) == b""
        assert await stream.receive_some() == b""
        await trio.aclose_forcefully(stream)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
async def test_curl(certificates: Certificates, option: str, version: str) -> None:
    features = await trio.run_process(["curl", "--version"], capture_stdout=True)
    if b"HTTP2" not in features.stdout:
        pytest.skip("this curl has no HTTP/2")
    async with serving("hello", certificates) as port:
        command = ["curl", "-sS", option, "--noproxy", "*", "--cacert", certificates.authority]
        form = ["--write-out", "%{http_version}", f"https://127.0.0.1:{port}/"]
        done = await trio.run_process([*command, *form], capture_stdout=True)
    assert done.stdout.decode() == f"Hello, world!\n{version}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keyfile": "key"}, "keyfile is set without certfile: TLS needs both"),
        ({"certfile": "/none/cert.pem"}, "cannot read /none/cert.pem: No such file or directory"),
        ({"certfile": "cert", "keyfile": "ca"}, "{ca} has no private key in PEM form"),
        ({"certfile": "cert"}, "{cert} has no private key in PEM form: name the key's file with --keyfile"),
        ({"certfile": "key"}, "{key} has no certificate in PEM form"),
        ({"certfile": "/dev/null"}, "cannot read /dev/null: it is not a regular file"),
        (
            {"certfile": "ca", "keyfile": "key"},
            "cannot serve over TLS with {ca} and {key}: the key does not belong to the certificate",
        ),
        (
            {"certfile": "malformed", "keyfile": "key"},
            "cannot serve over TLS with {malformed} and {key}: the certificate or the key is malformed",
        ),
    ],
)
def test_unusable_certificates(certificates: Certificates, given: dict[str, str], message: str, tmp_path: Path) -> None:
    malformed = tmp_path / "malformed.pem"
    malformed.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    files = {
        "cert": certificates.certificate,
        "key": certificates.key,
        "ca": certificates.authority,
        "malformed": str(malformed),
    }
    with pytest.raises(SettingError) as caught:
        ProtocolOptions(None, gather({name: files.get(file, file) for name, file in given.items()}, {}, None))
    assert str(caught.value) == message.format(**files)


def test_an_encrypted_key_is_refused_without_a_prompt(certificates: Certificates, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    encrypted = str(tmp_path / "encrypted.pem")
    command = ["openssl", "pkey", "-in", certificates.key, "-aes256", "-passout", "pass:secret", "-out", encrypted]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(SettingError, match=r"^the key in .* is encrypted: set keyfile_password"):
        ProtocolOptions(None, gather({"certfile": certificates.certificate, "keyfile": encrypted}, {}, None))
