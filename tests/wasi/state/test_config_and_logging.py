"""wasi:config and wasi:logging from the guest's view."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tests.guests import wat
from tests.wasi.state.state_guest import instance_of
from wasi_trio._texts import MAX_LENGTH
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._logs import JsonFormatter, text_formatter
from wasi_trio.testing import LoadError, MemoryStore, component
from wasi_trio.wasi._state import NO_STATE, State

CONFIG = "0.2.0-rc.1"
LOGGING = "0.1.0-draft"


async def test_variables(engine: Engine) -> None:
    state = State(config={"greeting": "Gr\u00fc\u00dfe", "empty": ""})
    async with instance_of(engine, CONFIG, ("wasi:config/store",), state) as guest:
        assert await guest("get", "greeting") == "Gr\u00fc\u00dfe"
        assert await guest("get", "empty") == ""
        assert await guest("get", "none") is None
        assert await guest("get-all") == [("greeting", "Gr\u00fc\u00dfe"), ("empty", "")]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(1, "wasi_trio.guest"):
        yield caplog


async def test_levels(engine: Engine, logged: pytest.LogCaptureFixture) -> None:
    async with instance_of(engine, LOGGING, ("wasi:logging/logging",), NO_STATE) as guest:
        for level in ("trace", "debug", "info", "warn", "error", "critical"):
            await guest("log", level, "shop", f"at {level}")
        await guest("log", "info", "", "no context")
    assert [(record.levelno, record.getMessage()) for record in logged.records] == [
        (5, "shop: at trace"),
        (logging.DEBUG, "shop: at debug"),
        (logging.INFO, "shop: at info"),
        (logging.WARNING, "shop: at warn"),
        (logging.ERROR, "shop: at error"),
        (logging.CRITICAL, "shop: at critical"),
        (logging.INFO, "no context"),
    ]
    assert {record.name for record in logged.records} == {"wasi_trio.guest"}
    assert logged.records[0].levelname == "TRACE"
    assert logged.records[0].context == "shop"  # type: ignore[attr-defined]


async def test_hostile_texts_stay_one_line(engine: Engine, logged: pytest.LogCaptureFixture) -> None:
    async with instance_of(engine, LOGGING, ("wasi:logging/logging",), NO_STATE) as guest:
        await guest("log", "warn", "a\nERROR b", "x\r\nCRITICAL forged \x1b[2J %s %d" + "y" * 100_000)
        await guest("log", "warn", "c" * 100_000, "%(secret)s {0}")
    for formatter in (text_formatter(), JsonFormatter()):
        for record in logged.records:
            line = formatter.format(record)
            assert line.isprintable()
            assert len(line) < 3 * MAX_LENGTH
    first, second = logged.records
    assert first.getMessage().startswith("a\\nERROR b: x\\r\\nCRITICAL forged \\x1b[2J %s %d")
    assert second.getMessage().endswith(": %(secret)s {0}")


async def test_unwanted_messages_are_not_formatted(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "wasi_trio.guest")
    async with instance_of(engine, LOGGING, ("wasi:logging/logging",), NO_STATE) as guest:
        await guest("log", "warn", "", "x")
    assert caplog.records == []


async def test_a_guest_that_is_served(logged: pytest.LogCaptureFixture) -> None:
    store = MemoryStore({"visits": b"41"})
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger("wasi_trio.guest").addHandler(handler)
    try:
        async with component(wat.source("state"), config={"greeting": "hi"}, keyvalue={"default": store}) as app:
            assert await (await app.get("/0")).text() == "hi"
            assert [await (await app.get("/1")).text() for _ in range(3)] == ["42\n", "43\n", "44\n"]
            assert await (await app.get("/2")).text() == "44"
            assert (await app.get("/3")).status == 200
            del store["visits"]
            assert (await app.get("/2")).status == 404
            store["visits"] = b"many"
            response = await app.get("/1")
            assert (response.status, await response.text()) == (
                503,
                "the value is not a whole number, or the sum is out of range",
            )
    finally:
        logging.getLogger("wasi_trio.guest").removeHandler(handler)
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert (said["context"], said["level"]) == ("shop", "WARNING")
    assert said["message"] == "shop: sold out\\nERROR forged: \\x1b[2J"
    assert said["instance"].isdigit()


async def test_missing_interfaces_are_refused_with_their_option() -> None:
    options = {"wasi:config": "--config-var NAME=VALUE", "wasi:keyvalue": "--keyvalue NAME=URL"}
    with pytest.raises(LoadError) as caught:
        async with component(wat.source("state")):
            raise AssertionError("it is refused before")
    for package, option in options.items():
        assert f"{package} requires the option {option}" in str(caught.value)
    with pytest.raises(LoadError) as caught:
        async with component(wat.source("state"), config={}):
            raise AssertionError("it is refused before")
    assert "--config-var" not in str(caught.value)
    assert "; wasi:keyvalue requires the option --keyvalue NAME=URL" in str(caught.value)


async def test_an_unknown_bucket() -> None:
    async with component(wat.source("state"), config={}, keyvalue={"other": MemoryStore()}) as app:
        response = await app.get("/1")
        assert (response.status, await response.text()) == (503, "no such bucket\n")
        assert (await app.get("/0")).status == 404
