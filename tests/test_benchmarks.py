"""The benchmarks run. Tests assert none of their figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load import BadAnswer, get, post
from benchmarks.registry import BENCHMARKS
from benchmarks.report import Row
from benchmarks.servers import bare

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_cheap_ones_run():
    result = run("--quick", "calls", "typed", "instances", "application", "files", "state")
    assert result.returncode == 0, result.stderr
    for title in (
        "Floors",
        "Host calls from a guest",
        "Exports called through their typed client",
        "Instances, created and dropped",
        "Hello through the ASGI",
        "small files",
        "sqlite: increment",
    ):
        assert title in result.stdout


def test_those_of_the_handler_run():
    result = run("--quick", "pool", "deadlines")
    assert result.returncode == 0, result.stderr
    for title in ("instances saved by concurrent reuse", "with --request-timeout 1s", "delay of the latest 504"):
        assert title in result.stdout


def test_that_of_requests_to_other_servers_runs():
    result = run("--quick", "outbound")
    assert result.returncode == 0, result.stderr
    for title in ("through a guest to another server", "WASI 0.2, connections kept", "WASI 0.3, connections opened"):
        assert title in result.stdout


def test_that_of_insight_runs():
    result = run("--quick", "insight")
    assert result.returncode == 0, result.stderr
    for title in ("all traced", "one in a hundred traced", "everything at once", "processor time per request"):
        assert title in result.stdout


def test_that_of_routes_runs():
    result = run("--quick", "routes")
    assert result.returncode == 0, result.stderr
    for title in ("One of 100 routes", "by host and prefix", "processor time per request"):
        assert title in result.stdout


def test_that_of_sockets_runs():
    result = run("--quick", "sockets")
    assert result.returncode == 0, result.stderr
    for title in (
        "TCP through guests that listen",
        "a guest of 0.2",
        "a guest of 0.3",
        "memory of each idle connection",
    ):
        assert title in result.stdout


def test_that_of_warm_starts_runs():
    result = run("--quick", "start")
    assert result.returncode == 0, result.stderr
    for title in ("Warm starts", "python -c pass", "run a small command"):
        assert title in result.stdout
    assert ("first answer" in result.stdout) != ("hello-js is not built" in result.stdout)


def test_a_name_that_there_is_not():
    result = run("calls", "cals")
    assert result.returncode == 2
    assert "unknown benchmark: cals" in result.stderr
    assert all(name in result.stderr for name in BENCHMARKS)


def test_the_load():
    with bare() as server:
        assert get(server.port, "/", 3, 0.1)["requests"] > 0
        size = 5 * (64 << 10)
        for with_length in (True, False):
            assert post(server.port, "/echo", size, with_length)["bytes"] == size
        with pytest.raises(BadAnswer, match="other bytes than were sent"):
            # The server answers "hello" to any content.
            post(server.port, "/", size, True)


@pytest.mark.parametrize(
    ("aim", "met"),
    [
        ({"at_most": 10.0}, True),
        ({"at_most": 9.0}, False),
        ({"at_least": 10.0}, True),
        ({"at_least": 11.0}, False),
        ({"ratio_at_most": 0.5}, True),
        ({"ratio_at_most": 0.4}, False),
        ({"ratio_at_least": 0.5}, True),
        ({"ratio_at_least": 0.6}, False),
    ],
)
def test_an_aim_is_met_or_not(aim: dict[str, float], met: bool):
    assert [held for _, held in Row("a call", 10.0, "µs", ("floor", 20.0), **aim).aims] == [met]
