"""docs/testing.md: its Python is a test suite, which a separate pytest runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bindgen.support import HERE, assembled
from tests.docs.blocks import ROOT, Block, fenced
from tests.guests import wat
from tests.guests.build import build
from wasi_trio.bindgen import generate

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "testing.md"

#: the guests by the page's file names; app.wasm is python_p3
GUESTS = {
    "counter.wasm": "counter",
    "worker.wasm": "host_call",
    "state.wasm": "state",
    "outer.wasm": "p3_middleware",
    "inner.wasm": "hello",
    "command.wasm": "command",
    "echo.wasm": "p3_tcp",
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with the page's components and configuration."""
    (pytester.path / "app.wasm").symlink_to(build("python_p3"))
    (pytester.path / "client.wasm").symlink_to(build("python_command"))
    (pytester.path / "files.wasm").symlink_to(build("python_files_p2"))
    for name, guest in GUESTS.items():
        (pytester.path / name).write_bytes(wat.load(guest))
    (pytester.path / "math.wasm").write_bytes(assembled("math.wat"))
    generate(HERE / "math.wit", pytester.path / "app_bindings")
    (configuration,) = [block.text for block in fenced(PAGE) if block.language == "ini"]
    (pytester.path / "pytest.ini").write_text(configuration)
    (tape,) = [block.text for block in fenced(PAGE) if block.language == "json"]
    (pytester.path / "tapes").mkdir()
    (pytester.path / "tapes" / "rates.json").write_text(tape)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def write(path: Path, blocks: Sequence[Block]) -> None:
    """Write a module of these blocks, each at its line in the page."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.text.splitlines()
    path.write_text("\n".join(lines) + "\n")


def test_every_block_is_of_a_known_kind() -> None:
    assert {block.language for block in fenced(PAGE)} == {"ini", "json", "python", "text"}


def test_the_page_s_tests(project: pytest.Pytester) -> None:
    blocks = [block for block in fenced(PAGE) if block.language == "python"]
    write(project.path / "test_page.py", blocks)
    result = project.runpytest_subprocess("-p", "wasi_trio.testing.plugin", "--wasi-trio-slow=100")
    tests = sum(line.startswith("async def test_") for block in blocks for line in block.text.splitlines())
    result.assert_outcomes(passed=tests - 1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["FAILED test_page.py::test_that_fails*"])
    failure, leak, slow = [block.text for block in fenced(PAGE) if block.language == "text"]
    result.stdout.fnmatch_lines([f"*{line}*" for line in failure.splitlines()])
    for shown in (leak, slow):
        # Numbers and temporary folders differ.
        lines = [re.sub(r"/tmp/pytest-1|\s*\d[\d.]*\s*", "*", line) for line in shown.splitlines()]
        result.stdout.fnmatch_lines(lines)
