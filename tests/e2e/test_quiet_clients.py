"""Actions of clients are not errors of the server or of a guest: one line at a low level reports them."""

from __future__ import annotations

import signal
import socket
import struct
from pathlib import Path

import pytest

from tests.e2e.process import command, on_disk


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize(
    ("guest", "path"),
    [
        ("sleep", "/3600000"),
        ("p3_sleep", "/3600000"),
        ("endless_body", "/1"),
        ("p3_endless_body", "/1"),
        ("python_p2", "/sleep?ms=3600000"),
        # It traps when it is told that its client has left.
        ("python_p3", "/sleep?ms=3600000"),
    ],
)
async def test_a_client_that_resets_its_connection(tmp_path: Path, guest: str, path: str) -> None:
    options = ("--verbose", "--cancel-grace", "100ms")
    async with command(tmp_path, on_disk(tmp_path, guest), *options) as server:
        unsaid = socket.create_connection(("127.0.0.1", server.port))
        unsaid.sendall(b"POST / HTTP/1.1\r\nho")
        reset(unsaid)
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n".encode() + bytes(5000))
        await server.said("instance 1 of ")
        reset(client)
        await server.said(": client-left")
        await server.said("ended after")
        server.signal(signal.SIGTERM)
        await server.ended()
        told = server.stderr
    assert " ERROR " not in told
    assert "Traceback" not in told
    assert told.count("client-left") == 1
