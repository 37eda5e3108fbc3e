"""Tests of the guests: hand-written guests are well formed, and the build reuses its output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import wasmtime.component

from tests.guests import build, wat


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    return wasmtime.Engine()


@pytest.mark.parametrize("name", wat.names())
def test_a_hand_written_guest_is_a_valid_component(name: str, engine: wasmtime.Engine) -> None:
    wasmtime.component.Component(engine, wat.load(name))


@pytest.mark.parametrize("name", [name for name in wat.names() if "wild_" in name or "broken_" in name])
def test_every_case_of_a_family_is_in_its_table_once(name: str) -> None:
    cases = wat.cases(name)
    assert cases[0] == "fine"
    assert len(set(cases)) == len(cases) > 5
    own = (wat.FOLDER / f"{name}.wat").read_text()
    defined = re.findall(r"\(func \$(\S+) \(param \$request i32\) \(param \$(?:out|record) i32\)", own)
    assert sorted(defined) == sorted(cases)


def test_a_guest_without_cases_has_none() -> None:
    assert wat.cases("hello") == []


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate cache with python_p2, a guest that cannot be built, and a guest that counts its builds."""
    folder = tmp_path / "sources"
    for name in ("broken", "counted"):
        (folder / name).mkdir(parents=True)
        (folder / name / "guest.wit").write_text("package tests:broken;\nworld guest { import nothing-there; }\n")
    monkeypatch.setattr(build, "HERE", folder)
    monkeypatch.setattr(build, "GUESTS", {"broken": "p2", "counted": "p2"})
    monkeypatch.setenv("WASI_TRIO_GUESTS", str(tmp_path / "cache"))
    return folder


def test_a_failed_build_says_what_the_tool_said(guests: Path) -> None:
    with pytest.raises(build.BuildFailed, match="nothing-there"):
        build.build("broken")
    assert not list(build.cache_folder().glob("*.wasm"))


def test_a_failed_build_is_one_on_the_command_line_too(guests: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["broken"]) == 1
    assert "nothing-there" in capsys.readouterr().err


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["python_p2", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err


#: Replaces componentize-py and counts its runs: appends a line to the file named first, and writes the output.
COUNTING_TOOL = (
    "import sys; open(sys.argv[1], 'a').write('x'); open(sys.argv[sys.argv.index('-o') + 1], 'w').write('built')"
)


def test_a_guest_is_built_once_for_each_content(guests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setattr(build, "TOOL", [sys.executable, "-c", COUNTING_TOOL, str(runs)])
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(build.build("counted"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4
    (path,) = set(paths)
    assert path.read_text() == "built"
    assert runs.read_text() == "x"

    (guests / "counted" / "app.py").write_text("changed = True\n")
    assert build.build("counted") != path
    assert runs.read_text() == "xx"


@pytest.mark.parametrize("name", build.GUESTS)
def test_the_command_line_prints_where_a_guest_is(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.guests.build", name],
        cwd=build.ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(result.stdout.strip()).read_bytes()[:4] == b"\0asm"
