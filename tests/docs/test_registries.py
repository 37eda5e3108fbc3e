"""docs/registries.md: its commands work against a registry, and its limits are those of the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import ran
from tests.docs.blocks import ROOT, fenced
from tests.e2e.process import command
from tests.guests import wat
from tests.wasi.registry.server import Registry, serving
from wasi_trio.wasi.registry import _client as client
from wasi_trio.wasi.registry._cache import LIMIT
from wasi_trio.wasi.registry._limits import LIMITS

PAGE = ROOT / "docs" / "registries.md"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with serving() as registry:
        yield registry


async def test_the_commands(registry: Registry, tmp_path: Path) -> None:
    digest = registry.push(wat.load("hello"), "shop/cart", "1.4")
    shell, text = fenced(PAGE)
    assert (shell.language, text.language) == ("sh", "text")
    inspect, serve = (
        re.sub("sha256:[0-9a-f]{64}", digest, line.replace("registry.example.org", registry.host))
        for line in shell.text.splitlines()
    )
    code, _, err = ran(*inspect.removeprefix("python -m wasi_trio ").split())
    assert code == 0
    shown = text.text.replace("registry.example.org", registry.host).replace("sha256:4f1e...", digest)
    assert err == shown
    prefix, _, reference = serve.rpartition(" ")
    assert prefix == "python -m wasi_trio serve"
    async with command(tmp_path, reference) as server:
        assert (await server.ask()).status == 200


def test_the_limits() -> None:
    page = PAGE.read_text("utf-8")
    for line in (
        f"| a manifest | {LIMITS.manifest >> 20} MiB |",
        f"| a component | {LIMITS.component >> 20} MiB,",
        f"| an answer with a token | {client.MOST_TOKEN >> 10} KiB |",
        f"| silence | {LIMITS.idle:g} s |",
        f"| all of it | {LIMITS.seconds:g} s |",
        f"| redirects | {client.MOST_REDIRECTS}, none from TLS to plain HTTP |",
        f"up to {LIMIT >> 30} GiB;",
    ):
        assert line in page
