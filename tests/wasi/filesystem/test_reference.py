"""The results of the reference, call by call in its order and on its tree, for guests of WASI 0.2 and 0.3.

A row has two results if the functions of 0.2 and 0.3 differ. docs/comparison.md lists our differences from the
reference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from guest import FOLLOW, NOFOLLOW, Guest, case_of, guest

from wasi_trio.component._values import Variant
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi.filesystem._preopens import Preopen

A_DESCRIPTOR = "a descriptor"

OPENED = [
    ("/abs", "E:not-permitted"),
    ("..", "E:not-permitted"),
    ("a/../..", "E:no-entry"),
    ("", "E:no-entry"),
    (".", A_DESCRIPTOR),
    ("./", A_DESCRIPTOR),
    ("a.txt", A_DESCRIPTOR),
    ("a.txt/", "E:not-directory"),
    ("a.txt/x", "E:not-directory"),
    ("dir", A_DESCRIPTOR),
    ("dir/", A_DESCRIPTOR),
    ("dir//b.txt", A_DESCRIPTOR),
    ("dir/./b.txt", A_DESCRIPTOR),
    ("dir/../a.txt", A_DESCRIPTOR),
    ("nope", "E:no-entry"),
    ("nope/x", "E:no-entry"),
    ("link-abs", "E:not-permitted"),
    ("link-up", "E:not-permitted"),
    ("link-in", A_DESCRIPTOR),
    ("link-dir/b.txt", A_DESCRIPTOR),
    ("loop", "E:loop"),
    ("a\\b", "E:no-entry"),
    ("a.txt\x00x", "E:invalid"),
]


async def opened(fs: Guest, directory: int, path: str, *arguments: object, **more: object) -> str:
    """Open a path, drop the descriptor, and return the outcome."""
    found = await fs.open(directory, path, *arguments, **more)  # type: ignore[arg-type]
    if isinstance(found, str):
        return found
    await fs.drop(found)
    return A_DESCRIPTOR


async def test_the_reference_s_answers(engine: Engine, version: str, tree: Path) -> None:
    async with guest(engine, version, Preopen(tree, "rw"), Preopen(tree.parent / "ro", "ro", read_only=True)) as fs:
        preopens = await fs.preopens()
        assert [name for _, name in preopens] == ["rw", "ro"]
        rw, ro = (handle for handle, _ in preopens)

        for path, expected in OPENED:
            assert await opened(fs, rw, path) == expected, path
        for path in ("link-abs", "link-in", "loop"):
            assert await opened(fs, rw, path, follow=NOFOLLOW) == "E:loop"
        assert await opened(fs, rw, "link-dir/b.txt", follow=NOFOLLOW) == A_DESCRIPTOR
        assert await opened(fs, rw, "dir", (), ("write",)) == "E:is-directory"
        assert await opened(fs, rw, "a.txt", ("directory",)) == "E:not-directory"
        assert await opened(fs, rw, "a.txt", ("create", "exclusive"), ("write",)) == "E:exist"
        assert await opened(fs, rw, "dir/new", ("create",), ("write",)) == A_DESCRIPTOR
        assert await opened(fs, rw, "created", ("create",), ("read",)) == A_DESCRIPTOR
        assert await opened(fs, rw, "new", ("create", "directory")) == "E:invalid"
        assert await opened(fs, rw, "dir/new", ("truncate",)) == A_DESCRIPTOR
        assert await opened(fs, rw, "a.txt", (), ()) == A_DESCRIPTOR
        assert await opened(fs, rw, "a.txt", (), ("read", "mutate-directory")) == A_DESCRIPTOR
        # The reference does not support these flags.
        for flag in ("file-integrity-sync", "data-integrity-sync", "requested-write-sync"):
            assert await opened(fs, rw, "a.txt", (), ("read", "write", flag)) == A_DESCRIPTOR
        assert await opened(fs, rw, "dangling", ("create",), ("write",)) == A_DESCRIPTOR
        assert (tree / "nothere").exists()

        f = await fs.open(rw, "a.txt")
        assert await fs.read(f) == (b"hello\n", "ok")
        assert await fs.read(f, 100) == (b"", "ok")
        assert await fs.read(f, 1 << 63) == (b"", "E:invalid")
        assert await fs.at("stat-at", rw, FOLLOW, "") == "E:no-entry"
        assert await fs.at("get-flags", f) == frozenset({"read"})
        assert await fs.at("get-flags", rw) == frozenset({"read", "mutate-directory"})
        assert await fs.at("get-flags", ro) == frozenset({"read"})
        assert case_of(await fs.at("get-type", f)) == "regular-file"
        assert await fs.at("set-size", f, 3) == "E:invalid"
        assert await fs.at("set-times", f, Variant("no-change"), Variant("now")) == "ok"
        assert await fs.at("advise", rw, 0, 0, "normal") == "E:bad-descriptor"
        assert await fs.at("advise", f, (1 << 64) - 1, 5, "will-need") == "ok"
        assert await fs.at("sync", rw) == "ok"
        assert await fs.at("sync-data", f) == "ok"

        assert await fs.at("readlink-at", rw, "a.txt") == "E:invalid"
        assert await fs.at("readlink-at", rw, "link-abs") == "E:not-permitted"
        assert await fs.at("readlink-at", rw, "link-in") == "a.txt"
        assert await fs.at("symlink-at", rw, "/etc", "new-abs") == "E:not-permitted"
        assert await fs.at("symlink-at", rw, "..", "new-up") == "ok"
        assert await fs.at("symlink-at", rw, "", "new-empty") == "E:no-entry"
        assert await fs.at("symlink-at", rw, "x", "a.txt") == "E:exist"
        assert await fs.at("symlink-at", rw, "x", "trailing/") == "E:no-entry"

        make, remove, unlink = "create-directory-at", "remove-directory-at", "unlink-file-at"
        assert await fs.at(make, rw, "dir") == "E:exist"
        assert await fs.at(make, rw, "dir/sub/") == "ok"
        assert await fs.at(make, rw, ".") == "E:exist"
        assert await fs.at(make, rw, "..") == "E:not-permitted"
        assert await fs.at(make, rw, "") == "E:no-entry"
        assert await fs.at(remove, rw, "dir") == "E:not-empty"
        assert await fs.at(remove, rw, "a.txt") == "E:not-directory"
        assert await fs.at(remove, rw, ".") == "E:invalid"
        assert await fs.at(remove, rw, "..") == "E:not-permitted"
        assert await fs.at(remove, rw, "dir/sub/") == "E:invalid"
        assert await fs.at(remove, rw, "link-dir") == "E:not-directory"
        assert await fs.at(unlink, rw, "dir") == "E:is-directory"
        assert await fs.at(unlink, rw, "a.txt/") == "E:not-directory"
        assert await fs.at(unlink, rw, ".") == "E:is-directory"
        assert await fs.at(unlink, rw, "link-dir") == "ok"

        async def rename(old: str, new: str) -> str:
            return await fs.at("rename-at", rw, old, rw, new)

        assert await rename("dir2", "dir") == "E:not-empty"
        assert await rename("dir2", "a.txt") == "E:not-directory"
        assert await rename("a.txt", "dir2") == "E:is-directory"
        assert await rename("a.txt", "a.txt") == "ok"
        assert await rename(".", "x") == "E:busy"
        assert await rename("nope", "x") == "E:no-entry"
        assert await rename("dir", "dir/sub/x") == "E:invalid"

        async def link(old: str, new: str, flags: frozenset[str] = NOFOLLOW) -> str:
            return await fs.at("link-at", rw, flags, old, rw, new)

        assert await link("a.txt", "hard") == "ok"
        assert await link("dir", "hard-dir") == "E:not-permitted"
        assert await link("link-in", "hard-link") == "ok"
        assert await link("link-in", "hard-follow", FOLLOW) == "E:invalid"
        assert await link("a.txt", "hard") == "E:exist"
        hard = await fs.open(rw, "hard", (), ("read", "write"))
        assert isinstance(hard, int)
        assert await fs.at("is-same-object", f, hard) is True
        before = await fs.at("metadata-hash", f)
        assert await fs.at("metadata-hash", hard) == before
        assert await fs.write(hard, b"past", 20) == "ok"
        assert await fs.at("metadata-hash", hard) == before
        assert await fs.write(hard, b"end", None) == "ok"
        assert await fs.at("set-size", hard, 30) == "ok"
        assert await fs.at("metadata-hash", hard) == before
        assert await fs.at("set-size", hard, (1 << 64) - 1) == "E:invalid"
        assert (tree / "a.txt").read_bytes() == b"hello\n".ljust(20, b"\0") + b"pastend" + b"\0\0\0"
        assert await fs.entries(f) == ([], "E:not-directory")
        assert await fs.read(rw) == (b"", "E:is-directory")

        second = await fs.open(rw, "dir", ("directory",))
        assert await fs.at("link-at", rw, NOFOLLOW, "a.txt", second, "crossed") == "ok"
        assert case_of((await fs.at("stat", rw)).type) == "directory"
        assert (await fs.at("stat", rw)).link_count == os.stat(tree).st_nlink
        found, how = await fs.entries(rw)
        assert how == "ok"
        assert [name for name, _ in found] == os.listdir(tree)
        kinds = dict(found)
        assert (kinds["link-abs"], kinds["dir"], kinds["a.txt"]) == ("symbolic-link", "directory", "regular-file")


async def test_links_from_one_preopen_into_another(engine: Engine, version: str, tree: Path) -> None:
    async with guest(engine, version, Preopen(tree, "rw"), Preopen(tree.parent / "ro", "ro")) as fs:
        (rw, _), (other, _) = await fs.preopens()
        assert await fs.at("link-at", rw, NOFOLLOW, "a.txt", other, "linked") == "ok"
        assert (tree.parent / "ro/linked").samefile(tree / "a.txt")


@pytest.mark.parametrize("path", ["r.txt", "new"])
async def test_read_only_directories_do_not_change(engine: Engine, version: str, tree: Path, path: str) -> None:
    folder = tree.parent / "ro"
    (folder / "dir").mkdir()
    async with guest(engine, version, Preopen(tree, "rw"), Preopen(folder, "ro", read_only=True)) as fs:
        (rw, _), (ro, _) = await fs.preopens()
        no = "E:not-permitted"
        now = Variant("now")
        assert await fs.open(ro, path, ("create",)) == no
        assert await fs.open(ro, path, ("truncate",)) == no
        assert await fs.open(ro, path, (), ("write",)) == no
        assert await fs.open(ro, path, (), ("read", "write")) == no
        assert await fs.open(ro, "dir", (), ("read", "mutate-directory")) == no
        assert await fs.at("create-directory-at", ro, path) == no
        assert await fs.at("remove-directory-at", ro, path) == no
        assert await fs.at("unlink-file-at", ro, path) == no
        assert await fs.at("symlink-at", ro, "x", path) == no
        assert await fs.at("rename-at", ro, path, ro, "y") == no
        assert await fs.at("rename-at", ro, path, rw, "y") == no
        assert await fs.at("rename-at", rw, "a.txt", ro, path) == no
        assert await fs.at("link-at", ro, NOFOLLOW, path, rw, "y") == no
        assert await fs.at("link-at", rw, NOFOLLOW, "a.txt", ro, path) == no
        assert await fs.at("set-times-at", ro, FOLLOW, path, now, now) == no
        assert await fs.at("set-times", ro, now, now) == no
        # A descriptor opened beneath it is also read-only.
        inner = await fs.open(ro, "dir")
        assert await fs.at("create-directory-at", inner, "x") == no
        assert await fs.open(inner, "x", ("create",), ("write",)) == no
        file = await fs.open(ro, "r.txt")
        assert await fs.read(file) == (b"r\n", "ok")
        assert await fs.write(file, b"x") == no
        assert await fs.write(file, b"x", None) == no
        assert await fs.at("set-size", file, 0) == no
        assert await fs.at("set-times", file, now, now) == no
        if version == "p2":
            assert await fs.at("write", file, b"x", 0) == no
        assert await fs.at("sync", file) == "ok"
    assert sorted(entry.name for entry in folder.iterdir()) == ["dir", "r.txt"]
    assert (folder / "r.txt").read_text() == "r\n"
