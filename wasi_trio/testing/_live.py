"""A component behind a real server."""

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
    """A component that is served on a port of 127.0.0.1."""

    def __init__(self, names: Sequence[str], address: str) -> None:
        super().__init__(names)
        #: ``http://127.0.0.1:PORT``
        self._watched = None  # clients leave when they like, and nobody tells the test
        self.url = f"http://{address}"
        self.port = int(address.rpartition(":")[2])


@asynccontextmanager
async def server(*sources: Source, **settings: Unpack[Settings]) -> AsyncIterator[LiveServer]:
    """An HTTP component behind a real server, for real clients: at ``server.url``, on a port that is free.

    It is as with ``component``. Connections take real time: they are not for a MockClock that jumps. When the block
    ends they are dropped. Raises LoadError, and what the block raises.
    """
    __tracebackhide__ = True
    names, chain = load(sources, settings)
    with closing(bind(("127.0.0.1", 0))) as listener:
        live = LiveServer(names, address_of(listener))
        async with live._open(chain, settings) as handler, open_nursery() as nursery:
            nursery.start_soon(Server(HandlerService(handler)).run, [listener], trio.Event())
            yield live
