"""docs/hypercorn.md: its file, its command and its programs, unchanged."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest
import wasmtime

from tests.docs.blocks import ROOT, fenced
from tests.guests import wat

PAGE = ROOT / "docs" / "hypercorn.md"
BLOCKS = fenced(PAGE)


def texts(language: str) -> list[str]:
    return [textwrap.dedent(block.text) for block in BLOCKS if block.language == language]


def test_every_block_is_of_a_known_kind() -> None:
    assert {block.language for block in BLOCKS} == {"toml", "sh", "python"}


def test_the_file_and_the_command(tmp_path: Path) -> None:
    (toml,) = texts("toml")
    (command,) = texts("sh")
    (tmp_path / "hypercorn.toml").write_text(toml.replace("127.0.0.1:8080", "127.0.0.1:0"))
    demo = resources.files("wasi_trio.serve").joinpath("demo.wat").read_text("utf-8")
    (tmp_path / "app.wasm").write_bytes(wasmtime.wat2wasm(demo))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        f"exec {command}",
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            address = re.search(r"Running on (http://127\.0\.0\.1:\d+)", line)
            assert address is not None, line
            with httpx.Client(trust_env=False, timeout=60) as client:
                assert "<tr><td>x-served-by</td><td>wasi_trio</td></tr>" in client.get(address[1]).text
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


async def test_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, guest in {"shop": "hello", "cache": "p3_middleware", "blog": "p3_hello"}.items():
        (tmp_path / f"{name}.wasm").write_bytes(wat.load(guest))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"asynccontextmanager": asynccontextmanager}
    for text in texts("python"):
        exec(text, names)
    async with names["lifespan"](None):
        for name in ("shop", "blog"):
            transport = httpx.ASGITransport(names[name])
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                response = await client.get("/")
                assert response.status_code == 200
                assert ("x-middleware" in response.headers) == (name == "blog")
