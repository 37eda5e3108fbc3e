from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wasi.registry.server import BASIC, Registry, serving
from wasi_trio.wasi.registry._cache import Cache


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as registry:
        yield registry


@pytest.fixture
def other() -> Iterator[Registry]:
    """Another host in terms of HTTP."""
    with serving() as registry:
        yield registry


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "kept")


@pytest.fixture(autouse=True)
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of Docker's configuration, which is empty."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    return folder


@pytest.fixture
def log_in(docker: Path) -> Callable[[str], None]:
    """Store credentials for a host, like ``docker login``."""

    def log_in(host: str) -> None:
        (docker / "config.json").write_text(json.dumps({"auths": {host: {"auth": BASIC.removeprefix("Basic ")}}}))

    return log_in
