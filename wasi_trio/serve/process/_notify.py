"""What a service manager is told, in systemd's protocol (sd_notify(3)): lines in a datagram to a Unix socket.

A manager that wants to hear anything names the socket in ``NOTIFY_SOCKET``, and in ``WATCHDOG_USEC`` the time within
which it wants to hear that the service lives, or else restarts it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

import trio

from wasi_trio._texts import get_logger

logger = get_logger("wasi_trio.serve")


class ServiceManager:
    """Where the manager listens; without ``address`` nobody does, and nothing is sent.

    ``interval`` is how often, in seconds, it is told that the event loop turns.
    """

    def __init__(self, address: str | None = None, interval: float | None = None) -> None:
        self._address = address
        self._interval = interval

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """What the environment names, which is taken out of it: processes that are started from here are not meant."""
        address = environment.pop("NOTIFY_SOCKET", None)
        usec, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        if not address:
            return cls()
        if not address.startswith(("/", "@")):
            logger.warning("NOTIFY_SOCKET=%s is not obeyed: only Unix sockets are, by their path or as @NAME", address)
            return cls()
        watched = usec.isascii() and usec.isdigit() and int(usec) > 0 and pid in ("", str(os.getpid()))
        # Twice in the time that it allows, as sd_watchdog_enabled(3) says.
        return cls(address, int(usec) / 2e6 if watched else None)

    def tell(self, *lines: str) -> None:
        """Send lines such as ``READY=1``. It never waits: a manager that cannot take them misses them."""
        if self._address is None:
            return
        # One of the abstract namespace is written with @ for the zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            logger.warning("the service manager is not told %s: %s", " ".join(lines), error.strerror or error)

    def ready(self) -> None:
        """Requests are accepted. The process that says so is the service's main one, whatever workers it has."""
        self.tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=serving")

    async def run(self, stop: trio.Event) -> None:
        """Tell the manager that this event loop turns, if it wants to hear that, and when ``stop`` is set."""
        async with trio.open_nursery() as nursery:
            if self._interval is not None:
                nursery.start_soon(self._feed, self._interval)
            await stop.wait()
            self.tell("STOPPING=1", "STATUS=draining")

    async def _feed(self, interval: float) -> None:
        while True:
            self.tell("WATCHDOG=1")
            await trio.sleep(interval)
