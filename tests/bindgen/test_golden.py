"""The output of bindgen equals golden/: ``python -m tests.bindgen.test_golden`` regenerates it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.bindgen.support import HERE, assembled, files
from wasi_trio.bindgen import generate

GOLDEN = HERE / "golden"
WORLDS = {
    "everything": ("everything.wit", "everything"),
    "two_versions": ("everything.wit", "two-versions"),
    "calculator": ("math.wit", None),
    "component": ("math.wasm", None),
}


def write(name: str, folder: Path) -> None:
    source, world = WORLDS[name]
    path = HERE / source
    if not path.exists():
        path = folder.parent / source
        path.write_bytes(assembled(source.replace(".wasm", ".wat")))
    generate(path, folder, world)


@pytest.mark.parametrize("name", WORLDS)
def test_golden(name: str, tmp_path: Path) -> None:
    write(name, tmp_path / name)
    assert dict(files(tmp_path / name)) == dict(files(GOLDEN / name))


def test_again(tmp_path: Path) -> None:
    """The same input leaves every file as it is; another one leaves none of the old files behind."""
    folder = tmp_path / "made"
    write("everything", folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.py")}
    write("everything", folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.py")} == before
    (folder / "mine.py").write_text("# the user's own\n")
    write("calculator", folder)
    assert dict(files(folder)) == {**dict(files(GOLDEN / "calculator")), "mine.py": "# the user's own\n"}


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir()
    for each in WORLDS:
        write(each, GOLDEN / each)
    for scratch in GOLDEN.glob("*.wasm"):
        scratch.unlink()
