"""All functions of wasi:filesystem, called by guests of WASI 0.2 and 0.3."""

from __future__ import annotations

import fcntl
import gc
import os
import stat
from pathlib import Path

import pytest
from guest import FOLLOW, NOFOLLOW, case_of, guest

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Variant
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi.filesystem._opened import PIECE
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.filesystem._streams import ENTRIES
from wasi_trio.wasi.filesystem._volumes import Volume
from wasi_trio.wasi.p2._clocks import Datetime

NO_CHANGE, NOW = Variant("no-change"), Variant("now")


def at(seconds: int, nanoseconds: int = 0) -> Variant:
    return Variant("timestamp", Datetime(seconds, nanoseconds))


async def test_stat(engine: Engine, version: str, tree: Path) -> None:
    os.utime(tree / "a.txt", ns=(1_500_000_001, 3_000_000_007))
    async with guest(engine, version, Preopen(tree, "rw")) as fs:
        root = await fs.root()
        file = await fs.open(root, "a.txt")
        for found in (
            await fs.at("stat", file),
            await fs.at("stat-at", root, FOLLOW, "link-in"),
            await fs.at("stat-at", root, NOFOLLOW, "a.txt"),
        ):
            status = os.stat(tree / "a.txt")
            assert case_of(found.type) == "regular-file"
            assert (found.link_count, found.size) == (1, 6)
            assert tuple(found.data_access_timestamp) == (1, 500_000_001)
            assert tuple(found.data_modification_timestamp) == (3, 7)
            # WIT requires st_ctim, but the reference returns the time of birth.
            assert tuple(found.status_change_timestamp) == divmod(status.st_ctime_ns, 10**9)
        link = await fs.at("stat-at", root, NOFOLLOW, "link-in")
        assert (case_of(link.type), link.size) == ("symbolic-link", len("a.txt"))
        assert await fs.at("stat-at", root, FOLLOW, "link-abs") == "E:not-permitted"
        assert await fs.at("stat-at", file, FOLLOW, "x") == "E:not-directory"


async def test_a_time_before_1970(engine: Engine, version: str, tree: Path) -> None:
    os.utime(tree / "a.txt", ns=(-1, -1))
    async with guest(engine, version, Preopen(tree, "rw")) as fs:
        found = await fs.at("stat-at", await fs.root(), FOLLOW, "a.txt")
    # The datetime of 0.2 begins in 1970. The instant of 0.3 does not.
    expected = None if version == "p2" else (-1, 999_999_999)
    assert found.data_modification_timestamp == expected


async def test_set_times(engine: Engine, version: str, tree: Path) -> None:
    path = tree / "a.txt"
    async with guest(engine, version, Preopen(tree, "rw")) as fs:
        root = await fs.root()
        file = await fs.open(root, "a.txt", (), ("read", "write"))
        assert await fs.at("set-times", file, at(5, 6), at(7, 8)) == "ok"
        assert (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns) == (5_000_000_006, 7_000_000_008)
        assert await fs.at("set-times", file, NO_CHANGE, at(9)) == "ok"
        assert (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns) == (5_000_000_006, 9_000_000_000)
        assert await fs.at("set-times-at", root, FOLLOW, "link-in", at(10), NO_CHANGE) == "ok"
        assert (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns) == (10_000_000_000, 9_000_000_000)
        assert await fs.at("set-times-at", root, NOFOLLOW, "link-in", at(11), at(11)) == "ok"
        assert os.lstat(tree / "link-in").st_mtime == 11
        assert os.stat(path).st_mtime == 9
        assert await fs.at("set-times", file, NOW, NOW) == "ok"
        assert os.stat(path).st_mtime > 1_700_000_000
        assert await fs.at("set-times", root, at(12), at(12)) == "ok"
        assert os.stat(tree).st_mtime == 12
        # Guests must not reach the system's special values for "now" and "no change".
        for nanoseconds in (10**9, (1 << 30) - 1, (1 << 30) - 2, (1 << 32) - 1):
            assert await fs.at("set-times", file, at(1, nanoseconds), NO_CHANGE) == "E:invalid"
        if version == "p2":
            assert await fs.at("set-times", file, at((1 << 64) - 1), NO_CHANGE) == "E:overflow"


async def test_kinds(engine: Engine, version: str, tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    expected = {
        "a.txt": "regular-file",
        "dir": "directory",
        "dir2": "directory",
        "fifo": "fifo",
        **dict.fromkeys(("link-abs", "link-up", "link-in", "link-dir", "loop", "dangling"), "symbolic-link"),
    }
    async with guest(engine, version, Preopen(tree, "rw"), Preopen("/dev", "dev", read_only=True)) as fs:
        (root, _), (dev, _) = await fs.preopens()
        assert dict((await fs.entries(root))[0]) == expected
        for name, kind in expected.items():
            assert case_of((await fs.at("stat-at", root, NOFOLLOW, name)).type) == kind
        null = await fs.open(dev, "null")
        assert case_of(await fs.at("get-type", null)) == "character-device"
        assert await fs.read(null) == (b"", "ok")


@pytest.mark.parametrize("at_once", [1, 7, 1000])
async def test_a_large_directory(engine: Engine, version: str, tmp_path: Path, at_once: int) -> None:
    names = {f"{number:04}-é" for number in range(1000)}
    for name in names:
        (tmp_path / name).touch()
    async with guest(engine, version, Preopen(tmp_path, "/")) as fs:
        root = await fs.root()
        found, how = await fs.entries(root, at_once)
        assert ({name for name, _ in found}, len(found), how) == (names, 1000, "ok")
        assert fs.context.files.count == 0


async def test_two_streams_of_one_directory(engine: Engine, tree: Path) -> None:
    async with guest(engine, "p2", Preopen(tree, "/")) as fs:
        root = await fs.root()
        streams = [await fs.at("read-directory", root) for _ in range(2)]
        found: list[list[str]] = [[], []]
        for _ in os.listdir(tree):
            for names, stream in zip(found, streams, strict=True):
                entry = await fs("directory-entry-stream-read-directory-entry", stream)
                names.append(entry.name)
        assert found[0] == found[1] == os.listdir(tree)
        for stream in streams:
            assert await fs("directory-entry-stream-read-directory-entry", stream) == "ok"  # no entry


async def test_a_stream_of_a_directory_that_is_dropped(engine: Engine, tree: Path) -> None:
    async with guest(engine, "p3", Preopen(tree, "/")) as fs:
        stream, future = await fs.at("read-directory", await fs.root())
        code, part = await fs("directory-entry-read", stream, 1)
        assert (code, len(part)) == (1 << 4, 1)
        await fs("directory-entry-drop", stream)
        assert await fs("outcome-read", future) == "ok"
        assert fs.context.files.count == 0


async def test_a_name_that_is_not_utf_8(engine: Engine, version: str, tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff")).touch()
    except OSError as error:  # the filesystem requires UTF-8 names
        pytest.skip(f"no such file can be made: {error}")
    async with guest(engine, version, Preopen(tmp_path, "/")) as fs:
        assert await fs.entries(await fs.root()) == ([], "E:illegal-byte-sequence")


async def test_the_entries_beside_a_name_that_is_not_utf_8(engine: Engine, tmp_path: Path) -> None:
    """In 0.2, the failure concerns that entry alone."""
    names = {f"{number:02}" for number in range(2 * ENTRIES)}
    for name in names:
        (tmp_path / name).touch()
    try:
        (tmp_path / os.fsdecode(b"\xff")).touch()
    except OSError as error:  # the filesystem requires UTF-8 names
        pytest.skip(f"no such file can be made: {error}")
    async with guest(engine, "p2", Preopen(tmp_path, "/")) as fs:
        stream = await fs.at("read-directory", await fs.root())
        read = [await fs("directory-entry-stream-read-directory-entry", stream) for _ in range(len(names) + 3)]
        assert read[-2:] == ["ok", "ok"]  # no entry
        assert read.count("E:illegal-byte-sequence") == 1
        assert {entry.name for entry in read if not isinstance(entry, str)} == names


async def test_reading_and_writing_by_offset(engine: Engine, tree: Path) -> None:
    """The functions that only 0.2 has."""
    async with guest(engine, "p2", Preopen(tree, "/")) as fs:
        root = await fs.root()
        file = await fs.open(root, "a.txt", (), ("read", "write"))
        assert tuple(await fs.at("read", file, 3, 1)) == (b"ell", False)
        assert tuple(await fs.at("read", file, 100, 0)) == (b"hello\n", False)
        assert tuple(await fs.at("read", file, 100, 6)) == (b"", True)
        assert tuple(await fs.at("read", file, 0, 0)) == (b"", False)
        assert await fs.at("read", file, 1, 1 << 63) == "E:invalid"
        assert await fs.at("write", file, b"HEL", 0) == 3
        assert await fs.at("write", file, b"!", 9) == 1
        assert (tree / "a.txt").read_bytes() == b"HELlo\n\0\0\0!"
        assert await fs.at("write", file, b"x", (1 << 64) - 1) == "E:invalid"
        assert await fs.at("read", root, 10, 0) == "E:is-directory"
        assert await fs.at("write", root, b"x", 0) == "E:bad-descriptor"
        large = os.urandom(2 * PIECE)
        (tree / "large").write_bytes(large)
        data, ended = await fs.at("read", await fs.open(root, "large"), (1 << 64) - 1, 5)
        assert (bytes(data), ended) == (large[5 : 5 + PIECE], False)


@pytest.mark.parametrize("size", [0, 1, 65536, 3 * PIECE + 1])
@pytest.mark.parametrize("piece", [1000, 65536, 1 << 20])
async def test_streams(engine: Engine, version: str, tree: Path, size: int, piece: int) -> None:
    data = os.urandom(size)
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        root = await fs.root()
        file = await fs.open(root, "new", ("create", "exclusive"), ("read", "write"))
        assert await fs.write(file, data) == "ok"
        assert await fs.read(file, 0, piece) == (data, "ok")
        assert await fs.read(file, size // 2, piece) == (data[size // 2 :], "ok")
        assert await fs.write(file, b"more", None) == "ok"
        assert await fs.write(file, b"begin", 0) == "ok"
        assert await fs.write(file, b"far", size + 1000) == "ok"
    expected = bytearray((data + b"more").ljust(size + 1000, b"\0") + b"far")
    expected[:5] = b"begin"
    assert (tree / "new").read_bytes() == expected


async def test_streams_outlive_their_descriptor(engine: Engine, tree: Path) -> None:
    async with guest(engine, "p2", Preopen(tree, "/")) as fs:
        root = await fs.root()
        file = await fs.open(root, "a.txt", (), ("read", "write"))
        source = await fs.at("read-via-stream", file, 2)
        sink = await fs.at("append-via-stream", file)
        await fs.drop(file)
        assert await fs("output-stream-check-write", sink) == PIECE
        assert await fs("output-stream-write", sink, b"more") == "ok"
        assert bytes(await fs("input-stream-read", source, 100)) == b"llo\nmore"
        assert await fs("output-stream-splice", sink, source, 100) == "E:closed"
        assert fs.context.files.count == 1
        await fs("drop-input-stream", source)
        await fs("drop-output-stream", sink)
        assert fs.context.files.count == 0


async def test_copying_by_splice(engine: Engine, tree: Path) -> None:
    (tree / "from").write_bytes(b"x" * 100_000)
    async with guest(engine, "p2", Preopen(tree, "/")) as fs:
        root = await fs.root()
        source = await fs.at("read-via-stream", await fs.open(root, "from"), 0)
        sink = await fs.at("write-via-stream", await fs.open(root, "to", ("create",), ("write",)), 0)
        while isinstance(await fs("output-stream-blocking-splice", sink, source, 1 << 20), int):
            pass
        assert await fs("output-stream-blocking-flush", sink) == "ok"
    assert (tree / "to").read_bytes() == b"x" * 100_000


async def test_more_than_was_permitted_traps(engine: Engine, tree: Path) -> None:
    async with guest(engine, "p2", Preopen(tree, "/")) as fs:
        sink = await fs.at("append-via-stream", await fs.open(await fs.root(), "a.txt", (), ("write",)))
        with pytest.raises(Trap, match="check-write permits"):
            await fs("output-stream-write", sink, bytes(PIECE + 1))


async def test_open_flags_limit_operations(engine: Engine, version: str, tree: Path) -> None:
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        root = await fs.root()
        reads = await fs.open(root, "a.txt")
        writes = await fs.open(root, "a.txt", (), ("write",))
        assert await fs.at("get-flags", writes) == frozenset({"write"})
        assert await fs.read(writes) == (b"", "E:bad-descriptor")
        assert await fs.write(reads, b"x") == "E:bad-descriptor"
        assert await fs.write(reads, b"x", None) == "E:bad-descriptor"
        assert await fs.write(root, b"x") == "E:is-directory"
        assert await fs.at("set-size", root, 0) == "E:bad-descriptor"
        folder = await fs.open(root, "dir", ("directory",), ("read", "mutate-directory"))
        assert await fs.at("get-flags", folder) == frozenset({"read", "mutate-directory"})
        for function, *arguments in (
            ("create-directory-at", "x"),
            ("remove-directory-at", "x"),
            ("unlink-file-at", "x"),
            ("readlink-at", "x"),
            ("symlink-at", "x", "y"),
            ("rename-at", "x", root, "y"),
            ("link-at", NOFOLLOW, "x", root, "y"),
            ("set-times-at", FOLLOW, "x", NOW, NOW),
            ("stat-at", FOLLOW, "x"),
            ("metadata-hash-at", FOLLOW, "x"),
            ("open-at", FOLLOW, "x", frozenset(), frozenset({"read"})),
        ):
            assert await fs.at(function, reads, *arguments) == "E:not-directory", function
        assert await fs.at("rename-at", root, "a.txt", reads, "y") == "E:not-directory"
        assert (tree / "a.txt").read_text() == "hello\n"


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("file-integrity-sync", os.O_SYNC), ("data-integrity-sync", os.O_DSYNC), ("requested-write-sync", os.O_SYNC)],
)
async def test_sync_flags(engine: Engine, version: str, tree: Path, flag: str, expected: int) -> None:
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        file = await fs.open(await fs.root(), "a.txt", (), ("read", "write", flag))
        assert await fs.at("get-flags", file) == frozenset({"read", "write", flag})
        (opened,) = [each for each in fs.context.files._open if getattr(each, "is_directory", None) is False]
        assert fcntl.fcntl(opened.handle.fd, fcntl.F_GETFL) & expected == expected  # type: ignore[attr-defined]
        assert await fs.write(file, b"on the disk") == "ok"
        assert await fs.at("sync", file) == "ok"
        assert await fs.at("sync-data", file) == "ok"
        assert await fs.read(file) == (b"on the disk", "ok")


async def test_identity(engine: Engine, version: str, tree: Path) -> None:
    os.link(tree / "a.txt", tree / "hard")
    (tree / "copy").write_text("hello\n")
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        root = await fs.root()
        one, hard, copy = [await fs.open(root, name) for name in ("a.txt", "hard", "copy")]
        assert await fs.at("is-same-object", one, hard) is True
        assert await fs.at("is-same-object", one, copy) is False
        mine = await fs.at("metadata-hash", one)
        assert await fs.at("metadata-hash-at", root, NOFOLLOW, "hard") == mine
        assert await fs.at("metadata-hash-at", root, FOLLOW, "link-in") == mine
        assert await fs.at("metadata-hash-at", root, NOFOLLOW, "link-in") != mine
        assert await fs.at("metadata-hash", copy) != mine
        assert await fs.at("metadata-hash-at", root, FOLLOW, "nope") == "E:no-entry"


@pytest.mark.parametrize("advice", ["normal", "sequential", "random", "will-need", "dont-need", "no-reuse"])
async def test_advice(engine: Engine, version: str, tree: Path, advice: str) -> None:
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        file = await fs.open(await fs.root(), "a.txt")
        assert await fs.at("advise", file, 0, 6, advice) == "ok"


async def test_a_directory_that_was_opened_by_a_guest_may_be_changed(engine: Engine, version: str, tree: Path) -> None:
    """This holds even without mutate-directory, which C libraries do not request. Paths must not leave it."""
    async with guest(engine, version, Preopen(tree, "/")) as fs:
        folder = await fs.open(await fs.root(), "dir")
        assert await fs.at("get-flags", folder) == frozenset({"read"})
        assert await fs.at("create-directory-at", folder, "inner") == "ok"
        assert await fs.at("rename-at", folder, "b.txt", folder, "inner/c.txt") == "ok"
        assert await fs.open(folder, "../a.txt") == "E:not-permitted"
        assert await fs.open(folder, "up/a.txt") == "E:no-entry"
    assert (tree / "dir/inner/c.txt").read_text() == "b\n"


async def test_two_preopens_and_their_names(engine: Engine, version: str, tree: Path) -> None:
    async with guest(engine, version, Preopen(tree), Preopen(tree / "dir", ".")) as fs:
        assert [name for _, name in await fs.preopens()] == [str(tree), "."]
        # A second call returns new descriptors, which the guest may drop.
        (first, _), _ = await fs.preopens()
        await fs.drop(first)
        assert isinstance(await fs.open((await fs.preopens())[0][0], "a.txt"), int)


@pytest.mark.parametrize("release", ["0.2.0", "0.2.3", "0.2.12", "0.3.0", "0.3.1"])
async def test_guests_of_any_release(engine: Engine, tree: Path, release: str) -> None:
    async with guest(engine, f"p{release[2]}", Preopen(tree, "/"), release=release) as fs:
        file = await fs.open(await fs.root(), "a.txt")
        assert await fs.read(file) == (b"hello\n", "ok")


async def test_a_guest_without_directories(engine: Engine, version: str) -> None:
    async with guest(engine, version) as fs:
        assert await fs.preopens() == []


def test_an_invalid_preopen(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        Preopen(tmp_path / "file", "/")
    with pytest.raises(FileNotFoundError):
        Preopen(tmp_path / "nope", "/")


async def test_a_preopen_stays_the_directory_that_it_was(engine: Engine, version: str, tree: Path) -> None:
    preopen = Preopen(tree, "/")
    tree.rename(tree.parent / "moved")  # noqa: ASYNC240
    async with guest(engine, version, preopen) as fs:
        assert isinstance(await fs.open(await fs.root(), "a.txt"), int)
    assert preopen.handle.fd >= 0
    assert stat.S_ISDIR(os.fstat(preopen.handle.fd).st_mode)


@pytest.mark.parametrize("local", [True, False])
async def test_files_leave_no_cycles_behind(engine: Engine, version: str, tree: Path, local: bool) -> None:
    """The garbage collector would block the event loop. Work goes to threads unless the volume is local and quick."""
    rounds = 50
    preopen = Preopen(tree, "/")
    preopen.volume = Volume(preopen.status.st_dev, local=local, in_memory=False)

    async def use() -> None:
        file = await fs.open(root, "a.txt", (), ("read", "write"))
        await fs.at("stat", file)
        await fs.read(file)
        await fs.write(file, b"HELLO")
        await fs.entries(root)
        await fs.open(root, "nope")
        await fs.drop(file)

    async with guest(engine, version, preopen) as fs:
        root = await fs.root()
        await use()
        gc.collect()
        gc.disable()
        try:
            for _ in range(rounds):
                await use()
            assert gc.collect() < rounds
        finally:
            gc.enable()
