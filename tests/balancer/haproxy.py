"""HAProxy in front of two servers, as Debian has it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.e2e.process import Process

#: how it may use a connection to a server for requests of other clients (http-reuse)
MODES = ("never", "safe", "aggressive", "always")

_CONFIG = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    # What a server loses is to be seen.
    retries 0
    http-reuse {mode}

frontend front
    bind fd@{descriptor}
    default_backend servers

backend servers
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz
{servers}
"""

_SERVER = "    server s{number} 127.0.0.1:{port} check port {admin} inter 100ms fall 1 rise 1"


def program() -> str | None:
    """The path of haproxy; None where it is not installed."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def haproxy(folder: Path, mode: str, servers: Sequence[Process]) -> AsyncIterator[int]:
    """Run it in front of servers until the block ends; gives its port, once it answers there."""
    path = program()
    assert path is not None, "haproxy is not installed: apt-get install haproxy"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lines = [
            _SERVER.format(number=number, port=server.port, admin=server.admin_port)
            for number, server in enumerate(servers)
        ]
        config = folder / "haproxy.cfg"
        config.write_text(_CONFIG.format(mode=mode, descriptor=listener.fileno(), servers="\n".join(lines)))
        process = _start([path, "-db", "-f", str(config)], folder / "haproxy.log", listener.fileno())
        try:
            port = listener.getsockname()[1]
            while not await _answers(port):
                assert process.poll() is None, (folder / "haproxy.log").read_text()
                await trio.sleep(0.05)
            yield port
        finally:
            process.kill()
            process.wait()


def _start(arguments: list[str], log: Path, descriptor: int) -> subprocess.Popen[bytes]:
    with open(log, "wb") as output:
        return subprocess.Popen(arguments, stdout=output, stderr=output, pass_fds=(descriptor,))


async def _answers(port: int) -> bool:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: example.test\r\nconnection: close\r\n\r\n")
        data = b""
        with trio.move_on_after(5):
            async for more in stream:
                data += more
        return data.startswith(b"HTTP/1.1 200 ")
