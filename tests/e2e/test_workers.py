"""Several processes on one port: sharing the work, and ending when told to, by themselves, or when hanging."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import trio

from tests.e2e.process import Process, command, on_disk
from tests.e2e.support import Answer, Client
from tests.e2e.test_shutdown import finish_echo, refuses_connections, start_echo
from tests.guests.build import ROOT

#: One connection each, so two open connections are with two workers.
TWO = ("--workers", "2", "--max-concurrent-connections", "1", "--verbose")


async def process_of(server: Process, number: int, *others: int) -> int:
    """Return the latest process of the worker with this number, once it is not among ``others``."""
    while True:
        found = re.findall(rf"worker {number} \(process (\d+)\) serves", server.stderr)
        if found and int(found[-1]) not in others:
            return int(found[-1])
        assert server.process.poll() is None, server.stderr
        await trio.sleep(0.005)  # a file has no events


async def test_both_workers_serve_and_drain(tmp_path: Path) -> None:
    component = on_disk(tmp_path, "echo")
    async with command(tmp_path, component, *TWO) as server, server.client() as one, server.client() as other:
        await start_echo(one)
        await start_echo(other)
        assert await process_of(server, 1) != await process_of(server, 2)
        server.signal(signal.SIGTERM)
        await server.said("Shutting down")
        await refuses_connections(server)
        await finish_echo(one)
        await finish_echo(other)
        assert await server.ended() == 0
        assert "Traceback" not in server.stderr
        assert "is replaced" not in server.stderr
        assert {f"[worker {number}]: POST /echo 200" in server.stderr for number in (1, 2)} == {True}
        # and another process can have the port at once
        async with command(tmp_path, component, "--addr", f"127.0.0.1:{server.port}") as later:
            assert later.port == server.port
            assert (await later.ask("/")).status == 200


HOLDS_UP = """
import signal, time
def hold_up(number, frame):
    time.sleep(3600)
signal.signal(signal.SIGUSR1, hold_up)
"""


@pytest.fixture
def holding_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make SIGUSR1 block a process, through a module that Python imports at its start."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOLDS_UP)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")


async def test_a_second_signal_ends_both(tmp_path: Path, holding_up: None) -> None:
    """This includes a blocked worker, which does not react."""
    async with (
        command(tmp_path, on_disk(tmp_path, "echo"), *TWO) as server,
        server.client() as one,
        server.client() as other,
    ):
        await start_echo(one)
        await start_echo(other)
        os.kill(await process_of(server, 1), signal.SIGUSR1)
        server.signal(signal.SIGINT)
        await server.said("Shutting down")
        server.signal(signal.SIGINT)
        assert await server.ended() == 0
        for client in (one, other):
            with pytest.raises(Exception, match="peer closed connection without sending complete message body"):
                await client.event()
        assert "Traceback" not in server.stderr


async def test_workers_that_end_or_block_are_replaced(tmp_path: Path, holding_up: None) -> None:
    options = (*TWO, "--stall-kill-limit", "4s")
    async with command(tmp_path, on_disk(tmp_path, "hello"), *options) as server:
        killed, hanging = await process_of(server, 1), await process_of(server, 2)
        os.kill(killed, signal.SIGKILL)
        await server.said(f"worker 1 (process {killed}) ended with signal SIGKILL; its replacement starts")
        assert await process_of(server, 1, killed) not in (killed, hanging)

        os.kill(hanging, signal.SIGUSR1)
        await server.said(f"worker 2 (process {hanging}) has blocked its event loop for 4 s: killing it")
        await server.said(f"worker 2 (process {hanging}) ended with signal SIGABRT; its replacement starts")
        told = server.stderr
        assert told.index("has blocked") < told.index("in hold_up") < told.index("ended with signal SIGABRT")
        assert await process_of(server, 2, hanging) != hanging

        stopped = await process_of(server, 2, hanging)
        os.kill(stopped, signal.SIGSTOP)
        # Or by SIGSEGV: if another thread receives the signal, the main thread runs on while its stack is written.
        await server.said(f"worker 2 (process {stopped}) ended with signal ")
        await process_of(server, 2, hanging, stopped)

        async with server.client() as one, server.client() as other:
            assert (await one.ask("/")).body == (await other.ask("/")).body == b"Hello, world!\n"
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert "Traceback" not in server.stderr


async def test_terminated_workers_are_replaced(tmp_path: Path) -> None:
    options = (*TWO, "--shutdown-addr", "127.0.0.1:0")
    async with command(tmp_path, on_disk(tmp_path, "echo"), *options) as server:
        workers = [await process_of(server, number) for number in (1, 2)]
        async with server.client() as client:
            await start_echo(client)
            for worker in workers:
                os.kill(worker, signal.SIGTERM)
            await server.said("[worker 1]: Shutting down")
            await server.said("[worker 2]: Shutting down")
            await finish_echo(client)
        for number, worker in zip((1, 2), workers, strict=True):
            await server.said(f"worker {number} (process {worker}) ended with exit code 0; its replacement starts")
            await process_of(server, number, worker)
        assert (await server.ask("/")).status == 200
        async with await trio.open_tcp_stream("127.0.0.1", server.shutdown_port):
            assert await server.ended() == 0


async def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "echo"), *TWO) as server, server.client() as client:
        await start_echo(client)
        workers = [await process_of(server, number) for number in (1, 2)]
        server.signal(signal.SIGKILL)
        await refuses_connections(server)
        await finish_echo(client)
        for worker in workers:
            while _runs(worker):  # noqa: ASYNC110 - it is no child of this process
                await trio.sleep(0.005)
        assert server.stderr.count("The supervisor has ended") == 2


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    if sys.platform == "linux":
        # A zombie: nobody has collected its exit status.
        try:
            return ") Z " not in Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return False
    return True


async def ask_admin(server: Process, path: str) -> Answer:
    async with Client(server.admin_port) as client:
        return await client.ask(path)


async def said_by_metrics(server: Process, line: str) -> None:
    """Return when the metrics contain a line. Workers report every second."""
    while f"\n{line}\n".encode() not in (await ask_admin(server, "/metrics")).body:
        assert server.process.poll() is None, server.stderr


async def test_one_worker_with_an_admin_address(tmp_path: Path) -> None:
    """It has a supervisor only because of the limit."""
    component = on_disk(tmp_path, "hello")
    options = ("--stall-kill-limit", "60s", "--admin-addr", "127.0.0.1:0", "-v")
    async with command(tmp_path, component, *options) as server:
        assert (await server.ask("/")).status == 200
        await said_by_metrics(
            server, f'wasi_trio_requests_total{{component="{component}",outcome="ok",status="2xx"}} 1.0'
        )
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


async def test_an_admin_address_of_two_workers(tmp_path: Path) -> None:
    """It adds up the counts of both, and keeps them when one is replaced."""
    component = on_disk(tmp_path, "echo")
    counted = f'wasi_trio_requests_total{{component="{component}",outcome="ok",status="2xx"}}'
    async with command(tmp_path, component, *TWO, "--admin-addr", "127.0.0.1:0") as server:
        first = await process_of(server, 1)
        await process_of(server, 2)
        async with server.client() as one, server.client() as other:
            for client in (one, other):
                await start_echo(client)
            for client in (one, other):
                await finish_echo(client)
        await said_by_metrics(server, f"{counted} 2.0")
        await said_by_metrics(server, "wasi_trio_workers 2.0")
        if sys.platform == "linux":
            assert b'process_resident_memory_bytes{worker="2"}' in (await ask_admin(server, "/metrics")).body
        for path in ("/readyz", "/healthz"):
            assert (await ask_admin(server, path)).status == 200
        os.kill(first, signal.SIGKILL)
        await said_by_metrics(server, "wasi_trio_workers_replaced_total 1.0")
        await process_of(server, 1, first)
        await said_by_metrics(server, "wasi_trio_workers 2.0")
        await said_by_metrics(server, f"{counted} 2.0")
        async with server.client() as one, server.client() as other:
            for client in (one, other):
                await start_echo(client)
            for client in (one, other):
                await finish_echo(client)
        await said_by_metrics(server, f"{counted} 4.0")
        async with server.client() as one:
            await start_echo(one)
            server.signal(signal.SIGTERM)
            while (answer := await ask_admin(server, "/readyz")).status == 200:
                await trio.lowlevel.checkpoint()
            assert (answer.status, answer.body) == (503, b"draining\n")
            await finish_echo(one)
        assert await server.ended() == 0
        began = re.findall(r"instance (\S+) of \S+ starts", server.stderr)
        assert len(set(began)) == len(began)
        assert {name.partition(".")[0] for name in began} >= {"1", "2", "1r1"}
