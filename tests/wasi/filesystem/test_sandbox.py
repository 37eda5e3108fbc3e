"""Paths stay inside their directory, with each resolver."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from wasi_trio.wasi.filesystem._errors import code_of
from wasi_trio.wasi.filesystem._libc import has_openat2
from wasi_trio.wasi.filesystem._sandbox import (
    MAX_DEPTH,
    NO_CHANGE,
    NOW,
    Elsewhere,
    Kernel,
    Outside,
    Sandbox,
    Time,
    Walk,
)

KERNEL = pytest.param("kernel", marks=pytest.mark.skipif(not has_openat2(), reason="this system has no openat2"))


@pytest.fixture(params=[KERNEL, "walk"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return Sandbox(Kernel() if request.param == "kernel" else Walk())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tree of the reference's table, with ``secret`` outside of its ``rw``."""
    rw = tmp_path / "rw"
    (rw / "dir").mkdir(parents=True)
    (rw / "dir2").mkdir()
    (rw / "a.txt").write_text("hello\n")
    (rw / "dir/b.txt").write_text("b")
    for name, target in {
        "link-abs": "/etc/hostname",
        "link-up": "../secret/s.txt",
        "link-in": "a.txt",
        "link-dir": "dir",
        "link-out": "../secret",
        "loop": "loop",
        "dangling": "nothere",
        "dangling-out": "../secret/new",
        "round": "dir/../link-in",
        "deep": "dir/up",
        "slashed": "dir/",
    }.items():
        (rw / name).symlink_to(target)
    (rw / "dir/up").symlink_to("../a.txt")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/s.txt").write_text("secret")
    return rw


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def outcome(act: Callable[[], object]) -> str:
    """Return the outcome as an ``error-code``, and close the opened descriptor."""
    try:
        value = act()
    except OSError as error:
        return code_of(error) or str(error)
    if type(value) is int:
        os.close(value)
    return "ok"


OPENED = {
    "/abs": "not-permitted",
    "..": "not-permitted",
    "../rw": "not-permitted",
    "dir/../../rw/a.txt": "not-permitted",
    "a/../..": "no-entry",
    "": "no-entry",
    ".": "ok",
    "./": "ok",
    "./.": "ok",
    "dir/..": "ok",
    "dir/../": "ok",
    "a.txt": "ok",
    "a.txt/": "not-directory",
    "a.txt/.": "not-directory",
    "a.txt/..": "not-directory",
    "a.txt/x": "not-directory",
    "dir": "ok",
    "dir/": "ok",
    "dir//b.txt": "ok",
    "dir/./b.txt": "ok",
    "dir/../a.txt": "ok",
    "nope": "no-entry",
    "nope/x": "no-entry",
    "link-abs": "not-permitted",
    "link-up": "not-permitted",
    "link-out": "not-permitted",
    "link-out/": "not-permitted",
    "link-out/s.txt": "not-permitted",
    "link-in": "ok",
    "link-in/": "not-directory",
    "link-dir/b.txt": "ok",
    "link-dir/../a.txt": "ok",
    "link-dir/../../secret": "not-permitted",
    "link-dir/up": "ok",
    "round": "ok",
    "deep": "ok",
    "slashed/b.txt": "ok",
    "loop": "loop",
    "loop/x": "loop",
    "dangling": "no-entry",
    "a\\b": "no-entry",
    "a.txt\0x": "invalid",
    "x" * 256: "name-too-long",
    "x/" * 3000: "name-too-long",
    "\u00e9" * 2500: "name-too-long",
}


@pytest.mark.parametrize(("path", "expected"), OPENED.items())
def test_opening(sandbox: Sandbox, root: int, path: str, expected: str) -> None:
    assert outcome(lambda: sandbox.open(root, path, os.O_RDONLY, follow=True)) == expected
    assert outcome(lambda: sandbox.stat(root, path, follow=True) and None) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    {
        "link-abs": "loop",
        "link-in": "loop",
        "loop": "loop",
        "link-dir": "loop",
        "link-dir/b.txt": "ok",
        "link-dir/": "ok",
        "a.txt": "ok",
        "..": "not-permitted",
    }.items(),
)
def test_opening_without_following(sandbox: Sandbox, root: int, path: str, expected: str) -> None:
    assert outcome(lambda: sandbox.open(root, path, os.O_RDONLY, follow=False)) == expected


@pytest.mark.parametrize(
    ("path", "flags", "expected"),
    [
        ("dir", os.O_WRONLY, "is-directory"),
        ("a.txt", os.O_DIRECTORY, "not-directory"),
        ("link-in", os.O_DIRECTORY, "not-directory"),
        ("link-dir", os.O_DIRECTORY, "ok"),
        ("a.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, "exist"),
        ("dangling", os.O_WRONLY | os.O_CREAT | os.O_EXCL, "exist"),
        ("dir/new", os.O_WRONLY | os.O_CREAT, "ok"),
        ("dangling", os.O_WRONLY | os.O_CREAT, "ok"),
        ("dangling-out", os.O_WRONLY | os.O_CREAT, "not-permitted"),
        ("link-out/new", os.O_WRONLY | os.O_CREAT, "not-permitted"),
        ("new/", os.O_WRONLY | os.O_CREAT, "is-directory"),
        (".", os.O_WRONLY | os.O_CREAT, "is-directory"),
        ("link-up", os.O_WRONLY | os.O_TRUNC, "not-permitted"),
    ],
)
def test_opening_with_flags(sandbox: Sandbox, tree: Path, root: int, path: str, flags: int, expected: str) -> None:
    found = outcome(lambda: sandbox.open(root, path, flags, follow=True))
    if path == "new/":  # the walk detects the missing directory before it detects the creation of a file
        assert found in (expected, "no-entry")
    else:
        assert found == expected
    assert [entry.name for entry in (tree.parent / "secret").iterdir()] == ["s.txt"]
    assert (tree.parent / "secret/s.txt").read_text() == "secret"


def test_a_file_that_is_created_has_the_permissions_that_the_umask_leaves(sandbox: Sandbox, root: int) -> None:
    before = os.umask(0o027)
    try:
        os.close(sandbox.open(root, "fresh", os.O_WRONLY | os.O_CREAT, follow=True))
    finally:
        os.umask(before)
    assert os.stat("fresh", dir_fd=root).st_mode & 0o777 == 0o640


def test_descriptors_are_not_inherited(sandbox: Sandbox, root: int) -> None:
    fd = sandbox.open(root, "a.txt", os.O_RDONLY, follow=True)
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_changes(sandbox: Sandbox, tree: Path, root: int) -> None:
    """Changes in the order of the reference's table, with its results."""
    box = sandbox
    (tree / "t").mkdir()

    def check(expected: str, act: Callable[..., object], *arguments: object) -> None:
        assert outcome(lambda: act(*arguments)) == expected, (act, arguments)

    check("invalid", box.read_link, root, "a.txt")
    check("not-permitted", box.read_link, root, "link-abs")
    check("invalid", box.read_link, root, ".")
    check("no-entry", box.read_link, root, "nope")
    check("not-permitted", box.read_link, root, "link-out/s.txt")
    assert box.read_link(root, "link-in") == "a.txt"
    assert box.read_link(root, "link-up") == "../secret/s.txt"

    check("not-permitted", box.symlink, "/etc", root, "t/l")
    check("ok", box.symlink, "..", root, "t/l")
    check("no-entry", box.symlink, "", root, "t/m")
    check("exist", box.symlink, "x", root, "a.txt")
    check("no-entry", box.symlink, "x", root, "t/n/")
    check("exist", box.symlink, "x", root, ".")
    check("invalid", box.symlink, "x\0", root, "t/m")
    check("not-permitted", box.symlink, "x", root, "link-out/l")
    check("not-permitted", box.symlink, "x", root, "../l")

    check("exist", box.make_directory, root, "dir")
    check("exist", box.make_directory, root, "link-out")
    check("ok", box.make_directory, root, "t/d/")
    check("exist", box.make_directory, root, ".")
    check("not-permitted", box.make_directory, root, "..")
    check("not-permitted", box.make_directory, root, "../x")
    check("not-permitted", box.make_directory, root, "link-out/x")
    check("no-entry", box.make_directory, root, "")
    check("no-entry", box.make_directory, root, "nope/x")
    check("not-directory", box.make_directory, root, "a.txt/x")

    check("not-empty", box.remove_directory, root, "dir")
    check("not-directory", box.remove_directory, root, "a.txt")
    check("invalid", box.remove_directory, root, ".")
    check("not-permitted", box.remove_directory, root, "..")
    check("invalid", box.remove_directory, root, "t/d/")
    check("not-directory", box.remove_directory, root, "link-dir")
    check("not-permitted", box.remove_directory, root, "link-out/")
    check("ok", box.remove_directory, root, "t/d")

    check("is-directory", box.unlink, root, "dir")
    check("not-directory", box.unlink, root, "a.txt/")
    check("is-directory", box.unlink, root, ".")
    check("not-permitted", box.unlink, root, "link-out/s.txt")
    check("not-permitted", box.unlink, root, "../secret/s.txt")
    check("ok", box.unlink, root, "link-dir")
    assert (tree / "dir/b.txt").exists()

    def rename(old: str, new: str) -> str:
        return outcome(lambda: box.rename(root, old, root, new))

    (tree / "full").mkdir()
    (tree / "full/x").touch()
    assert rename("dir", "full") == "not-empty"
    assert rename("dir", "a.txt") == "not-directory"
    assert rename("a.txt", "dir") == "is-directory"
    assert rename("a.txt", "a.txt") == "ok"
    assert rename(".", "x") == "busy"
    assert rename("dir", ".") == "busy"
    assert rename("..", "x") == "not-permitted"
    assert rename("a.txt", "../x") == "not-permitted"
    assert rename("a.txt", "link-out/x") == "not-permitted"
    assert rename("link-out/s.txt", "x") == "not-permitted"
    assert rename("link-out/", "x") == "not-directory"
    assert rename("nope", "x") == "no-entry"
    assert rename("dir", "dir/x") == "invalid"
    assert rename("a.txt/", "x") == "not-directory"
    assert rename("a.txt", "x/") == "not-directory"
    assert rename("full/", "fuller/") == "ok"
    assert rename("link-up", "moved") == "ok"
    assert os.readlink(tree / "moved") == "../secret/s.txt"

    def link(old: str, new: str) -> str:
        return outcome(lambda: box.link(root, old, root, new))

    assert link("a.txt", "hard") == "ok"
    assert (tree / "hard").samefile(tree / "a.txt")
    assert link("dir", "hard-dir") == "not-permitted"
    assert link(".", "hard-dir") == "not-permitted"
    assert link("link-in", "hard-link") == "ok"
    assert os.readlink(tree / "hard-link") == "a.txt"
    assert link("a.txt", "hard") == "exist"
    assert link("a.txt", "../hard") == "not-permitted"
    assert link("link-out/s.txt", "stolen") == "not-permitted"
    assert link("a.txt", ".") == "exist"

    assert [entry.name for entry in (tree.parent / "secret").iterdir()] == ["s.txt"]


def test_times(sandbox: Sandbox, tree: Path, root: int) -> None:
    secret = os.stat(tree.parent / "secret/s.txt")
    sandbox.set_times(root, "a.txt", Time(-5, 7), Time(10, 999_999_999), follow=False)
    found = sandbox.stat(root, "link-in", follow=True)
    assert (found.st_atime_ns, found.st_mtime_ns) == (-5 * 10**9 + 7, 10_999_999_999)
    sandbox.set_times(root, "link-in", NO_CHANGE, Time(3, 0), follow=True)
    found = sandbox.stat(root, "a.txt", follow=False)
    assert (found.st_atime_ns, found.st_mtime_ns) == (-5 * 10**9 + 7, 3 * 10**9)
    sandbox.set_times(root, "link-in", Time(1, 0), Time(1, 0), follow=False)
    assert sandbox.stat(root, "link-in", follow=False).st_mtime == 1
    assert sandbox.stat(root, "a.txt", follow=False).st_mtime == 3
    sandbox.set_times(root, ".", NO_CHANGE, Time(4, 0), follow=True)
    assert os.fstat(root).st_mtime == 4
    sandbox.set_times(root, "a.txt", NO_CHANGE, NOW, follow=True)
    assert sandbox.stat(root, "a.txt", follow=False).st_mtime > 1_000_000_000
    for path in ("link-up", "link-abs", "../secret/s.txt", "link-out/s.txt"):
        with pytest.raises(Outside):
            sandbox.set_times(root, path, Time(1, 0), Time(1, 0), follow=True)
    assert os.stat(tree.parent / "secret/s.txt").st_mtime_ns == secret.st_mtime_ns


def test_a_link_that_is_not_utf_8(sandbox: Sandbox, tree: Path, root: int) -> None:
    try:
        os.symlink(b"\xff", os.fsencode(tree) + b"/odd")
    except OSError as error:  # the filesystem requires UTF-8 names
        pytest.skip(f"no such link can be made: {error}")
    assert outcome(lambda: sandbox.read_link(root, "odd")) == "illegal-byte-sequence"
    assert outcome(lambda: sandbox.open(root, "odd", os.O_RDONLY, follow=True)) == "no-entry"


def test_as_many_links_as_linux_follows(sandbox: Sandbox, tree: Path, root: int) -> None:
    for number in range(60):
        (tree / f"l{number}").symlink_to("a.txt" if number == 0 else f"l{number - 1}")
    assert outcome(lambda: sandbox.open(root, "l39", os.O_RDONLY, follow=True)) == "ok"
    assert outcome(lambda: sandbox.open(root, "l40", os.O_RDONLY, follow=True)) == "loop"
    assert outcome(lambda: sandbox.stat(root, "l59", follow=True) and None) == "loop"


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def test_no_descriptor_is_left(sandbox: Sandbox, root: int) -> None:
    before = open_descriptors()
    for path in OPENED:
        outcome(lambda path=path: sandbox.open(root, path, os.O_RDONLY, follow=True))
        outcome(lambda path=path: sandbox.stat(root, path, follow=False) and None)
        outcome(lambda path=path: sandbox.read_link(root, path) and None)
        outcome(lambda path=path: sandbox.remove_directory(root, path + "/x"))
        outcome(lambda path=path: sandbox.rename(root, path, root, "nope/" + path))
    assert open_descriptors() == before


def test_a_walk_keeps_a_bounded_number_of_directories_open(tree: Path, root: int) -> None:
    walk = Sandbox(Walk())
    (tree / "self").symlink_to(".")
    assert outcome(lambda: walk.open(root, "self/" * 30, os.O_RDONLY, follow=True)) == "ok"
    at = os.dup(root)
    for _ in range(MAX_DEPTH + 2):
        os.mkdir("d", dir_fd=at)
        further = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = further
    os.close(at)
    assert outcome(lambda: walk.open(root, "d/" * MAX_DEPTH + ".", os.O_RDONLY, follow=True)) == "ok"
    assert outcome(lambda: walk.open(root, "d/" * (MAX_DEPTH + 1) + ".", os.O_RDONLY, follow=True)) == "name-too-long"


@pytest.mark.skipif(not has_openat2(), reason="this system has no openat2")
def test_the_kernel_resolver_reports_other_mounts(root: int) -> None:
    here = Sandbox(Kernel(one_mount=True))
    assert outcome(lambda: here.open(root, "dir/b.txt", os.O_RDONLY, follow=True)) == "ok"
    for path in ("..", "link-up", "link-abs"):
        with pytest.raises(Elsewhere):
            here.open(root, path, os.O_RDONLY, follow=True)
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(Elsewhere):
            here.stat(top, "proc/self/status", follow=True)
        assert Sandbox(Kernel()).stat(top, "proc/self/status", follow=True).st_size == 0
        # A magic link, whose target is outside of /proc.
        with pytest.raises(OSError) as caught:
            Sandbox(Kernel()).open(top, "proc/self/root", os.O_RDONLY, follow=True)
        assert caught.value.errno == errno.ELOOP
    finally:
        os.close(top)


# ---- concurrent changes of the tree

RACES = 3000


class Swapper:
    """A thread that swaps two names in a directory within the block."""

    def __init__(self, folder: Path, one: str, other: str) -> None:
        self._names = [str(folder / name) for name in (one, "swapped-away", other)]
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self.swaps = 0

    def _run(self) -> None:
        one, away, other = self._names
        while not self._stop:
            os.rename(one, away)
            os.rename(other, one)
            os.rename(away, other)
            self.swaps += 1

    def __enter__(self) -> Swapper:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop = True
        self._thread.join()


@pytest.fixture
def raced(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A directory with ``d/x``, and ``evil``, a link to an outside directory with a file of the same name."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder, content in ((inside / "d", "inside"), (outside, "outside")):
        folder.mkdir(parents=True)
        (folder / "x").write_text(content)
        (folder / "empty").mkdir()
    (inside / "evil").symlink_to("../outside")
    (inside / "sub").mkdir()
    root = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    yield root, outside
    os.close(root)


def test_nothing_outside_is_touched_while_a_directory_is_swapped_for_a_link(
    sandbox: Sandbox, raced: tuple[int, Path], tmp_path: Path
) -> None:
    root, outside = raced
    seen: dict[str, int] = {}
    before = os.stat(outside / "x")

    def attempt(act: Callable[[], object]) -> None:
        result = outcome(act)
        seen[result] = seen.get(result, 0) + 1

    with Swapper(tmp_path / "inside", "d", "evil") as swapper:
        for number in range(RACES):
            for path in ("d/x", "sub/../d/x", "d/../d/x"):
                try:
                    fd = sandbox.open(root, path, os.O_RDONLY, follow=True)
                except OSError as error:
                    assert code_of(error) in ("not-permitted", "no-entry"), error
                    continue
                try:
                    assert os.read(fd, 100) == b"inside"
                finally:
                    os.close(fd)
            attempt(lambda: sandbox.open(root, "d/x", os.O_WRONLY, follow=True))
            attempt(lambda n=number: sandbox.open(root, f"d/new{n}", os.O_WRONLY | os.O_CREAT, follow=True))
            attempt(lambda n=number: sandbox.make_directory(root, f"d/m{n}"))
            attempt(lambda n=number: sandbox.symlink("y", root, f"d/s{n}"))
            attempt(lambda n=number: sandbox.rename(root, f"d/new{n}", root, f"d/r{n}"))
            attempt(lambda n=number: sandbox.link(root, "d/x", root, f"d/h{n}"))
            attempt(lambda: sandbox.set_times(root, "d/x", NOW, Time(1, 0), follow=True))
            attempt(lambda: sandbox.unlink(root, "evil/x"))
            attempt(lambda: sandbox.remove_directory(root, "d/empty"))
            with suppress(OSError):
                assert sandbox.stat(root, "d/x", follow=True).st_ino != before.st_ino
    assert swapper.swaps > 10
    assert seen["ok"] > 0, seen
    assert seen.get("not-permitted", 0) + seen.get("no-entry", 0) > 0, seen
    assert sorted(os.listdir(outside)) == ["empty", "x"]
    after = os.stat(outside / "x")
    assert (after.st_mtime_ns, after.st_nlink) == (before.st_mtime_ns, before.st_nlink)
    assert (outside / "x").read_text() == "outside"


def test_the_last_name_may_be_swapped_as_well(sandbox: Sandbox, raced: tuple[int, Path], tmp_path: Path) -> None:
    root, outside = raced
    inside = tmp_path / "inside"
    (inside / "file").write_text("inside")
    (inside / "out").symlink_to("../outside/x")
    with Swapper(inside, "file", "out"):
        for _ in range(RACES):
            for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT):
                with suppress(FileNotFoundError, Outside):
                    fd = sandbox.open(root, "file", flags, follow=True)
                    try:
                        assert os.read(fd, 100) in (b"inside", b"")
                    finally:
                        os.close(fd)
            with suppress(FileNotFoundError, Outside):
                sandbox.set_times(root, "file", Time(1, 0), Time(1, 0), follow=True)
    assert (outside / "x").read_text() == "outside"
    assert os.stat(outside / "x").st_mtime != 1


def test_moving_a_directory_out_during_a_walk_upwards(
    sandbox: Sandbox, raced: tuple[int, Path], tmp_path: Path
) -> None:
    """``..`` of a directory that has moved would be outside."""
    root, _ = raced
    inside, away = tmp_path / "inside", tmp_path / "away"
    away.mkdir()
    (inside / "a/b/c").mkdir(parents=True)
    (inside / "mark").write_text("inside")
    (tmp_path / "mark").write_text("outside")
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            os.rename(inside / "a/b", away / "b")
            os.rename(away / "b", inside / "a/b")

    thread = threading.Thread(target=move)
    thread.start()
    opened = 0
    try:
        for _ in range(RACES):
            try:
                fd = sandbox.open(root, "a/b/c/../../../mark", os.O_RDONLY, follow=True)
            except OSError as error:
                assert code_of(error) in ("not-permitted", "no-entry"), error
                continue
            opened += 1
            try:
                assert os.read(fd, 100) == b"inside"
            finally:
                os.close(fd)
    finally:
        stop.set()
        thread.join()
    assert opened
