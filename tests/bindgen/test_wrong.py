"""Type checkers find wrong host functions and wrong calls of exports before anything runs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bindgen.support import HERE
from tests.docs.blocks import ROOT
from wasi_trio.bindgen import generate

FITS = """
from __future__ import annotations

import trio
from desk import Client, imports
from desk.imported.acme_desk_desk import Figure, Figure_Circle, Figure_Labels, Point, Sign, make_stream_u8
from wasi_trio import Err, Imports, Instance, Ok
from wasi_trio.bindings import FutureReader, StreamReader


class Desk:
    def __init__(self, context: object) -> None: ...

    def mirror(self, p: Point, s: Sign) -> Point:
        return Point(-p.x, -p.y)

    def pick(self, f: Figure, points: list[Point]) -> Figure | None:
        match f:
            case Figure_Circle(radius):
                return Figure_Circle(radius + 1)
            case Figure_Labels(labels):
                return Figure_Labels([label.upper() for label in labels])
            case _:
                return f if points else None

    async def later(self, ms: int) -> int:
        await trio.sleep(ms / 1000)
        return ms

    async def points(self, given: StreamReader[list[Point]], end: FutureReader[Figure]) -> StreamReader[bytes]:
        writer, reader = make_stream_u8()
        writer.close()
        return reader

    class Drawing:
        def __init__(self, title: str) -> None:
            self.title = title

        async def put(self, at: Point, what: Figure) -> Ok[int]:
            if at.x < 0:
                raise Err(Sign.NEGATIVE)
            return Ok(at.x)

        @staticmethod
        def merge(into: Desk.Drawing, other: Desk.Drawing) -> Desk.Drawing:
            into.title += other.title
            return into


def both() -> list[Imports]:
    return [imports(desk=Desk), imports(desk=Desk(None))]


async def use(instance: Instance) -> int:
    return await Client(instance).double(3)
"""

WRONG = {
    "a parameter": ("later(self, ms: int)", "later(self, ms: str)", "def later(self: Desk, ms: str)"),
    "a result": ("-> int:\n        await", "-> str:\n        await", "def later(self: Desk, ms: int) -> Coroutine"),
    "a missing function": ("    def mirror", "    def mirrored", '"Desk" is missing following "Desk" protocol member'),
    "a parameter too many": ("s: Sign) -> Point", "s: Sign, t: int) -> Point", "s: Sign, t: int) -> Point"),
    "a resource's method": ("def put(self, at: Point", "def put(self, at: int", "Drawing: expected"),
    "a resource's constructor": ("title: str) -> None", "title: int) -> None", "Drawing: expected"),
    "a case": ("Figure_Circle(radius + 1)", 'Figure_Circle("one")', 'has incompatible type "str"; expected "int"'),
    "an argument of an export": ("double(3)", 'double("3")', 'has incompatible type "str"; expected "int"'),
    "a result of an export": ("-> int:\n    return", "-> str:\n    return", '(got "int", expected "str")'),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("users")
    text = (HERE / "desk.wit").read_text()
    (folder / "desk.wit").write_text(
        text.replace("import desk;", "import desk;\n    export double: func(n: u32) -> u32;")
    )
    generate(folder / "desk.wit", folder / "desk")
    return folder


def check(folder: Path, program: str, *command: str) -> subprocess.CompletedProcess[str]:
    # A unique name, because a type checker could confuse programs of the same name and length.
    path = folder / f"program_{len(list(folder.glob('program_*.py')))}.py"
    path.write_text(program)
    return subprocess.run(
        [sys.executable, "-m", *command, path.name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
    )


def test_correct_programs(folder: Path) -> None:
    done = check(folder, FITS, "mypy", "--strict")
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_correct_programs_pass_pyright(folder: Path) -> None:
    done = check(folder, FITS, "pyright", "--pythonpath", sys.executable)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("what", WRONG)
def test_wrong_programs(folder: Path, what: str) -> None:
    right, wrong, said = WRONG[what]
    assert right in FITS
    done = check(folder, FITS.replace(right, wrong), "mypy", "--strict")
    assert done.returncode == 1
    assert said in done.stdout


def test_the_example_of_plugins(tmp_path: Path) -> None:
    example = ROOT / "examples" / "plugins"
    generate(example / "wit", tmp_path / "bindings")
    server = (example / "server.py").read_text()
    assert check(tmp_path, server, "mypy", "--strict").returncode == 0
    done = check(tmp_path, server.replace("def get(self, key: str)", "def get(self, key: int)"), "mypy", "--strict")
    assert 'Argument "store" to "imports" has incompatible type' in done.stdout
