"""Slow operations do not delay other instances on the same event loop."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from guest import FOLLOW, guest
from trio.testing import MockClock, wait_all_tasks_blocked

from wasi_trio.component._values import Variant
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi.filesystem import _opened as opened
from wasi_trio.wasi.filesystem import _volumes as volumes
from wasi_trio.wasi.filesystem._handles import Handle
from wasi_trio.wasi.filesystem._opened import Files, Opened, OpenFlags
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.filesystem._volumes import PROBATION, SLOW_SECONDS, THREADS, Volume

T = TypeVar("T")


class SlowVolume(Volume):
    """A volume that is not local, on which operations wait for the test."""

    __slots__ = ("ended", "gate", "started")

    def __init__(self, device: int) -> None:
        super().__init__(device, local=False, in_memory=False)
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    async def in_thread(self, work: Callable[[], T]) -> T:
        def gated() -> T:
            self.started.release()
            self.gate.wait()
            try:
                return work()
            finally:
                self.ended.release()

        return await super().in_thread(gated)


@pytest.fixture
def slow(tree: Path) -> Iterator[tuple[Preopen, SlowVolume]]:
    preopen = Preopen(tree, "/")
    volume = SlowVolume(preopen.status.st_dev)
    preopen.volume = volume
    yield preopen, volume
    volume.gate.set()


async def closed(volume: SlowVolume, files: Files, descriptors: int) -> None:
    """Wait until the work has ended, and the guest's files and all but ``descriptors`` are closed.

    The thread closes its descriptor after the work, and then releases the file.
    """
    await trio.to_thread.run_sync(volume.ended.acquire)
    with trio.fail_after(10):
        while files.count or len(os.listdir("/dev/fd")) > descriptors:
            await trio.to_thread.run_sync(lambda: None)


async def begun(volume: SlowVolume, count: int = 1) -> None:
    """Wait until ``count`` operations are in threads."""
    for _ in range(count):
        await trio.to_thread.run_sync(volume.started.acquire)


@pytest.fixture
def fifo(tree: Path) -> Path:
    path = tree / "fifo"
    os.mkfifo(path)
    return path


async def test_a_fifo_without_a_writer(engine: Engine, version: str, tree: Path, fifo: Path) -> None:
    preopen = Preopen(tree, "/")
    async with guest(engine, version, preopen) as fs, guest(engine, version, preopen) as neighbour:
        file = await fs.open(await fs.root(), "fifo")
        got: list[Any] = []

        async def read() -> None:
            got.append(await fs.read(file))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            assert not got
            other = await neighbour.open(await neighbour.root(), "a.txt")
            assert await neighbour.read(other) == (b"hello\n", "ok")
            writer = os.open(fifo, os.O_WRONLY)
            os.write(writer, b"first ")
            await wait_all_tasks_blocked()
            assert not got
            assert await neighbour.read(other) == (b"hello\n", "ok")
            os.write(writer, b"second")
            os.close(writer)
        assert got == [(b"first second", "ok")]


async def test_a_fifo_without_a_reader(engine: Engine, version: str, tree: Path, fifo: Path) -> None:
    """Opening waits for a reader, and writing waits for room."""
    preopen = Preopen(tree, "/")
    data = os.urandom(300_000)
    async with guest(engine, version, preopen) as fs, guest(engine, version, preopen) as neighbour:
        outcome: list[str] = []
        is_open = trio.Event()

        async def write() -> None:
            file = await fs.open(await fs.root(), "fifo", (), ("write",))
            outcome.append("opened")
            is_open.set()
            outcome.append(await fs.write(file, data))
            await fs.drop(file)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await wait_all_tasks_blocked(0.01)
            other = await neighbour.open(await neighbour.root(), "a.txt")
            assert await neighbour.read(other) == (b"hello\n", "ok")
            assert not outcome
            reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            await is_open.wait()
            assert await neighbour.read(other) == (b"hello\n", "ok")
            received = b""
            while len(received) < len(data):
                await trio.lowlevel.wait_readable(reader)
                received += os.read(reader, 65536)
        os.close(reader)
        assert received == data
        assert outcome == ["opened", "ok"]


async def test_a_fifo_whose_reader_leaves(engine: Engine, version: str, tree: Path, fifo: Path) -> None:
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        file = await fs.open(await fs.root(), "fifo", (), ("write",))
        assert await fs.write(file, b"x") == "ok"
        os.close(reader)
        # In 0.2 this is a closed stream, as with any other pipe.
        assert await fs.write(file, b"x") == ("E:pipe" if version == "p3" else "ok")


async def test_a_fifo_is_read_and_written_without_a_stream(engine: Engine, tree: Path, fifo: Path) -> None:
    async with guest(engine, "p2", Preopen(tree, "/")) as fs:
        root = await fs.root()
        both = await fs.open(root, "fifo", (), ("read", "write"))
        assert await fs.at("write", both, b"hello", 7) == 5
        assert tuple(await fs.at("read", both, 100, 9)) == (b"hello", False)
        with trio.move_on_after(0.01) as scope:
            await fs.at("read", both, 100, 0)
        assert scope.cancelled_caught


async def test_a_socket_is_not_waited_for(engine: Engine, version: str, tree: Path) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(tree / "socket"))
        async with guest(engine, version, Preopen(tree, "/")) as fs:
            assert await fs.open(await fs.root(), "socket", (), ("write",)) == "E:no-such-device"


async def test_a_slow_volume(engine: Engine, version: str, slow: tuple[Preopen, SlowVolume], tmp_path: Path) -> None:
    preopen, volume = slow
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick/q.txt").write_text("quick")
    async with (
        guest(engine, version, preopen) as fs,
        guest(engine, version, Preopen(tmp_path / "quick", "/")) as neighbour,
    ):
        root, file = await fs.root(), await neighbour.open(await neighbour.root(), "q.txt")
        done: list[Any] = []

        async def work() -> None:
            opened = await fs.open(root, "a.txt", (), ("read", "write"))
            done.append((await fs.at("stat", opened)).size)
            done.append(await fs.read(opened))
            done.append(await fs.write(opened, b"HELLO" * 100_000))
            done.append(await fs.write(opened, b"!", None))
            done.append(len((await fs.entries(root))[0]))
            done.append(await fs.at("set-size", opened, 3))
            done.append(await fs.at("advise", opened, 0, 0, "normal"))
            done.append(await fs.at("set-times", opened, Variant("now"), Variant("now")))
            done.append(await fs.at("rename-at", root, "a.txt", root, "b.txt"))
            done.append(await fs.at("stat-at", root, FOLLOW, "nope"))
            done.append(await fs.at("sync", opened))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await begun(volume)
            assert not done
            assert await neighbour.read(file) == (b"quick", "ok")
            volume.gate.set()
        assert done == [6, (b"hello\n", "ok"), "ok", "ok", 9, "ok", "ok", "ok", "ok", "E:no-entry", "ok"]
    assert Path(preopen.host, "b.txt").read_bytes() == b"HEL"  # noqa: ASYNC240


async def test_abandoned_work(engine: Engine, version: str, slow: tuple[Preopen, SlowVolume]) -> None:
    """The work continues in its thread, and its descriptor is then closed."""
    preopen, volume = slow
    before = len(os.listdir("/dev/fd"))
    async with guest(engine, version, preopen) as fs:
        root = await fs.root()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fs.open, root, "a.txt")
                await begun(volume)
                scope.cancel()
        files = fs.context.files
    volume.gate.set()
    await closed(volume, files, before)


@pytest.mark.parametrize("what", ["entries", "read", "write"])
async def test_streams_of_a_guest_that_ends(
    engine: Engine, version: str, slow: tuple[Preopen, SlowVolume], tree: Path, what: str
) -> None:
    """The instance ends while a thread reads or writes for the streams."""
    preopen, volume = slow
    before = len(os.listdir("/dev/fd"))
    async with guest(engine, version, preopen) as fs:
        root = await fs.root()
        file = Opened(fs.context.files, *_found(tree / "a.txt", volume), OpenFlags(read=True, write=True), True)
        handle = fs.instance.stores[0].handles  # type: ignore[union-attr]
        number = handle.add(type(handle.entries[root])(handle.entries[root].resource, None, own=True))
        handle.entries[number].rep = type(handle.entries[root].rep)(file, fs.context)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if what == "entries":
                    nursery.start_soon(fs.entries, root)
                elif what == "read":
                    nursery.start_soon(fs.read, number)
                else:
                    nursery.start_soon(fs.write, number, b"written")
                await begun(volume)
                scope.cancel()
    volume.gate.set()
    await closed(volume, fs.context.files, before)
    assert (tree / "a.txt").read_text() == ("written" if what == "write" else "hello\n")


def _found(path: Path, volume: Volume) -> tuple[Handle, os.stat_result, Volume]:
    """Return a file that was opened without the volume, which performs no operations yet."""
    handle = Handle(os.open(path, os.O_RDWR))
    return handle, os.fstat(handle.fd), volume


async def test_a_pollable_that_outlives_its_stream(engine: Engine, tree: Path, fifo: Path) -> None:
    async with guest(engine, "p2", Preopen(tree, "/")) as fs:
        file = await fs.open(await fs.root(), "fifo")
        stream = await fs.at("read-via-stream", file, 0)
        pollable = await fs("input-stream-subscribe", stream)
        assert await fs("pollable-ready", pollable) is False
        await fs("drop-input-stream", stream)
        await fs.drop(file)
        assert await fs("pollable-block", pollable) is None


async def test_threads_per_volume_are_bounded(engine: Engine, slow: tuple[Preopen, SlowVolume], tmp_path: Path) -> None:
    preopen, volume = slow
    (tmp_path / "q.txt").write_text("q")
    other = Preopen(tmp_path, "/")
    other.volume = Volume(-2, local=False, in_memory=False)
    sizes: list[int] = []

    async def look() -> None:
        async with guest(engine, "p2", preopen) as fs:
            sizes.append((await fs.at("stat-at", await fs.root(), FOLLOW, "a.txt")).size)

    async with guest(engine, "p2", other) as neighbour, trio.open_nursery() as nursery:
        for _ in range(THREADS + 10):
            nursery.start_soon(look)
        await begun(volume, THREADS)
        assert not volume.started.acquire(blocking=False)
        # Each volume has its own threads.
        assert (await neighbour.at("stat-at", await neighbour.root(), FOLLOW, "q.txt")).size == 1
        assert not sizes
        volume.gate.set()
    assert sizes == [6] * (THREADS + 10)


async def test_a_disk_that_was_slow_is_used_in_threads_for_a_while() -> None:
    volume = Volume(-1, local=True, in_memory=False)
    assert volume.quick
    volume.record_duration(SLOW_SECONDS / 2)
    assert volume.quick

    def until_quick() -> int:
        count = 0
        while not volume.quick:
            volume.record_duration(SLOW_SECONDS / 2)
            count += 1
        return count

    volume.record_duration(2 * SLOW_SECONDS)
    first = until_quick()
    assert PROBATION[0] <= first <= 2 * PROBATION[0]
    volume.record_duration(2 * SLOW_SECONDS)
    assert until_quick() == 2 * first
    volume.record_duration(2 * SLOW_SECONDS)
    volume.record_duration(2 * SLOW_SECONDS)  # in a thread, because the volume is slow
    assert until_quick() == 4 * first
    for _ in range(20):
        volume.record_duration(2 * SLOW_SECONDS)
        last = until_quick()
    assert last == PROBATION[1]
    for _ in range(PROBATION[1]):
        volume.record_duration(SLOW_SECONDS / 2)
    volume.record_duration(2 * SLOW_SECONDS)
    assert until_quick() == first


async def test_uncached_data_is_read_in_a_thread(
    engine: Engine, version: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system reports this. Here it reports it for each read."""
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("this system does not tell")
    preadv = os.preadv
    asked = []

    def never_at_hand(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        asked.append(flags)
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError
        return preadv(fd, buffers, offset, flags)

    monkeypatch.setattr(opened.os, "preadv", never_at_hand)
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        file = await fs.open(await fs.root(), "a.txt")
        assert await fs.read(file, 1) == (b"ello\n", "ok")
        if version == "p2":
            assert tuple(await fs.at("read", file, 3, 0)) == (b"hel", False)
    assert asked


async def test_a_filesystem_that_does_not_tell(
    engine: Engine, version: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "_volumes", {})
    preadv = os.preadv

    def refuse(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(opened.errno.EOPNOTSUPP, "not supported")
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(opened.os, "preadv", refuse)
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        file = await fs.open(await fs.root(), "a.txt")
        assert await fs.read(file) == (b"hello\n", "ok")
        assert not fs.context.options.preopens[0].volume.supports_nowait


async def test_a_test_s_clock_does_not_jump_while_the_disk_works(
    engine: Engine, version: str, tree: Path, autojump_clock: MockClock
) -> None:
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        file = await fs.open(await fs.root(), "a.txt", (), ("read", "write", "file-integrity-sync"))
        with trio.fail_after(1):
            assert await fs.write(file, b"x") == "ok"
            assert await fs.at("sync", file) == "ok"
        assert trio.current_time() < 1


async def test_large_truncations_run_in_a_thread(
    engine: Engine, version: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "LARGE", 1000)
    preopen = Preopen(tree, "/")
    volume = preopen.volume = Volume(-3, local=True, in_memory=False)
    hops: list[object] = []
    in_thread = Volume.in_thread

    async def counted(self: Volume, work: Callable[[], T]) -> T:
        hops.append(work)
        return await in_thread(self, work)

    monkeypatch.setattr(Volume, "in_thread", counted)
    async with guest(engine, version, preopen) as fs:
        root = await fs.root()
        assert volume.quick
        for size, expected in ((500, 0), (2000, 1)):
            for act in ("set-size", "truncate", "unlink"):
                path = tree / f"{act}{size}"
                path.write_bytes(b"x" * size)
                hops.clear()
                if act == "set-size":
                    file = await fs.open(root, path.name, (), ("read", "write"))
                    assert await fs.at("set-size", file, 1) == "ok"
                elif act == "truncate":
                    file = await fs.open(root, path.name, ("create", "truncate"), ("write",))
                    assert isinstance(file, int)
                else:
                    assert await fs.at("unlink-file-at", root, path.name) == "ok"
                assert len(hops) == expected, act
                assert (path.stat().st_size if path.exists() else None) == {"set-size": 1, "truncate": 0}.get(act)
        assert isinstance(await fs.open(root, "a.txt", ("truncate",)), int)
        assert (tree / "a.txt").read_bytes() == b""
