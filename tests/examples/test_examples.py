"""The examples, as their pages say to try them."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.docs.blocks import ROOT, fenced
from tests.guests.build import WIT, cache_folder

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())

#: A duration, which differs from run to run.
SECONDS = re.compile(r"(?<= in )[\d.]+s\b")

#: stands in for curl on a machine that has none, or one without HTTP/2
CURL = f"""#!{sys.executable}
import argparse, sys
import httpx
parser = argparse.ArgumentParser()
for name in ("-N", "--http1.1", "--http2"):
    parser.add_argument(name, action="store_true")
for name in ("--cacert", "--data", "--write-out"):
    parser.add_argument(name)
parser.add_argument("url")
asked = vars(parser.parse_args())
with httpx.Client(http2=asked["http2"], verify=asked["cacert"] or True, timeout=60, trust_env=False) as client:
    data = asked["data"]
    response = client.request("GET" if data is None else "POST", asked["url"], content=data)
    sys.stdout.buffer.write(response.content)
    version = response.http_version.removeprefix("HTTP/")
    print(
        (asked["write_out"] or "").replace("%{{http_version}}", version).replace(chr(92) + "n", chr(10)), end=""
    )
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
        return number


#: Files that a run of the examples by hand leaves behind.
IGNORED = shutil.ignore_patterns(
    "*.wasm", "*.pem", "*.key", "__pycache__", "node_modules", "package-lock.json", "deps", "bindings"
)


@pytest.fixture
def copy(tmp_path: Path, port: int) -> Path:
    """The examples, with another port than the one in them, as that may be in use."""
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=IGNORED)
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text("utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{port}"), "utf-8")
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of a shell in which this Python's environment is active."""
    programs, fallback = tmp_path / "bin", tmp_path / "fallback"
    programs.mkdir()
    fallback.mkdir()
    if not _curl_will_do():
        curl = programs / "curl"
        curl.write_text(CURL)
        curl.chmod(curl.stat().st_mode | stat.S_IXUSR)
    (fallback / "python").symlink_to(sys.executable)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"], str(fallback)])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@functools.cache
def _curl_will_do() -> bool:
    if shutil.which("curl") is None:
        return False
    return b"HTTP2" in subprocess.run(["curl", "--version"], capture_output=True, check=True).stdout


def built(name: str, script: str, folder: Path, environment: dict[str, str]) -> None:
    """Build an example's components in a copy of its folder, or put those there that the same sources gave before.

    They are kept where the guests are that need a toolchain.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"example-{name}-{digest(name)}"
    with open(cache / f"example-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            if "npm " in script:
                _skip_without_npm()
            done = subprocess.run(
                ["bash", "-euc", script],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                components = list(folder.glob("*.wasm"))
                assert components, done.stdout
                for component in components:
                    shutil.copy(component, scratch)
                shutil.copytree(scratch, kept)
    for component in kept.iterdir():
        shutil.copy(component, folder)


def _skip_without_npm() -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, which brings the tool that builds this component")
    ping = ["npm", "ping", "--fetch-retries=0", "--fetch-timeout=20000"]
    if subprocess.run(ping, capture_output=True, check=False).returncode:
        pytest.skip("npm is installed and cannot reach its registry, which has the tool that builds this component")


def digest(name: str) -> str:
    """Return a hash of an example's inputs: its folder, WASI's WIT and the tool's version."""
    found = hashlib.sha256(importlib.metadata.version("componentize-py").encode())
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch) / name
        shutil.copytree(EXAMPLES / name, sources, ignore=IGNORED)
        for base in (sources, WIT):
            for file in sorted(path for path in base.rglob("*") if path.is_file() and path.suffix != ".pyc"):
                found.update(f"\0{file.relative_to(base)}\0".encode() + file.read_bytes())
    return found.hexdigest()[:16]


@contextmanager
def started(script: str, folder: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    """Run a script that ends in a server. The block begins after the server has printed its address."""
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
    """Its page has one command and what that prints; or what builds a component, if need be, what serves, and asks."""
    folder = copy / name
    blocks = fenced(folder / "README.md")
    if [block.language for block in blocks] == ["sh", "text"]:
        command, output = blocks
        # Of a checkout, entry points are only known once it is installed.
        given = {**environment, "PYTEST_PLUGINS": "wasi_trio.testing.plugin"}
        done = subprocess.run(
            ["bash", "-euc", command.text], cwd=folder, env=given, capture_output=True, text=True, timeout=300
        )
        assert SECONDS.sub("", done.stdout) == SECONDS.sub("", output.text), done.stderr
        return
    assert [block.language for block in blocks][-3:] == ["sh", "sh", "text"]
    *build, serve, ask, answer = blocks
    assert [block.language for block in build] in ([], ["sh"])
    for block in build:
        built(name, block.text, folder, environment)
    with started(serve.text, folder, environment, port):
        done = subprocess.run(
            ["bash", "-euc", ask.text],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    assert done.stdout == answer.text


def test_a_guest_of_javascript_answers_once(copy: Path, environment: dict[str, str], port: int) -> None:
    """docs/command-line.md describes what happens to the later requests of its instance."""
    folder = copy / "hello-js"
    build, serve, *_ = fenced(folder / "README.md")
    built("hello-js", build.text, folder, environment)
    options = "--max-instance-reuse-count 3 --idle-instance-timeout 60s --max-concurrent-requests 1"
    reused = serve.text.replace("--addr", f"{options} --addr")
    with started(reused, folder, environment, port), httpx.Client(trust_env=False, timeout=60) as client:
        assert [client.get(f"http://127.0.0.1:{port}/").status_code for _ in range(4)] == [200, 500, 500, 200]


def test_every_example_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    assert [name for name in NAMES if f"[{name}]({name})" not in page] == []
