"""Tests of the runner for the specification's tests, with our own scripts: some must hold and some must fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from tests.spec.__main__ import main
from tests.spec.runner import run_file
from tests.spec.sexpr import Form, ScriptError, String, Word, read
from wasi_trio.runtime._engine import FEATURES, Engine

SELF = Path(__file__).parent / "self"
_EXPECTED = re.compile(r";; fails at line (\d+): ([a-z_]+): (.+)")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(cache=False, features=FEATURES) as engine:
        yield engine


@pytest.mark.parametrize("path", sorted(SELF.glob("pass/*.wast")), ids=lambda path: path.stem)
async def test_scripts_that_hold(engine: Engine, path: Path) -> None:
    result = await run_file(engine, path, seconds=60)
    assert result.failures == ()
    assert result.directives > 5


@pytest.mark.parametrize("path", sorted(SELF.glob("fail/*.wast")), ids=lambda path: path.stem)
async def test_scripts_that_fail(engine: Engine, path: Path) -> None:
    """The first line of each script states the expected position and message of the failure."""
    expected = _EXPECTED.match(await trio.Path(path).read_text())
    assert expected is not None
    result = await run_file(engine, path, seconds=0.5 if path.stem == "endless" else 60)
    first = result.failures[0]
    assert (first.line, first.keyword) == (int(expected[1]), expected[2])
    assert first.reason.startswith(expected[3])
    assert len(result.failures) == (2 if path.stem in ("wrong_result", "stale_instance") else 1)


def test_report() -> None:
    everything = CliRunner().invoke(main, [str(SELF / "pass"), str(SELF / "fail" / "wrong_result.wast")])
    lines = everything.output.splitlines()
    assert everything.exit_code == 1
    assert "ok    core_modules.wast (11 directives)" in lines
    assert lines[-2] == "FAIL  wrong_result.wast:11: assert_return: expected 2, got 1 (and 1 more)"
    assert lines[-1] == "9 passed, 1 failed"


def test_verbose_report() -> None:
    result = CliRunner().invoke(main, ["--verbose", str(SELF / "fail" / "wrong_result.wast")])
    assert result.output.splitlines()[1:] == [
        "      wrong_result.wast:12: assert_return: expected 3, got 1",
        "0 passed, 1 failed",
    ]


def test_all_passed() -> None:
    result = CliRunner().invoke(main, [str(SELF / "pass")])
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "9 passed, 0 failed")


def test_reading() -> None:
    source = '(a $b ;; comment )\n  "x\\00\\u{e9}\\n" (; (; ( ;) " ;)\n (c))\nd'
    form, word = read(source)
    assert word == Word("d", 4, len(source) - 1, len(source))
    assert isinstance(form, Form)
    assert source[form.start : form.end].endswith("(c))")
    assert (form.head, form.line) == ("a", 1)
    name, string, inner = form.items[1:]
    assert isinstance(name, Word)
    assert name.text == "$b"
    assert isinstance(string, String)
    assert (string.value, string.line) == (b"x\0\xc3\xa9\n", 2)
    assert isinstance(inner, Form)
    assert (inner.line, source[inner.start : inner.end]) == (3, "(c)")


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("\n)", 2, "closed that was not opened"),
        ("(a\n(b)", 1, "never closed"),
        ("\n(; (; ;)", 2, "comment is never closed"),
        ('"a\n"', 1, "unexpected character"),
        ('"\\q"', 1, "unknown escape"),
    ],
)
def test_unreadable(source: str, line: int, message: str) -> None:
    with pytest.raises(ScriptError, match=message) as caught:
        read(source)
    assert caught.value.line == line
