"""Files in tests of components."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.guests.build import build
from wasi_trio import Preopen, Trap, WasiOptions
from wasi_trio.testing import run, scratch_directory


async def test_a_python_program_with_files(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    result = await run(build("python_files_p2"), ["use", "/data"], preopens={"/data": tmp_path})
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "['x']",
        r"['first\n', 'first\n', 'first\n', 'last\n']",
        r"b'\x00\x00\x00\x00\x00\x00\x00end' 200000",
        "[('/data/a', ['b'], ['two.txt']), ('/data/a/b', [], ['binary'])]",
        "/nope FileNotFoundError",
        "/a/nope/x FileNotFoundError",
        "/../outside PermissionError",
        "/a IsADirectoryError",
        "['two.txt'] 23",
    ]
    assert (tmp_path / "a/two.txt").read_text() == "first\nfirst\nfirst\nlast\n"


async def test_a_python_program_that_uses_files_by_wasi_0_3(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    result = await run(build("python_files_p3"), preopens={"/d": tmp_path})
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "/d ['x']",
        "b'firstfirstlast' 200004",
        "b'fir'",
        "26 one.txt",
        "{3}",
        "nope ErrorCode_NoEntry",
        "../outside ErrorCode_NotPermitted",
        "/etc ErrorCode_NotPermitted",
        "a/link3 ErrorCode_NoEntry",
    ]
    assert (tmp_path / "two.txt").read_bytes() == b"fir"


async def test_a_scratch_directory() -> None:
    with scratch_directory({"x": b"", "deep/er/file": "text"}) as folder:
        assert (folder / "deep/er/file").read_text() == "text"
        result = await run(build("python_files_p2"), ["use", "data"], preopens={"data": folder})
        assert result.stdout.splitlines()[0] == "['deep', 'x']"
        assert sorted(os.listdir(folder)) == ["a", "deep", "x"]
    assert not folder.exists()


async def test_one_that_is_read_only(tmp_path: Path) -> None:
    preopen = Preopen(tmp_path, read_only=True)
    with pytest.raises(Trap) as caught:  # a Python guest traps at an exception
        await run(build("python_files_p2"), ["use", "/data"], preopens={"/data": preopen})
    assert "PermissionError" in "".join(caught.value.__notes__)
    assert os.listdir(tmp_path) == []


async def test_those_of_the_options_are_kept(tmp_path: Path) -> None:
    wasi = WasiOptions(preopens=[Preopen(tmp_path, "/data")])
    result = await run(build("python_files_p2"), ["use", "/data"], wasi=wasi)
    assert result.exit_code == 0


async def test_a_directory_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run(build("python_files_p2"), ["use", "/data"], preopens={"/data": tmp_path / "nope"})
