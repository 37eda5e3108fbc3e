"""``/pool`` and ``/pool.json`` of the admin address. A real browser, if installed, renders the page."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.process import Process, command, on_disk
from tests.e2e.support import Client
from tests.e2e.test_shutdown import finish_echo, start_echo

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


async def pool_of(server: Process) -> list[dict[str, Any]]:
    async with Client(server.admin_port) as client:
        answer = await client.ask("/pool.json")
    assert answer.status == 200
    return list(json.loads(answer.body)["processes"])


def instances_of(processes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for process in processes for handler in process["handlers"] for one in handler["instances"]]


async def test_the_states_of_instances(tmp_path: Path) -> None:
    component = on_disk(tmp_path, "echo")
    async with command(tmp_path, component, "--admin-addr", "127.0.0.1:0") as server:
        async with server.client() as client:
            await start_echo(client)
            # After its write the guest may still have to wait for the next chunk.
            (process,) = await pool_of(server)
            while instances_of([process])[0]["state"] != "waiting":
                (process,) = await pool_of(server)
            assert (process["worker"], process["obstacle"]) == (None, None)
            (handler,) = process["handlers"]
            assert (handler["component"], handler["in_progress"], handler["queue"]) == (str(component), 1, 0)
            (instance,) = handler["instances"]
            assert instance["instance"] == "1"
            assert (instance["served"], instance["in_flight"]) == (0, 1)
            assert instance["memory"] >= 1 << 16
            (under_way,) = instance["requests"]
            assert under_way["request"] == "POST /echo"
            assert under_way["age"] >= instance["age"] - 0.01 >= -0.01
            await finish_echo(client)
        while (await pool_of(server))[0]["handlers"][0]["counts"]["outcomes"] != {"ok": 1}:
            pass
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


@pytest.mark.parametrize(("guest", "path"), [("spin", "/"), ("p3_spin", "/")])
async def test_a_computing_instance(tmp_path: Path, guest: str, path: str) -> None:
    component = on_disk(tmp_path, guest)
    async with command(tmp_path, component, "--admin-addr", "127.0.0.1:0") as server, server.client() as client:
        await client.start(path)
        while [one["state"] for one in instances_of(await pool_of(server))] != ["computing"]:
            await trio.lowlevel.checkpoint()
        server.signal(signal.SIGTERM)
        await server.said("Shutting down")
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


async def test_several_workers(tmp_path: Path) -> None:
    component = on_disk(tmp_path, "p3_hello")
    options = ("--workers", "2", "--admin-addr", "127.0.0.1:0", "--idle-instance-timeout", "60s")
    async with command(tmp_path, component, *options) as server:
        while not (names := [one["instance"] for one in instances_of(await pool_of(server))]):
            assert (await server.ask("/")).status == 200
        async with Client(server.admin_port) as client:
            page = await client.ask("/pool")
        assert page.status == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert {name.partition(".")[0] for name in names} <= {"1", "2"}


class Browser:
    """Headless Chromium, controlled by WebDriver (W3C): pictures and contents of a page."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = ""

    def _ask(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            connection.request(method, f"/session{path}", None if content is None else json.dumps(content))
            answer = json.loads(connection.getresponse().read())["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def open(self, url: str, width: int, height: int, folder: Path) -> None:
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"]
        arguments.append(f"--user-data-dir={folder / 'profile'}")
        wanted = {"goog:chromeOptions": {"args": arguments, "binary": BROWSER}}
        answer = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._session = "/" + answer["sessionId"]
        # A phone's width is narrower than a window may be.
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._ask("POST", f"{self._session}/goog/cdp/execute", command)
        self._ask("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str) -> Any:
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self._ask("GET", f"{self._session}/screenshot")))

    def close(self) -> None:
        if self._session:
            self._ask("DELETE", self._session)


@contextmanager
def browser() -> Iterator[Browser]:
    assert DRIVER is not None
    with subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = next(filter(None, (re.search(r"on port (\d+)\.", line) for line in process.stdout)))
            opened = Browser(int(found[1]))
            try:
                yield opened
            finally:
                opened.close()
        finally:
            process.kill()


#: A chart with at least two points.
CHARTED = "return [...document.querySelectorAll('path')].some(path => /L/.test(path.getAttribute('d')))"


def look(url: str, folder: Path, width: int, height: int) -> str:
    """Return the page's content once it has drawn a chart. Save a picture in the folder."""
    with browser() as window:
        window.open(url, width, height, folder)
        while not window.run(CHARTED):
            pass
        assert window.run("return document.documentElement.scrollWidth <= innerWidth"), "it fits the screen"
        window.picture(folder / f"page-{width}.png")
        return str(window.run("return document.querySelector('main').outerHTML"))


@pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="no Chromium here: apt install chromium chromium-driver")
@pytest.mark.parametrize(("width", "height"), [(1200, 900), (390, 844)])
async def test_in_a_browser(tmp_path: Path, width: int, height: int) -> None:
    component = on_disk(tmp_path, "p3_sleep")
    options = ("--admin-addr", "127.0.0.1:0", "--idle-instance-timeout", "60s", "--max-total-memory", "256MiB")
    async with command(tmp_path, component, *options) as server, trio.open_nursery() as nursery:

        async def keep_asking() -> None:
            while True:
                await server.ask("/20")

        for _ in range(3):
            nursery.start_soon(keep_asking)
        async with server.client() as client:
            await client.start("/3600000?words=of&a=client")
            url = f"http://127.0.0.1:{server.admin_port}/pool"
            page = await trio.to_thread.run_sync(look, url, tmp_path, width, height)
        nursery.cancel_scope.cancel()
    assert str(component) in page
    assert re.search('<span class="state (waiting|computing|draining)">', page)
    assert "GET /3600000?words=of&amp;a=client (" in page
    assert "deadlines missed" in page
    assert "no response" not in page
