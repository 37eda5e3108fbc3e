"""Notifications for a service manager, in systemd's protocol (sd_notify(3)): lines in datagrams to a Unix socket.

The manager names the socket in ``NOTIFY_SOCKET``. In ``WATCHDOG_USEC`` it sets a timeout: without a message within that
time it restarts the service.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

import trio

from wasi_trio._texts import get_logger

logger = get_logger("wasi_trio.serve")


class ServiceManager:
    """The connection to the service manager. Without ``address`` nothing is sent.

    ``interval`` is the time between two messages that the event loop is running, in seconds.
    """

    def __init__(self, address: str | None = None, interval: float | None = None) -> None:
        self._address = address
        self._interval = interval

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Read the manager's variables, and remove them from the environment: they do not apply to child processes."""
        address = environment.pop("NOTIFY_SOCKET", None)
        usec, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        if not address:
            return cls()
        if not address.startswith(("/", "@")):
            logger.warning("Ignoring NOTIFY_SOCKET=%s: it is neither a path nor @NAME of a Unix socket", address)
            return cls()
        watched = usec.isascii() and usec.isdigit() and int(usec) > 0 and pid in ("", str(os.getpid()))
        # Half of the timeout, as sd_watchdog_enabled(3) recommends.
        return cls(address, int(usec) / 2e6 if watched else None)

    def send(self, *lines: str) -> None:
        """Send lines such as ``READY=1``. Never wait: a manager that cannot receive them misses them."""
        if self._address is None:
            return
        # In an abstract address, @ stands for the zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            logger.warning("Cannot send %s to the service manager: %s", " ".join(lines), error.strerror or error)

    def ready(self) -> None:
        """Report that requests are accepted, and that this process is the service's main one, besides any workers."""
        self.send("READY=1", f"MAINPID={os.getpid()}", "STATUS=serving")

    async def run(self, stop: trio.Event) -> None:
        """Report that the event loop is running, if the manager wants that, and the setting of ``stop``."""
        async with trio.open_nursery() as nursery:
            if self._interval is not None:
                nursery.start_soon(self._feed, self._interval)
            await stop.wait()
            self.send("STOPPING=1", "STATUS=draining")

    async def _feed(self, interval: float) -> None:
        while True:
            self.send("WATCHDOG=1")
            await trio.sleep(interval)
