"""A server of guests that miss their deadlines: ``python -m benchmarks.late SECONDS``; prints its URL.

The request header ``x-late`` selects one of ``tests.guests.late.LATE``.
"""

from __future__ import annotations

import logging
import sys
from contextlib import AsyncExitStack

import trio

from tests.guests.late import LATE
from wasi_trio.runtime._engine import Engine, Limits
from wasi_trio.serve._listening import address_of, bind
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.http._stream import HttpStream
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions


async def serve(seconds: float) -> None:
    with Engine() as engine:
        async with AsyncExitStack() as stack:
            services = []
            for late in LATE:
                # Calls that cannot be suspended would end before the deadline, unless they have more time.
                limits = Limits(nested_seconds=2 * seconds, non_preemptible_seconds=2 * seconds)
                options = HandlerOptions(request_timeout=seconds, cancel_grace=0.1, limits=limits)
                handler = ProxyHandler(late.link(engine), options)
                services.append(HandlerService(await stack.enter_async_context(handler)))

            def service(stream: HttpStream) -> None:
                services[int(dict(stream.request.headers)["x-late"])](stream)

            listener = bind(("127.0.0.1", 0))
            print(f"Serving HTTP on http://{address_of(listener)}/", flush=True)
            await Server(service).run([listener], trio.Event())


def main() -> None:
    logging.getLogger("wasi_trio").setLevel(logging.CRITICAL)
    trio.run(serve, float(sys.argv[1]))


if __name__ == "__main__":
    main()
