"""A command of WASI 0.2: prints its first argument, and does that.

What ``tell`` tells is how it was called. ``asyncio`` runs an event loop, which makes a pair of sockets for itself, and
has two ends of a connection of its own talk. ``talk HOST PORT TEXT`` sends a text there and prints what comes back.
``look-up HOST`` prints the addresses of a host.
"""

import asyncio
import encodings.idna  # noqa: F401, which looking up imports, and only what was imported once is in the component
import os
import socket
import sys

from componentize_py_types import Err


class Run:
    def run(self) -> None:
        action = sys.argv[1]
        if action == "tell":
            print(sys.argv)
            print(dict(os.environ))
            print(sys.stdin.readlines())
            print("told", file=sys.stderr)
            return
        print(action)
        if action == "fail":
            raise Err(None)
        if action == "exit":
            sys.stdout.flush()
            sys.exit(1)
        if action == "raise":
            raise ValueError("raised")
        if action == "asyncio":
            asyncio.run(talk_to_oneself())
        if action == "talk":
            asyncio.run(talk(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
        if action == "look-up":
            for *_, address in socket.getaddrinfo(sys.argv[2], 80, type=socket.SOCK_STREAM):
                print(address[0])


async def talk_to_oneself() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        await talk(*server.sockets[0].getsockname(), "to myself")


async def talk(host: str, port: int, text: str) -> None:
    if not host[0].isdigit():
        # There are no threads, in which asyncio would look it up.
        host = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(text.encode())
    await writer.drain()
    writer.write_eof()
    print((await reader.read()).decode())
    writer.close()
