"""The examples, as their pages say to try them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, fenced

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())

#: how long something took, which differs from run to run
SECONDS = re.compile(r"(?<= in )[\d.]+s\b")

#: stands in for curl on a machine that has none
CURL = f"""#!{sys.executable}
import sys, urllib.error, urllib.request
try:
    response = urllib.request.urlopen(sys.argv[1])
except urllib.error.HTTPError as error:
    response = error
sys.stdout.buffer.write(response.read())
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
        return number


@pytest.fixture
def copy(tmp_path: Path, port: int) -> Path:
    """The examples, with another port than the one in them, as that may be in use."""
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("*.wasm", "__pycache__"))
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text("utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{port}"), "utf-8")
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of a shell in which this Python's environment is active."""
    programs = tmp_path / "bin"
    programs.mkdir()
    if shutil.which("curl") is None:
        curl = programs / "curl"
        curl.write_text(CURL)
        curl.chmod(curl.stat().st_mode | stat.S_IXUSR)
    (programs / "python").symlink_to(sys.executable)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(programs)])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@contextmanager
def started(script: str, folder: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    """A script that ends in a server, once that has printed its address."""
    with subprocess.Popen(
        ["bash", "-euc", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            said = ""
            while f"127.0.0.1:{port}" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.stdout.read()


@pytest.mark.parametrize("name", NAMES)
def test_an_example(name: str, copy: Path, environment: dict[str, str], port: int) -> None:
    blocks = fenced(copy / name / "README.md")
    if [block.language for block in blocks] == ["sh", "text"]:  # one command, and what it prints
        command, output = blocks
        # Of a checkout, entry points are only known once it is installed.
        given = {**environment, "PYTEST_PLUGINS": "wasi_trio.testing.plugin"}
        done = subprocess.run(
            ["bash", "-euc", command.text], cwd=copy / name, env=given, capture_output=True, text=True, timeout=300
        )
        assert SECONDS.sub("", done.stdout) == SECONDS.sub("", output.text), done.stderr
        return
    assert [block.language for block in blocks] == ["sh", "sh", "text"]
    serve, ask, answer = blocks
    with started(serve.text, copy / name, environment, port):
        done = subprocess.run(
            ["bash", "-euc", ask.text], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
    assert done.stdout == answer.text


def test_every_example_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    assert [name for name in NAMES if f"[{name}]({name})" not in page] == []
