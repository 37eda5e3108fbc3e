"""``run`` and ``inspect`` with components that keep state."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.cli.terminal import ran
from tests.guests import wat
from wasi_trio.testing import LoadError, MemoryStore, run


@pytest.fixture
def component(tmp_path: Path) -> str:
    path = tmp_path / "command.wasm"
    path.write_bytes(wat.load("state_command"))
    return str(path)


def test_run(component: str, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    options = ("--config-var", "greeting", "--keyvalue", f"sqlite:{file}")
    for _ in range(2):
        assert ran("run", *options, component, greeting="Hello") == (0, "Hello", "")
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT bucket, key, value FROM wasi_keyvalue").fetchall() == [
            ("default", "runs", b"2")
        ]
    assert ran("run", "--keyvalue", "memory:", "-Sconfig", component) == (1, "", "")
    assert ran("run", "-S", "config-var=greeting=Hi,keyvalue=y", component) == (0, "Hi", "")
    code, out, err = ran("run", "-S", "config", component)
    assert (code, out) == (2, "")
    assert err.endswith("; wasi:keyvalue requires the option --keyvalue NAME=URL\n")


async def test_run_in_a_test() -> None:
    store = MemoryStore({"runs": b"-3"})
    result = await run(wat.source("state_command"), config={"greeting": "Hi"}, keyvalue={"default": store})
    assert (result.exit_code, result.stdout) == (0, "Hi")
    assert dict(store) == {"runs": b"-2"}
    with pytest.raises(LoadError, match="--keyvalue NAME=URL"):
        await run(wat.source("state_command"), config={"greeting": "Hi"})


def test_inspect(component: str) -> None:
    code, out, _ = ran("inspect", component)
    assert code == 0
    lines = [line.split("\t") for line in out.splitlines()]
    assert ["import", "wasi:config/store@0.2.0-rc.1", "config", ""] in lines
    assert ["import", "wasi:keyvalue/atomics@0.2.0-draft2", "keyvalue", ""] in lines
