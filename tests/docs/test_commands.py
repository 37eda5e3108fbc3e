"""The commands in README.md and docs/: a test runs each, except those for other checks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from tests.docs.blocks import PAGES, ROOT, fenced, indented, own_test
from tests.guests import wat
from wasi_trio.cli import cli

#: guests by the file names in the pages' commands
FILES = {"app.wasm": "hello", "outer.wasm": "p3_middleware", "inner.wasm": "p3_hello", "command.wasm": "command"}

#: commands that set up and check a clone, which .ci/run and nox run
NOT_HERE = re.compile(
    r"python3 -m venv|\S*/pip install|(?:HATCH_BUILD_HOOKS_ENABLE=1 )?pip |nox|"
    r"\S*python -m (?:pytest|tests\.|benchmarks)"
)


def is_command(line: str) -> bool:
    return re.match(r"(?:[A-Z_]+=\S+ )*(?:\S*python3?|hypercorn|nox|\S*/pip|pip) ", line) is not None


def commands() -> Iterator[str]:
    """Yield all shell commands of the pages."""
    for page in PAGES:
        for block in indented(page):
            yield from filter(is_command, block.text.splitlines())
        for block in fenced(page):
            if block.language == "sh" and not own_test(page).exists():
                yield from block.text.replace("\\\n", "").splitlines()


COMMANDS = list(dict.fromkeys(commands()))
SYNOPSES = [line for line in COMMANDS if " -m wasi_trio " in line and ("[" in line or line.endswith("..."))]
SERVERS = [line for line in COMMANDS if re.search(r" -m wasi_trio serve|\bhypercorn ", line) and line not in SYNOPSES]
ENDING = re.compile(r" -m wasi_trio (?:run|inspect|compile|bindgen|wit|completion|--help|--version)\b")
RUNS = [line for line in COMMANDS if ENDING.search(line) and line not in SYNOPSES]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, guest in FILES.items():
        (tmp_path / name).write_bytes(wat.load(guest))
    (tmp_path / "data").mkdir()
    return tmp_path


def in_a_shell(line: str, folder: Path) -> subprocess.Popen[str]:
    line = re.sub(r"(?<!\S)(?:\.venv/bin/)?python(?= )", sys.executable, line)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        f"exec env {line}",
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_command_is_run() -> None:
    tried = [*SYNOPSES, *SERVERS, *RUNS]
    assert [line for line in COMMANDS if line not in tried and not NOT_HERE.match(line)] == []
    assert SYNOPSES
    assert SERVERS
    assert RUNS


@contextmanager
def serving(line: str, folder: Path) -> Iterator[str]:
    """Run a server on a free port instead of its command's, and yield its URL."""
    if "hypercorn" in line:
        line += " --bind 127.0.0.1:0"
    else:
        line = re.sub(r"serve(?: --addr \S+)?", "serve --addr 127.0.0.1:0", line)
    with in_a_shell(line, folder) as process:
        assert process.stdout is not None
        try:
            said = ""
            while (address := re.search(r"(?:Serving HTTP|Running) on (http://\S+)", said)) is None:
                more = process.stdout.readline()
                assert more, said
                said += more
            yield address[1]
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("line", SERVERS)
def test_a_server(line: str, folder: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with serving(line, folder) as url, opener.open(url, timeout=30) as response:
        assert response.status == 200
        assert ("x-middleware" in response.headers) == ("outer.wasm" in line)


@pytest.mark.parametrize("line", RUNS)
def test_a_command(line: str, folder: Path) -> None:
    with in_a_shell(line, folder) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out


@pytest.mark.parametrize("line", SYNOPSES)
def test_the_options_of_a_command(line: str) -> None:
    """The tables of its section list exactly the options that exist."""
    name = re.search(r"-m wasi_trio (\w+) ", line)
    assert name is not None
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    section = page.split(f"\n## {name[1]}\n", 1)[1].split("\n## ", 1)[0]
    listed = set(re.findall(r"(?<=[`|, ])--[\w-]+", " ".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))))
    command = cli.commands[name[1]]
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert listed == {name for option in options for name in option.opts if name.startswith("--")}
