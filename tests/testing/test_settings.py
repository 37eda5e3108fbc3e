"""Settings of a component in a test."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.guests import wat
from tests.guests.build import build
from wasi_trio import Imports
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.testing import component
from wasi_trio.testing._settings import GuestSettings, Settings
from wasi_trio.wasi._context import WasiContext, WasiOptions, trio_wall_clock

BOTH = pytest.mark.parametrize("name", ["python_p2", "python_p3"])


def test_every_option_of_the_handler_is_one_here() -> None:
    """A new field of HandlerOptions must also be in Settings."""
    own = Settings.__optional_keys__ - GuestSettings.__optional_keys__ - {"options", "profile"}
    assert {field.name for field in dataclasses.fields(HandlerOptions)} == own | {
        "wasi",
        "tracer",
        "shared_limit",
        "route",
        "generation",
    }
    for name in own:
        assert Settings.__annotations__[name].__forward_arg__ == HandlerOptions.__annotations__[name], name


def _strings(folder: Path) -> list[str]:
    """Return the strings of the only profile in a folder."""
    (file,) = folder.glob("p-*.json")
    strings: list[str] = json.loads(file.read_text())["threads"][0]["stringArray"]
    return strings


async def test_a_profile(tmp_path: Path) -> None:
    async with component(wat.load("p3_compute"), profile=f"guest,{tmp_path}/p.json,1ms") as app:
        await app.get("/30")
    assert "hot" in _strings(tmp_path)
    with pytest.raises(ValueError, match=r"the directory '.*' does not exist"):
        async with component(wat.load("p3_compute"), profile="guest,/nonsense/p.json"):
            raise AssertionError("it is refused before")


@BOTH
async def test_environment_and_arguments(name: str) -> None:
    async with component(build(name), env={"NAME": "välue"}, wasi=WasiOptions(args=("app", "-x"))) as app:
        assert await (await app.get("/env")).json() == {"environment": {"NAME": "välue"}, "arguments": ["app", "-x"]}
    async with component(build(name), wasi=WasiOptions(env=[("A", "1")])) as app:
        assert (await (await app.get("/env")).json())["environment"] == {"A": "1"}


@BOTH
async def test_the_same_random_numbers_in_every_run(name: str) -> None:
    async def numbers(**settings: int | None) -> str:
        async with component(build(name), **settings) as app:  # type: ignore[arg-type]
            return await (await app.get("/random?bytes=16")).text() + await (await app.get("/random?bytes=16")).text()

    assert await numbers() == await numbers() == await numbers(seed=0)
    assert await numbers(seed=1) == await numbers(seed=1) != await numbers()
    assert await numbers(seed=None) != await numbers(seed=None)
    first, second = (await numbers()).split()
    assert first != second


async def test_random_numbers_of_one_s_own() -> None:
    async with component(build("python_p2"), wasi=WasiOptions(random=lambda n: b"\xab" * n)) as app:
        assert await (await app.get("/random?bytes=3")).text() == "ababab\n"


@BOTH
async def test_what_guests_write(name: str) -> None:
    async with component(build(name)) as app:
        assert (app.stdout, app.stderr) == ("", "")
        await app.get("/stdout")
        await app.idle()
        assert app.stdout == "a line on stdout\nanother line on stdout\n"
        assert app.stderr.startswith("a line on stderr\n")
        assert app.stdout_bytes.decode() == app.stdout
    assert app.stdout == "a line on stdout\nanother line on stdout\n"


async def test_lines_with_the_instance_s_number() -> None:
    async with component(wat.source("stdout"), logging_prefix=True) as app:
        await app.get()
        await app.settled()
        assert app.stdout.startswith("stdout [1] :: ")


async def test_options_as_an_object() -> None:
    options = HandlerOptions(max_instance_reuse_count=2, idle_instance_timeout=3600, wasi=WasiOptions(env=[("A", "1")]))
    async with component(build("python_p2"), options=options) as app:
        assert (await (await app.get("/env")).json())["environment"] == {"A": "1"}
        await app.idle()
        assert (await app.get("/hello")).instance == 1
    async with component(build("python_p2"), options=options, max_instance_reuse_count=1, env={"B": "2"}) as app:
        assert (await (await app.get("/env")).json())["environment"] == {"B": "2"}
        await app.idle()
        assert (await app.get("/hello")).instance == 2


class Work:
    """acme:host/work"""

    def __init__(self, context: object) -> None:
        pass

    def work(self, which: int) -> None:
        worked.append(which)

    async def later(self, which: int) -> None:
        await trio.sleep(which)
        worked.append(which)


worked: list[int] = []


@pytest.mark.parametrize("imports", [{"acme:host/work": Work}, Imports({"acme:host/work": Work})])
async def test_host_interfaces(imports: object, autojump_clock: MockClock) -> None:
    worked.clear()
    async with component(wat.source("host_call"), imports=imports) as app:  # type: ignore[arg-type]
        await app.get("/7")
        await app.get("/3600")
    assert worked == [7, 3600]
    assert trio.current_time() >= 3600


async def test_the_guest_s_clock_on_the_wall_follows_trio_s(autojump_clock: MockClock) -> None:
    """The host function reads the clock of the options, which is also the guest's clock."""
    seen: list[int] = []

    class Clock(Work):
        def __init__(self, context: WasiContext) -> None:
            self.clock = context.options.wall_clock

        def work(self, which: int) -> None:
            seen.append(self.clock())

    async with component(wat.source("host_call"), imports={"acme:host/work": Clock}) as app:
        await app.get("/1")
        await trio.sleep(86400)
        await app.get("/1")
    assert seen[1] - seen[0] == 86400 * 10**9
    async with component(
        wat.source("host_call"), imports={"acme:host/work": Clock}, wasi=WasiOptions(wall_clock=trio_wall_clock(0))
    ) as app:
        await app.get("/1")
    assert seen[2] == 0
