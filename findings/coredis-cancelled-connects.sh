#!/usr/bin/env bash
# coredis 6.9.0: a task that is cancelled while the connection pool connects for it takes a place of the pool with it.
#
# Expected: a pool with one place, whose only task was cancelled while its connection was being made, serves
# the next task once the server accepts. Seen: ConnectionPool.get_connection() takes the place from its queue, then waits for
# the connection; when that wait is cancelled, nobody puts the place back. After as many cancelled tasks as there are
# places the pool waits for ever for a connection, or until its own timeout, however well the server is.
#
# A server whose clients come and go while its store restarts is in this state within seconds.
#
# Needs python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check coredis==6.9.0 trio==0.35.0 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import socket

import coredis
import trio

logging.getLogger("coredis").setLevel(logging.CRITICAL)


async def serve(stream):
    """A server of RESP3 that knows PING and a greeting."""
    async for data in stream:
        for command in filter(None, data.split(b"*")):
            if b"HELLO" in command:
                await stream.send_all(b"%4\r\n+server\r\n+redis\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n+id\r\n:1\r\n")
            else:
                await stream.send_all(b"+PONG\r\n")


async def main():
    # A server that is too busy to accept: its queue is full, and connections to it wait.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(address)
    pool = coredis.ConnectionPool(host="127.0.0.1", port=address[1], max_connections=1)
    async with coredis.Redis(connection_pool=pool) as client, trio.open_nursery() as nursery:
        with trio.move_on_after(0.3) as left:
            await client.ping()
        assert left.cancelled_caught
        for filler in fillers:
            filler.close()
        listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        nursery.start_soon(trio.serve_listeners, serve, [listening])
        # The server is well again: a pool that was not in use then is served.
        other = coredis.Redis(host="127.0.0.1", port=address[1])
        async with other:
            with trio.fail_after(20):
                print("another pool:", await other.ping())
        with trio.move_on_after(5) as waited:
            print("this pool:", await client.ping())
        print("this pool waited in vain:", waited.cancelled_caught)
        assert waited.cancelled_caught
        nursery.cancel_scope.cancel()


trio.run(main)
PYTHON
