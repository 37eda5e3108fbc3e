"""ASGI applications for a server of one's own choice; it has to run on trio, as hypercorn's trio worker does.

``wasi_trio.asgi:app`` serves the component that the environment variable ``WASI_TRIO_COMPONENT`` names.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TypeAlias

from wasi_trio.component.imports import Imports
from wasi_trio.serve.application import Application
from wasi_trio.serve.loading import LoadError, open_engine
from wasi_trio.serve.middleware import Chain
from wasi_trio.serve.options import HandlerOptions
from wasi_trio.serve.reply import Scope, Send
from wasi_trio.serve.upload import Receive

StrPath: TypeAlias = str | os.PathLike[str]

logger = logging.getLogger("wasi_trio.serve")


class ComponentApplication:
    """An ASGI application that has a component answer requests.

    The component is compiled and linked when the server starts (the lifespan protocol's ``startup``), and the
    requests under way are finished when it stops. Without a path the environment names the component. Of several,
    each answers what the one before it asks of ``wasi:http/handler``.
    ``imports`` are provided to it beside WASI. ``headers`` replace those of the same name in every request;
    their names are in lower case.
    """

    def __init__(
        self,
        component: StrPath | Sequence[StrPath] | None = None,
        options: HandlerOptions | None = None,
        *,
        imports: Imports | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._component = component
        self._options = options
        self._imports = imports
        self._headers = headers
        self._application: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._application is None:
            raise RuntimeError("the ASGI server did not start this application: it has to support lifespans")
        else:
            await self._application(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                chain = self._load(stack)
            except LoadError as error:
                logger.error("%s", error)
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            handlers = await stack.enter_async_context(chain.open(self._options))
            self._application = Application(handlers[0], headers=self._headers)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._application = None
        await send({"type": "lifespan.shutdown.complete"})

    def _load(self, stack: AsyncExitStack) -> Chain:
        component = self._component or os.environ.get("WASI_TRIO_COMPONENT")
        if not component:
            raise LoadError("the environment variable WASI_TRIO_COMPONENT names no component")
        paths = [component] if isinstance(component, str | os.PathLike) else component
        engine = stack.enter_context(open_engine())
        return Chain(engine, [os.fspath(path) for path in paths], self._imports)


app = ComponentApplication()
