"""A guest opens, writes and removes files while a thread swaps a directory for a link out of the preopen."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import pytest
from guest import FOLLOW, NOFOLLOW, guest

from wasi_trio.component._values import Variant
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi.filesystem import _opened as opened
from wasi_trio.wasi.filesystem._libc import has_openat2
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.filesystem._sandbox import Sandbox, Walk

ROUNDS = 1500
NOW = Variant("now")


@pytest.fixture(params=["as this system does it", "by the walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by the walk":
        if not has_openat2():
            pytest.skip("this system has no other way")
        walk = Sandbox(Walk())
        monkeypatch.setattr(opened, "sandboxes", lambda: (walk, walk))


async def test_nothing_outside_is_touched(engine: Engine, version: str, way: None, tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder, content in ((inside / "d", "inside"), (outside, "outside")):
        folder.mkdir(parents=True)
        (folder / "x").write_text(content)
    (inside / "evil").symlink_to("../outside")
    before = os.stat(outside / "x")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(inside / "d", inside / "away")
            os.rename(inside / "evil", inside / "d")
            os.rename(inside / "d", inside / "evil")
            os.rename(inside / "away", inside / "d")

    seen: Counter[str] = Counter()
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        async with guest(engine, version, Preopen(inside, "/")) as fs:
            root = await fs.root()
            for number in range(ROUNDS):
                file = await fs.open(root, "d/x")
                if isinstance(file, int):
                    assert await fs.read(file) == (b"inside", "ok")
                    await fs.drop(file)
                    file = "ok"
                made = await fs.open(root, f"d/n{number}", ("create", "exclusive"), ("write",))
                if isinstance(made, int):
                    assert await fs.write(made, b"made") == "ok"
                    await fs.drop(made)
                    made = "ok"
                seen.update(
                    [
                        file,
                        made,
                        await fs.at("create-directory-at", root, f"d/m{number}"),
                        await fs.at("symlink-at", root, "x", f"d/s{number}"),
                        await fs.at("rename-at", root, f"d/n{number}", root, f"d/r{number}"),
                        await fs.at("link-at", root, NOFOLLOW, "d/x", root, f"d/l{number}"),
                        await fs.at("set-times-at", root, FOLLOW, "d/x", NOW, NOW),
                        await fs.at("unlink-file-at", root, "evil/x"),
                        await fs.at("remove-directory-at", root, "evil/."),
                    ]
                )
    finally:
        stop.set()
        thread.join()
    assert set(seen) <= {"ok", "E:not-permitted", "E:no-entry", "E:invalid", "E:not-directory"}, seen
    assert seen["ok"] > 50
    assert seen["E:not-permitted"] > 50
    assert os.listdir(outside) == ["x"]
    after = os.stat(outside / "x")
    assert (after.st_mtime_ns, after.st_nlink, after.st_size) == (before.st_mtime_ns, before.st_nlink, before.st_size)
