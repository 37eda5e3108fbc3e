"""HAProxy, as Debian packages it, in front of several servers."""

from __future__ import annotations

import csv
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.e2e.process import Process
from tests.guests.build import ROOT

#: HAProxy's modes of reusing server connections for other clients (http-reuse)
MODES = ("never", "safe", "aggressive", "always")

_STRICT = """
global

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    # What a server loses is to be seen.
    retries 0
    http-reuse safe

frontend front
    bind :8080
    default_backend servers

backend servers
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz
    default-server check inter 100ms fall 1 rise 1
"""
_SHIPPED = ROOT / "deploy" / "haproxy.cfg"


class Balancer:
    """A running HAProxy on ``port`` of 127.0.0.1. Its servers are numbered."""

    def __init__(self, port: int, control: Path) -> None:
        self.port = port
        self._control = str(control)

    async def servers(self) -> list[dict[str, str]]:
        """Return HAProxy's statistics of each server by name: ``status``, ``stot``, ``eresp``, ..."""
        async with await trio.open_unix_socket(self._control) as stream:
            await stream.send_all(b"show stat\n")
            text = b"".join([piece async for piece in stream]).decode()
        rows = list(csv.DictReader(text.removeprefix("# ").splitlines()))
        return [row for row in rows if row["svname"].isdecimal()]

    async def until(self, number: int, status: str) -> None:
        """Wait until a server is UP or DOWN."""
        while not (await self.servers())[number]["status"].startswith(status):  # noqa: ASYNC110, HAProxy has no events
            await trio.sleep(0.02)


def program() -> str | None:
    """Return the path of haproxy, or None if it is not installed."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def haproxy(
    folder: Path, mode: str, servers: Sequence[Process], shipped: bool = False
) -> AsyncIterator[Balancer]:
    """Run HAProxy in front of servers within the block, and wait until it answers.

    It repeats no request, and checks the servers ten times a second. With ``shipped``, it uses the configuration in
    deploy/haproxy.cfg with other addresses.
    """
    path = program()
    assert path is not None, "haproxy is not installed: apt-get install haproxy"
    control = folder / "control"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = _SHIPPED.read_text() if shipped else _STRICT
        text = re.sub(r"\n    server .*", "", text)
        for old, new in (
            ("\nglobal\n", f"\nglobal\n    stats socket {control}\n"),
            ("bind :8080", f"bind fd@{listener.fileno()}"),
            ("http-reuse safe", f"http-reuse {mode}"),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        for number, server in enumerate(servers):
            text += f"    server {number} 127.0.0.1:{server.port} port {server.admin_port}\n"
        config = folder / "haproxy.cfg"
        config.write_text(text)
        process = _start([path, "-db", "-f", str(config)], folder / "haproxy.log", listener.fileno())
        try:
            port = listener.getsockname()[1]
            while not await _answers(port):
                assert process.poll() is None, (folder / "haproxy.log").read_text()
                await trio.sleep(0.05)
            yield Balancer(port, control)
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
