"""Serves a component by a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import trio

from wasi_trio.serve._listening import address_of, bind
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._server import Server
from wasi_trio.testing._running import Running, load
from wasi_trio.testing._settings import Settings
from wasi_trio.testing._sources import Source
from wasi_trio.testing._tasks import open_nursery

if TYPE_CHECKING:
    from typing import Unpack


class LiveServer(Running):
    """A component served on a port of 127.0.0.1."""

    def __init__(self, names: Sequence[str], address: str) -> None:
        super().__init__(names)
        self._watched = None  # Clients leave at any time, and nobody tells the test.
        #: The base URL, ``http://127.0.0.1:PORT``.
        self.url = f"http://{address}"
        self.port = int(address.rpartition(":")[2])


@asynccontextmanager
async def server(*sources: Source, **settings: Unpack[Settings]) -> AsyncIterator[LiveServer]:
    """Serve an HTTP component to real clients at ``server.url``, on a free port.

    The arguments are those of ``component``. Connections take real time, so do not use a MockClock that jumps. They are
    dropped when the block ends. Raises LoadError and any exception of the block.
    """
    __tracebackhide__ = True
    names, chain = load(sources, settings)
    with closing(bind(("127.0.0.1", 0))) as listener:
        live = LiveServer(names, address_of(listener))
        async with live._open(chain, settings) as handler, open_nursery() as nursery:
            service = HandlerService(handler)
            nursery.start_soon(Server(service, fields=service.answers.fields).run, [listener], trio.Event())
            yield live
