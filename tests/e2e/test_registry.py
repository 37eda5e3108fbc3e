"""Components from a registry in all places that accept a component: the real command line, a registry over HTTP."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio

from tests.cli.terminal import ran
from tests.e2e.process import command
from tests.e2e.test_reload import RELOADED, greeting, put, serves, version
from tests.e2e.test_routes import ask, write
from tests.guests import wat
from tests.wasi.registry.server import Registry, lay_out, serving
from wasi_trio.asgi import App
from wasi_trio.testing import component
from wasi_trio.wasi._loading import LoadError

HELLO = b"Hello, world!\n"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as registry:
        yield registry


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an empty cache for each test, and no credentials."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


async def test_serving(tmp_path: Path, registry: Registry) -> None:
    digest = registry.push(wat.load("hello"))
    reference = f"oci://{registry.host}/app:1"
    async with command(tmp_path, reference) as server:
        assert (await ask(server, "/")).body == HELLO
        assert server.stderr.startswith("Serving HTTP on ")
        assert f"{reference}@{digest}" in server.stderr
    async with command(tmp_path, f"{reference}@{digest}") as server:
        assert (await ask(server, "/")).body == HELLO
        assert digest not in server.stderr


async def test_routes_and_a_layout(tmp_path: Path, registry: Registry) -> None:
    registry.push(wat.load("counter"))
    lay_out(tmp_path / "layout", {"1": wat.load("hello")})
    file = write(
        tmp_path,
        "server.toml",
        f"""
        [wasi_trio]
        component = "oci-layout:{tmp_path}/layout:1"
        [[wasi_trio.route]]
        prefix = "/count"
        component = "oci://{registry.host}/app:1"
        """,
    )
    route = f"/two=oci://{registry.host}/app:1"
    async with command(tmp_path, None, "--hypercorn-config", str(file)) as server:
        assert (await ask(server, "/")).body == HELLO
        assert (await ask(server, "/count")).body == b"1\n"
        assert server.stderr.count("/app:1@sha256:") == 1
    async with command(tmp_path, f"oci-layout:{tmp_path}/layout", "--route", route) as server:
        assert (await ask(server, "/")).body == HELLO
        assert (await ask(server, "/two")).body == b"1\n"


async def test_workers_and_a_tag_that_moves(tmp_path: Path, registry: Registry) -> None:
    registry.push(version(1))
    file = put(tmp_path / "file.wasm", version(1))
    reference = f"oci://{registry.host}/app:1"
    async with command(tmp_path, reference, "--workers", "2", "--watch", "--route", f"/file={file}") as server:
        await serves(server, 1)
        await server.said(f"{reference} is not watched")
        # One process fetches for all workers.
        assert len(registry.paths) == 2
        digest = registry.push(version(2))
        put(file, version(2))
        await serves(server, 2, "/file")
        assert (await ask(server, "/")).body == greeting(1)
        assert len(registry.paths) == 2
        server.signal(signal.SIGHUP)
        await server.said(f"{reference}@{digest}")
        for _ in range(10):
            await serves(server, 2)
        assert len(registry.paths) == 4
        # A component that has disappeared does not affect the one being served.
        registry.content.clear()
        server.signal(signal.SIGHUP)
        await server.said("Reload failed, and the old version stays in service: ")
        assert f"{registry.host} does not have the manifest 1" in server.stderr
        assert (await ask(server, "/")).body == greeting(2)
        assert server.stderr.count(RELOADED) == 2
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


async def test_a_server_that_ends_does_not_wait_for_a_registry(tmp_path: Path, registry: Registry) -> None:
    registry.push(version(1))
    async with command(tmp_path, f"oci://{registry.host}/app:1") as server:
        await serves(server, 1)
        asked, done = trio.Event(), trio.Event()
        token = trio.lowlevel.current_trio_token()

        def hang(handler: object) -> None:
            token.run_sync_soon(asked.set)
            trio.from_thread.run(done.wait, trio_token=token)

        registry.answers["/v2/app/manifests/1"] = hang
        server.signal(signal.SIGHUP)
        await asked.wait()
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        done.set()


def test_the_other_commands(tmp_path: Path, registry: Registry) -> None:
    reference = f"oci://{registry.host}/tools/command:1"
    pinned = f"{reference}@{registry.push(wat.load('command'), 'tools/command')}"
    code, out, err = ran("run", pinned, "a")
    assert (code, err) == (0, "")
    assert "command" in out
    code, out, err = ran("inspect", "--json", pinned)
    assert (code, err) == (0, "")
    assert pinned in json.dumps(json.loads(out))
    code, out, err = ran("compile", reference)
    assert code == 0
    assert pinned in err
    code, out, err = ran("inspect", reference)
    assert code == 0 and pinned in err
    code, out, err = ran("bindgen", pinned, "-o", str(tmp_path / "bindings"))
    assert (code, err) == (0, "")


@pytest.mark.parametrize("name", ["serve", "run", "inspect", "compile"])
def test_errors_are_one_line(tmp_path: Path, registry: Registry, name: str) -> None:
    registry.push(b"\0asm\x01\0\0\0", tag="core")
    digest = registry.push(wat.load("hello"))
    registry.content[f"/v2/app/manifests/{digest}"] = b"{}"
    for end, message in (
        (":9", "does not have the manifest 9"),
        (f"@{digest}", "the manifest is corrupt"),
        (":Wrong/Name", "is not of the form oci://HOST/NAME"),
    ):
        code, out, err = ran(name, f"oci://{registry.host}/app{end}")
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith("wasi_trio: error: ")
        assert message in line
    registry.ask_for_tokens()
    code, _, err = ran(name, f"oci://{registry.host}/app:1")
    assert code == 2
    assert err.endswith("denies clients without credentials a token (status 401)\n")


def test_without_the_extra(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing import stands for a missing httpx. Components that were fetched before do not need it."""
    digest = registry.push(wat.load("hello"))
    reference = f"oci://{registry.host}/app@{digest}"
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['httpx'] = None\n")
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{path}" if path else str(tmp_path))
    code, _, err = ran("inspect", reference)
    assert code == 2
    assert err == "wasi_trio: error: a component in a registry requires httpx: pip install 'wasi-trio[oci]'\n"
    (tmp_path / "sitecustomize.py").unlink()
    assert ran("inspect", reference)[0] == 0
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['httpx'] = None\n")
    assert ran("inspect", reference)[0] == 0


async def test_in_a_program_and_in_a_test(registry: Registry) -> None:
    registry.push(wat.load("hello"))
    reference = f"oci://{registry.host}/app:1"
    app = App(reference)
    async with app.running():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x.test") as client:
            assert (await client.get("/")).content == HELLO
    async with component(reference) as tested:
        assert await (await tested.get("/")).read() == HELLO
    with pytest.raises(LoadError, match="does not have the manifest 2"):
        async with component(f"oci://{registry.host}/app:2"):
            pass


async def test_in_the_environment(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.push(wat.load("p3_middleware"))
    file = tmp_path / "p3_hello.wasm"
    file.write_bytes(wat.load("p3_hello"))
    monkeypatch.setenv("WASI_TRIO_COMPONENT", f"oci://{registry.host}/app:1:{file}")
    async with command(tmp_path, None) as server:
        assert (await ask(server, "/")).status == 200
