"""SIGINT ends a session of pytest's, whatever the guest of the test does."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.guests import wat

ROOT = Path(__file__).parent.parent.parent

SUITE = """
from wasi_trio.testing import component

async def test_component():
    async with component("{guest}.wat") as app:
        print("ready", flush=True)
        await app.get("{path}")

async def test_fixture(wasi_component):
    app = await wasi_component("{guest}.wat")
    print("ready", flush=True)
    await app.get("{path}")

async def test_that_is_not_reached():
    print("reached")
"""


@pytest.mark.parametrize(
    ("test", "guest", "path"),
    [
        ("test_component", "spin", "/"),
        ("test_component", "spin_in_start", "/"),
        ("test_component", "p3_spin", "/0"),
        ("test_component", "p3_sleep", "/3600000"),
        ("test_fixture", "spin", "/"),
    ],
)
def test_a_session(test: str, guest: str, path: str, tmp_path: Path) -> None:
    (tmp_path / f"{guest}.wat").write_text(wat.source(guest))
    (tmp_path / "test_it.py").write_text(SUITE.format(guest=guest, path=path))
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    plugins = ["-p", "pytest_trio.plugin", "-p", "wasi_trio.testing.plugin", "-p", "no:cacheprovider"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-s", *plugins, "-k", f"{test} or reached"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = []
        while not lines or "ready" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        time.sleep(random.uniform(0, 0.03))  # so that it strikes anywhere
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in output
    assert "reached" not in output
    assert "failed" not in output
