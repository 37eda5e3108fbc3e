"""The server under attack: ``python -m tests.attack.server SITES``, with a monitor of turns in its loop.

``SITES`` is JSON: a list of components, each ``[guest, settings, imports]`` as in ``Site`` of ``tests.attack.arena``.
The process first prints their ports as a line of JSON. A line on its standard input requests a line of JSON about the
time since the last reset: ``report``, or ``reset`` to also reset the measurements. The process ends at the end of its
standard input.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio

from tests.guests import wat
from tests.turns import Turns
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._garbage import FullCollections, freeze_garbage_collection
from wasi_trio.serve._listening import address_of, bind
from wasi_trio.serve._loading import link
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve._trimming import Trimming
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._metrics import TaskCount
from wasi_trio.serve.process._service import ServerConfig
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.settings._sources import from_table


class Gauges:
    """The measurements of the process."""

    def __init__(self, turns: Turns, tasks: TaskCount, handlers: list[ProxyHandler]) -> None:
        self._turns = turns
        self._tasks = tasks
        self._handlers = handlers

    def reset(self) -> None:
        self._turns.reset()
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak of memory
        except OSError:
            return  # unsupported here, so the peak counts from the start of the process

    def report(self) -> dict[str, Any]:
        memory = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return {
            "longest": self._turns.seconds,
            "processor": self._turns.processor,
            "turns": str(self._turns),
            "resident": int(memory["VmRSS"].split()[0]) << 10,
            "peak": int(memory["VmHWM"].split()[0]) << 10,
            "files": len(os.listdir("/proc/self/fd")),
            "tasks": self._tasks.count,
            "active": sum(handler.active for handler in self._handlers),
            "started": [handler.started for handler in self._handlers],
        }


async def serve(sites: list[Any], turns: Turns, tasks: TaskCount) -> None:
    """Serve until standard input ends."""
    ports: list[int] = []
    with Engine() as engine:
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            stop = trio.Event()
            handlers: list[ProxyHandler] = []
            for guest, table, imports in sites:
                settings = Settings(dict(from_table(table, "the attack")))
                module, _, name = (imports or "").partition(":")
                given = getattr(importlib.import_module(module), name)() if module else {}
                linked = link(engine, wat.load(guest), guest, Imports(given))
                handler = await stack.enter_async_context(ProxyHandler(linked, settings.handler_options()))
                handlers.append(handler)
                protocols = ServerConfig(settings).protocol_options()
                listener = bind(("127.0.0.1", 0))
                ports.append(int(address_of(listener).rpartition(":")[2]))
                server = Server(
                    HandlerService(handler),
                    limits=protocols.limits,
                    max_connections=settings["max-concurrent-connections"],
                    budget=engine.budget,
                )
                nursery.start_soon(server.run, [listener], stop)
            print(json.dumps(ports), flush=True)
            # As in ``serve``.
            freeze_garbage_collection()
            nursery.start_soon(FullCollections(engine.budget).run)
            nursery.start_soon(Trimming(engine.budget).run)
            await _obey(Gauges(turns, tasks, handlers))
            nursery.cancel_scope.cancel()


async def _obey(gauges: Gauges) -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        async for data in stream:
            for word in data.decode().split():
                report = json.dumps(gauges.report())
                if word == "reset":
                    gauges.reset()
                print(report, flush=True)


def main() -> None:
    logging.getLogger("wasi_trio").setLevel(logging.ERROR)
    turns, tasks = Turns(), TaskCount()
    trio.run(serve, json.loads(sys.argv[1]), turns, tasks, instruments=[turns, tasks])


if __name__ == "__main__":
    main()
