"""Three replicas of a guest that counts in a Valkey server, behind HAProxy."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.balancer.haproxy import Balancer, haproxy
from tests.balancer.load import Load
from tests.e2e.process import Process, command, on_disk
from tests.wasi.state.valkey import Valkey

REPLICAS = 3
CLIENTS = 16
#: paths of the guest ``state``: read the counter, and increment it
PATHS = {"GET": "/2", "POST": "/1"}
_OPTIONS = ("--config-var", "greeting=hi", "--drain-timeout", "30s", "--max-instance-reuse-count", "1000000")


class Replica:
    """A server that keeps its addresses when it is replaced."""

    def __init__(self, folder: Path, component: Path, *options: str) -> None:
        self.server: Process
        self._folder = folder
        self._component = component
        self._options = options
        self._port = 0
        self._admin_port = 0
        self._over = trio.Event()

    async def start(self, nursery: trio.Nursery) -> None:
        self._over = trio.Event()
        self.server = await nursery.start(self._run)
        self._port, self._admin_port = self.server.port, self.server.admin_port

    async def _run(self, task_status: trio.TaskStatus[Process]) -> None:
        # The last of two --addr options takes effect.
        addresses = ("--addr", f"127.0.0.1:{self._port}", "--admin-addr", f"127.0.0.1:{self._admin_port}")
        async with command(self._folder, self._component, *self._options, *addresses, patience=900) as server:
            task_status.started(server)
            await self._over.wait()

    async def end(self, number: signal.Signals) -> int:
        """Send a signal that ends it, and return its exit status."""
        self.server.signal(number)
        status = await self.server.ended()
        self._over.set()
        return status


class Site:
    """The whole site. Replicas have the numbers of the balancer."""

    def __init__(self, nursery: trio.Nursery, valkey: Valkey, replicas: list[Replica], balancer: Balancer) -> None:
        self.valkey = valkey
        self.replicas = replicas
        self.balancer = balancer
        self._nursery = nursery

    def load(self, refusals: bool = False, patience: float = 60) -> Load:
        return Load(lambda: self.balancer.port, CLIENTS, PATHS, refusals, patience)

    def counter(self) -> int:
        """Return the counter in the store."""
        answer = self.valkey.ask("GET", "default:visits")
        return int(answer.split(b"\r\n")[1])

    async def back(self, number: int) -> None:
        """Start a replica that has ended, and wait until it receives requests."""
        await self.balancer.until(number, "DOWN")
        await self.replicas[number].start(self._nursery)
        await self.balancer.until(number, "UP")

    async def replace(self, number: int) -> None:
        """Replace a replica without losses: tell it to end, and start the next in its place."""
        status = await self.replicas[number].end(signal.SIGTERM)
        if status:
            raise RuntimeError(f"the replica ended with {status}: {self.replicas[number].server.stderr}")
        await self.back(number)


@asynccontextmanager
async def site(
    folder: Path, mode: str, *options: str, shipped: bool = False, durable: bool = False
) -> AsyncIterator[Site]:
    """Run the site within the block. ``options`` are for each replica, ``shipped`` and ``durable`` for its parts."""
    component = on_disk(folder, "state")
    valkey = Valkey(folder, durable=durable)
    try:
        bucket = ("--keyvalue", f"default=redis://127.0.0.1:{valkey.port}/0")
        replicas = []
        for number in range(REPLICAS):
            (own := folder / str(number)).mkdir()
            replicas.append(Replica(own, component, *_OPTIONS, *bucket, *options))
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for replica in replicas:
                    starting.start_soon(replica.start, nursery)
            # The counter must exist from the first request on.
            valkey.ask("SET", "default:visits", "0")
            async with haproxy(folder, mode, [replica.server for replica in replicas], shipped) as balancer:
                for number in range(REPLICAS):
                    await balancer.until(number, "UP")
                yield Site(nursery, valkey, replicas, balancer)
            nursery.cancel_scope.cancel()
    finally:
        valkey.kill()
