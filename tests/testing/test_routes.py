"""Requests to the routes of a configuration file, without a socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guests import wat
from wasi_trio.serve import SettingError
from wasi_trio.testing import LoadError, routes


def write(folder: Path, text: str) -> Path:
    for name in ("hello", "counter", "sleep", "p3_middleware"):
        (folder / f"{name}.wasm").write_bytes(wat.load(name))
    path = folder / "app.toml"
    path.write_text(text.replace("HERE", str(folder)))
    return path


async def test_each_request_goes_to_its_route(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        """
        [[wasi_trio.route]]
        prefix = "/count"
        component = "HERE/counter.wasm"
        max-instance-reuse-count = 2
        [[wasi_trio.route]]
        host = "api.test"
        component = ["HERE/p3_middleware.wasm", "HERE/hello.wasm"]
        [[wasi_trio.route]]
        prefix = "/slow"
        component = "HERE/sleep.wasm"
        strip-prefix = true
        request-timeout = 0.1
        """,
    )
    async with routes(config) as app:
        assert [await (await app.get("/count")).text() for _ in range(3)] == ["1\n", "2\n", "1\n"]
        response = await app.get("http://API.test:80/x")
        assert response.headers["x-middleware"] == "passed"
        assert await response.text() == "Hello, world!\n"
        assert await (await app.get("/slow/1")).text() == "slept\n"
        assert (await app.get("/")).status == 404
        assert (await app.get("/x/%2e%2e/count")).status == 400
        assert app.started == 5


async def test_a_file_that_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cannot read"):
        async with routes(write(tmp_path, '[[wasi_trio.route]]\ncomponent = "none.wasm"')):
            pass
    with pytest.raises(SettingError, match="neither a component nor files"):
        async with routes(write(tmp_path, "[[wasi_trio.route]]")):
            pass


async def test_what_a_block_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    config = write(tmp_path, '[[wasi_trio.route]]\ncomponent = "HERE/hello.wasm"')
    with pytest.raises(ZeroDivisionError):
        async with routes(config) as app:
            await app.get("/")
            _ = 1 / 0
