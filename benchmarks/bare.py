"""The peer: hypercorn's trio worker with a trivial application, ``python -m benchmarks.bare``; prints its URL."""

from __future__ import annotations

import logging
import socket
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

HELLO = b"Hello, world!\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer hello on all paths except /echo, which streams the request's content back."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    headers = [(b"content-type", b"text/plain")]
    echoes = scope["path"] == "/echo"
    if not echoes:
        headers.append((b"content-length", b"%d" % len(HELLO)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not echoes:
        await send({"type": "http.response.body", "body": HELLO, "more_body": False})
        return
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = Config()
    # The setting of wasi_trio's own server.
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.bind = [f"fd://{listener.fileno()}"]
    print(f"Serving HTTP on http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    trio.run(serve, app, config)


if __name__ == "__main__":
    main()
