from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wasi.state.valkey import Valkey
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi.keyvalue._bucket import Store
from wasi_trio.wasi.keyvalue._memory import MemoryStore
from wasi_trio.wasi.keyvalue._sqlite import SqliteStore


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server that no test stops."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server for one test."""
    server = Valkey(tmp_path)
    yield server
    server.kill()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    kinds: dict[str, Callable[[], Store]] = {
        "memory": MemoryStore,
        "sqlite": lambda: SqliteStore(str(tmp_path / "state.db")),
        "redis": lambda: request.getfixturevalue("shared_valkey").store(f"{tmp_path.name}:"),
    }
    return kinds[request.param]()
