"""``python -m tests.balancer``: one of two servers behind a real HAProxy ends under load.

No request may be lost in any of HAProxy's modes of connection reuse. Neither HAProxy nor the clients repeat requests.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio
from rich.console import Console
from rich.table import Table

from tests.balancer.haproxy import MODES, haproxy, program
from tests.balancer.load import Load
from tests.e2e.process import command, on_disk

GUESTS = ("hello", "p3_hello")
#: the delay is a multiple of the interval of HAProxy's checks
OPTIONS = ("--admin-addr", "127.0.0.1:0", "--drain-delay", "1s", "--max-instance-reuse-count", "1000000")


async def drained(guest: str, mode: str, requests: int) -> Load:
    """Return the load of at least ``requests`` requests, during which one server ended."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / "one", Path(name) / "other"]
        for folder in folders:
            folder.mkdir()
        component = on_disk(Path(name), guest)
        async with (
            command(folders[0], component, *OPTIONS, patience=600) as one,
            command(folders[1], component, *OPTIONS, patience=600) as other,
            haproxy(Path(name), mode, [one, other]) as balancer,
        ):
            load = Load(lambda: balancer.port, clients=16)
            ended = trio.Event()

            async def end() -> None:
                while load.sent < requests / 4:  # noqa: ASYNC110 - it counts without telling
                    await trio.sleep(0.01)
                one.signal(signal.SIGTERM)
                if await one.ended():
                    raise RuntimeError(f"the server ended badly: {one.stderr}")
                ended.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(end)
                while not ended.is_set() or load.sent < requests:
                    await load.run(500)
            return load


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.balancer", description=__doc__)
    parser.add_argument(
        "--requests", type=int, default=5000, help="number of requests for each mode and guest (default: 5000)"
    )
    parser.add_argument("--mode", choices=MODES, action="append", help="Test only this mode; repeatable")
    options = parser.parse_args()
    if program() is None:
        print("haproxy is not installed: apt-get install haproxy", file=sys.stderr)
        return 2
    table = Table(title="One of two servers ends behind HAProxy")
    for heading in ("guest", "http-reuse", "GET", "POST", "lost"):
        table.add_column(heading, justify="right")
    lost: list[str] = []
    for guest in GUESTS:
        for mode in options.mode or MODES:
            load = trio.run(partial(drained, guest, mode, options.requests))
            lost += [f"{guest}, {mode}: {what}" for what in load.lost]
            table.add_row(guest, mode, str(load.answered["GET"]), str(load.answered["POST"]), str(len(load.lost)))
    Console().print(table)
    for what in lost[:20]:
        print(what)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
