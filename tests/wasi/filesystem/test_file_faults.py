"""Faults of the host: correct error codes, no loss of acknowledged data, no leak of descriptors."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guest import FOLLOW, guest

from wasi_trio.component._errors import Trap
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._descriptors import GUESTS, Share
from wasi_trio.wasi.filesystem._opened import Files, Opened, OpenFlags
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.filesystem._streams import FileSink


def open_descriptors() -> int:
    gc.collect()  # garbage of earlier tests
    return len(os.listdir("/dev/fd"))


@contextmanager
def limited(kind: int, limit: int) -> Iterator[None]:
    """Set a limit of this process within the block."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


async def test_a_file_that_grows_too_large(engine: Engine, version: str, tree: Path) -> None:
    """Like a full disk: the part that fits is written, then the guest receives an error."""
    data = os.urandom(200_000)
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        root = await fs.root()
        file = await fs.open(root, "new", ("create",), ("read", "write"))
        assert await fs.write(file, data[:50_000]) == "ok"
        with limited(resource.RLIMIT_FSIZE, 100_000):
            assert await fs.write(file, data[50_000:], 50_000) == "E:file-too-large"
            assert await fs.write(file, b"x", None) == "E:file-too-large"
            assert await fs.at("set-size", file, 100_001) == "E:file-too-large"
            if version == "p2":
                assert await fs.at("write", file, b"ab", 99_999) == 1
                assert await fs.at("write", file, b"ab", 100_000) == "E:file-too-large"
    written = (tree / "new").read_bytes()
    assert written[:99_999] == data[:99_999]
    assert len(written) == 100_000


async def test_a_full_disk(engine: Engine, version: str) -> None:
    """/dev/full behaves like a full disk for writes."""
    if not Path("/dev/full").exists():  # noqa: ASYNC240
        pytest.skip("this system has no /dev/full")
    async with guest(engine, version, Preopen("/dev", "/")) as fs:
        file = await fs.open(await fs.root(), "full", (), ("write",))
        assert await fs.write(file, b"x") == "E:insufficient-space"
        if version == "p2":
            assert await fs.at("write", file, b"x", 0) == "E:insufficient-space"


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="a small disk takes root to mount")
async def test_a_small_disk(engine: Engine, version: str, tmp_path: Path) -> None:
    mounted = subprocess.run(  # noqa: ASYNC221
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"it cannot be mounted: {mounted.stderr.decode().strip()}")
    try:
        async with guest(engine, version, Preopen(tmp_path, "/")) as fs:
            root = await fs.root()
            file = await fs.open(root, "new", ("create",), ("read", "write"))
            assert await fs.write(file, b"x" * 500_000) == "E:insufficient-space"
            size = (await fs.at("stat", file)).size
            assert 200_000 < size <= 262_144
            assert await fs.at("sync", file) == "ok"
            assert await fs.read(file) == (b"x" * size, "ok")
            assert await fs.at("set-size", file, 0) == "ok"
            assert await fs.write(file, b"again") == "ok"
            await fs.drop(file)
            await fs.drop(root)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)  # noqa: ASYNC221


async def test_a_file_that_is_truncated_while_it_is_read(engine: Engine, version: str, tree: Path) -> None:
    path = tree / "large"
    path.write_bytes(b"x" * 300_000)
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        file = await fs.open(await fs.root(), "large")
        if version == "p2":
            stream = await fs.at("read-via-stream", file, 0)
            assert len(await fs("input-stream-read", stream, 100_000)) == 100_000
            os.truncate(path, 50_000)
            assert await fs("input-stream-blocking-read", stream, 100_000) == "E:closed"
        else:
            stream, future = await fs.at("read-via-stream", file, 0)
            code, part = await fs("stream-read", stream, 100_000)
            assert (code, len(part)) == (100_000 << 4, 100_000)
            os.truncate(path, 50_000)
            code, _ = await fs("stream-read", stream, 100_000)
            assert code == 1
            assert await fs("outcome-read", future) == "ok"
        os.truncate(path, 60_000)
        assert await fs.read(file, 50_000) == (bytes(10_000), "ok")


async def test_a_directory_that_is_deleted_while_it_is_open(engine: Engine, version: str, tree: Path) -> None:
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        root = await fs.root()
        folder = await fs.open(root, "dir")
        file = await fs.open(folder, "b.txt", (), ("read", "write"))
        shutil.rmtree(tree / "dir")
        assert await fs.open(folder, "new", ("create",), ("write",)) == "E:no-entry"
        assert await fs.at("create-directory-at", folder, "new") == "E:no-entry"
        assert await fs.at("stat-at", folder, FOLLOW, "b.txt") == "E:no-entry"
        assert await fs.entries(folder) == ([], "ok")
        assert (await fs.at("stat", folder)).link_count == 0
        # An open file survives its deletion.
        assert await fs.write(file, b"more", None) == "ok"
        assert await fs.read(file) == (b"b\nmore", "ok")


async def test_descriptors_of_an_instance_are_bounded(engine: Engine, version: str, tree: Path) -> None:
    before = open_descriptors()
    async with guest(engine, version, Preopen(tree, "/"), max_descriptors=10) as fs:
        root = await fs.root()
        files = [await fs.open(root, "a.txt") for _ in range(10)]
        assert all(isinstance(file, int) for file in files)
        assert await fs.open(root, "a.txt") == "E:insufficient-memory"
        assert (await fs.entries(root))[1] == "E:insufficient-memory"
        await fs.drop(files.pop())
        assert isinstance(await fs.open(root, "a.txt"), int)
        for file in files[:2]:
            await fs.drop(file)
        assert (await fs.entries(root))[1] == "ok"
        assert (await fs.at("stat-at", root, FOLLOW, "dir/b.txt")).size == 2
    assert fs.context.files.count == 0
    assert open_descriptors() <= before + 1  # the preopen's


async def test_all_instances_together_have_three_quarters_of_the_process_s_descriptors(
    engine: Engine, version: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GUESTS.count == 0
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert limit == resource.RLIM_INFINITY or limit * 3 // 4 == GUESTS.limit
    monkeypatch.setattr(Share, "limit", 3)
    preopen = Preopen(tree, "/")
    async with guest(engine, version, preopen) as one, guest(engine, version, preopen) as other:
        first, second = await one.root(), await other.root()
        files = [await one.open(first, "a.txt") for _ in range(3)]
        assert await other.open(second, "a.txt") == "E:insufficient-memory"
        await one.drop(files[0])
        assert isinstance(await other.open(second, "a.txt"), int)
        assert await one.open(first, "a.txt") == "E:insufficient-memory"
    assert GUESTS.count == 0


async def test_streams_count_as_well(engine: Engine, tree: Path) -> None:
    """Otherwise a guest could drop their descriptors and open others."""
    async with guest(engine, "p2", Preopen(tree, "/"), max_descriptors=5) as fs:
        root = await fs.root()
        for _ in range(5):
            file = await fs.open(root, "a.txt")
            assert isinstance(await fs.at("read-via-stream", file, 0), int)
            await fs.drop(file)
        assert await fs.open(root, "a.txt") == "E:insufficient-memory"


async def test_a_process_that_has_no_descriptors_left(engine: Engine, version: str, tree: Path) -> None:
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        root = await fs.root()
        file = await fs.open(root, "a.txt")
        highest = max(int(name) for name in os.listdir("/dev/fd"))
        spare = []
        with limited(resource.RLIMIT_NOFILE, highest + 1):
            try:
                while True:
                    spare.append(os.dup(0))
            except OSError:
                pass
            try:
                assert await fs.open(root, "a.txt") == "E:insufficient-memory"
                assert await fs.at("create-directory-at", root, "dir/x") == "E:insufficient-memory"
                assert (await fs.entries(root))[1] == "E:insufficient-memory"
                assert await fs.read(file) == (b"hello\n", "ok")
                assert fs.context.files.count == 1
            finally:
                for fd in spare:
                    os.close(fd)
        assert isinstance(await fs.open(root, "a.txt"), int)


async def test_a_guest_that_ends_leaves_nothing_open(engine: Engine, version: str, tree: Path) -> None:
    preopen = Preopen(tree, "/")
    before = open_descriptors()
    async with guest(engine, version, preopen) as fs:
        root = await fs.root()
        file = await fs.open(root, "a.txt", (), ("read", "write"))
        if version == "p2":
            await fs.at("read-via-stream", file, 0)
            await fs.at("append-via-stream", file)
            stream = await fs.at("read-directory", root)
            await fs("directory-entry-stream-read-directory-entry", stream)
        else:
            await fs.at("read-via-stream", file, 0)
            readable, _ = await fs("stream-new")
            await fs.at("append-via-stream", file, readable)
            stream, _ = await fs.at("read-directory", root)
            await fs("directory-entry-read", stream, 1)
        assert open_descriptors() > before
        with pytest.raises(Trap):
            await fs.at("stat", 12345)
    assert fs.context.files.count == 0
    assert open_descriptors() == before


async def test_a_sink_without_a_task(tree: Path) -> None:
    """Without a nursery, the error describes the problem."""
    os.mkfifo(tree / "fifo")
    files = Files([Preopen(tree, "/")])
    ((root, _),) = files.opened_preopens()
    fifo = root.open_at("fifo", OpenFlags(read=True, write=True), follow=True)
    assert isinstance(fifo, Opened)
    sink = FileSink(fifo, 0, None)
    with pytest.raises(BlockingIOError):
        for _ in range(100):
            sink.put(b"x" * 65536)
    files.close()
    assert files.count == 0
