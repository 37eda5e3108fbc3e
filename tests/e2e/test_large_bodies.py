"""Bodies larger than any buffer: they come back intact, and the server's memory does not grow."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h11
import pytest
import trio

from tests.e2e.process import command, on_disk

SIZE = 200_000_000
GROWTH = 64 << 20

#: A length coprime to all buffer sizes, so that a misplaced piece is noticed.
BLOCK = bytes((i * i + i // 251) % 256 for i in range(1_000_003))


@pytest.mark.parametrize(
    ("name", "path", "leaked_by_the_guest"),
    [
        ("echo", "/", 0),
        ("echo_splice", "/", 0),
        ("python_p2", "/splice", 0),
        # componentize-py's runtime never frees the arguments of `write`, so the guest's own memory grows.
        ("python_p2", "/echo", SIZE),
        ("p3_echo", "/", 0),
        ("p3_echo_through", "/", 0),
        ("python_p3", "/through", 0),
        ("python_p3", "/echo", 0),
    ],
)
async def test_200_mb_through_echo(name: str, path: str, leaked_by_the_guest: int, tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, name)) as server:
        # A first request, so that code loaded or compiled for it does not count.
        assert (await server.ask(path, "POST", b"warm up")).body == b"warm up"
        before = server.resident()
        most = before
        sent, received = hashlib.sha256(), hashlib.sha256()
        size = 0
        async with server.client() as client, trio.open_nursery() as nursery:
            await client.start(path, "POST", ("content-length", str(SIZE)))

            async def send() -> None:
                left = SIZE
                while left:
                    block = BLOCK[:left]
                    sent.update(block)
                    await client.stream.send_all(block)
                    left -= len(block)

            nursery.start_soon(send)
            # h11 would need to see the sent data. Only its parser is used here.
            assert (await client.head()).status == 200
            measured = 0
            while isinstance(event := await client.event(), h11.Data):
                received.update(event.data)
                size += len(event.data)
                if size - measured > SIZE // 10:
                    measured = size
                    most = max(most, await trio.to_thread.run_sync(server.resident))
            assert isinstance(event, h11.EndOfMessage)
        assert size == SIZE
        assert received.digest() == sent.digest()
        grown = max(most, server.resident()) - before
        assert grown < GROWTH + leaked_by_the_guest, f"{grown >> 20} MiB more than before"
