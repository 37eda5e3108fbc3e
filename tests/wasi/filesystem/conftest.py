from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wasi_trio.runtime._engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture(params=["p2", "p3"])
def version(request: pytest.FixtureRequest) -> str:
    """The WASI version of the guest."""
    return request.param


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tree of the reference's table: ``rw``, which this fixture returns, and ``ro`` beside it."""
    rw, ro = tmp_path / "rw", tmp_path / "ro"
    (rw / "dir").mkdir(parents=True)
    (rw / "dir2").mkdir()
    ro.mkdir()
    (rw / "a.txt").write_text("hello\n")
    (rw / "dir/b.txt").write_text("b\n")
    (ro / "r.txt").write_text("r\n")
    for name, target in {
        "link-abs": "/etc/hostname",
        "link-up": "../ro/r.txt",
        "link-in": "a.txt",
        "link-dir": "dir",
        "loop": "loop",
        "dangling": "nothere",
    }.items():
        (rw / name).symlink_to(target)
    return rw
