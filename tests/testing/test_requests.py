"""Requests to a component without a socket, with time by trio's MockClock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from tests.guests import wat
from tests.guests.build import build
from tests.testing.support import guest
from wasi_trio.testing import LoadError, component

BOTH = pytest.mark.parametrize("name", ["python_p2", "python_p3"])
ECHOES = pytest.mark.parametrize("name", ["echo", "p3_echo", "python_p2", "python_p3"])


@pytest.mark.parametrize("name", ["hello", "p3_hello"])
async def test_a_response(name: str) -> None:
    async with component(wat.source(name)) as app:
        response = await app.get("/x")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/plain"
    assert await response.read() == b"Hello, world!\n"
    assert await response.text() == "Hello, world!\n"
    assert [piece async for piece in response] == [b"Hello, world!\n"]
    assert len(response.trailers) == 0


async def test_a_path_bytes_and_text(tmp_path) -> None:
    binary = tmp_path / "app.wasm"
    binary.write_bytes(wat.load("hello"))
    text = tmp_path / "app.wat"
    text.write_text(wat.source("hello"))
    for source in (binary, str(binary), text, wat.load("hello"), wat.source("hello"), wat.source("hello").encode()):
        async with component(source) as app:
            assert (await app.get()).status == 200


@BOTH
async def test_what_a_guest_is_told(name: str) -> None:
    async with component(build(name)) as app:
        response = await app.put("/headers?a=%20b", headers=[("x-one", "1"), ("X-One", b"\xe9")], content="täxt")
        told = await response.json()
        assert (told["method"], told["path"], told["authority"]) == ("PUT", "/headers?a=%20b", "localhost")
        assert told["scheme"].lower() == "http"
        assert told["headers"] == [["x-one", "1"], ["X-One", "é"], ["content-length", "5"]]
        told = await (await app.get("https://example.test:81/headers?b")).json()
        assert (told["scheme"].lower(), told["authority"], told["path"]) == ("https", "example.test:81", "/headers?b")
        for method in ("post", "patch", "delete", "options"):
            assert (await (await getattr(app, method)("/headers")).json())["method"] == method.upper()
        assert (await (await app.request("PURGE", "/headers")).json())["method"] == "PURGE"


@BOTH
async def test_json(name: str) -> None:
    async with component(build(name)) as app:
        response = await app.post("/echo", json={"a": [1, None]})
        assert response.headers["content-type"] == "application/json"
        assert await response.json() == {"a": [1, None]}


@BOTH
async def test_head_and_other_responses_without_content(name: str) -> None:
    async with component(build(name)) as app:
        response = await app.head("/hello")
        assert (response.status, await response.read()) == (200, b"")
        response = await app.get("/answer?status=204")
        assert (response.status, await response.read()) == (204, b"")
        await app.idle()


async def test_fields_that_come_twice() -> None:
    text = wat.source("p3_hello")
    async with component(text) as app:
        response = await app.get()
    response.headers.raw.append(("X-Two", b"1"))
    response.headers.raw.append(("x-two", b"2"))
    assert response.headers["X-TWO"] == "1, 2"
    assert response.headers.get_all("x-two") == ["1", "2"]
    assert list(response.headers) == [*dict.fromkeys(name.lower() for name, _ in response.headers.raw)]
    assert "x-two" in response.headers
    assert "x-three" not in response.headers
    assert response.headers.get("x-three") is None


@pytest.mark.parametrize("name", ["p3_echo_through", "python_p3"])
async def test_trailers_both_ways(name: str) -> None:
    async with component(guest(name)) as app:
        response = await app.post("/through", content=b"content", trailers={"x-after": "all"})
        assert await response.read() == b"content"
        assert response.trailers["X-After"] == "all"


@ECHOES
async def test_both_directions_stream_at_once(name: str, autojump_clock: MockClock) -> None:
    received: list[bytes] = []
    arrived = trio.Event()

    async def content() -> AsyncIterator[bytes]:
        nonlocal arrived
        for number in range(3):
            await trio.sleep(60)
            yield b"piece %d" % number
            # The guest returns each piece before the next one, so no direction waits for the other's end.
            await arrived.wait()
            arrived = trio.Event()

    async with component(guest(name)) as app, app.stream("POST", "/echo", content=content()) as response:
        async for piece in response:
            received.append(piece)
            arrived.set()
    assert received == [b"piece 0", b"piece 1", b"piece 2"]
    assert trio.current_time() >= 180


@ECHOES
async def test_more_than_fits_into_a_pipe(name: str) -> None:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield bytes(100_000)

    async with component(guest(name)) as app:
        response = await app.post("/echo", content=content())
        assert len(await response.read()) == 3_000_000


@BOTH
async def test_many_at_once(name: str, autojump_clock: MockClock) -> None:
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await app.get("/sleep?ms=60000")).status)

    async with component(build(name)) as app:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert statuses == [200] * 20
        # The requests slept concurrently, in the MockClock's time.
        assert 60 <= trio.current_time() < 120


@BOTH
async def test_a_client_that_leaves(name: str, autojump_clock: MockClock) -> None:
    async with component(build(name)) as app:
        with trio.move_on_after(10) as scope:
            await app.get("/sleep?ms=3600000")
        assert scope.cancelled_caught
        async with app.stream("GET", "/endless") as response:
            assert await anext(aiter(response)) == b"begun\n"
        async with app.stream("GET", "/flood") as response:
            assert await anext(aiter(response))
        await app.settled()
        assert app.live == 0
        assert (await app.get("/hello")).status == 200
        assert trio.current_time() < 3600


async def test_a_response_that_needs_no_more_of_the_request(autojump_clock: MockClock) -> None:
    closed = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await trio.sleep(1)
        finally:
            closed.set()

    async with component(wat.source("hello")) as app:
        response = await app.post(content=endless())
        assert await response.text() == "Hello, world!\n"
        assert closed.is_set()


@ECHOES
async def test_content_that_fails(name: str) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        raise OSError("no more")

    async with component(guest(name)) as app:
        with pytest.raises(OSError, match="no more"):
            await app.post("/echo", content=content())


@pytest.mark.parametrize(
    ("url", "parts", "message"),
    [
        ("x", {}, "'x' is neither a path that begins with / nor a URL"),
        ("/a b", {}, "percent-encoded"),
        ("/", {"headers": {"host": "x"}}, "host: 'x' belongs to the connection"),
        ("/", {"headers": {"a b": "x"}}, "a b: 'x' is not a field of HTTP"),
        ("/", {"headers": {"a": "x\ny"}}, "is not a field of HTTP"),
        ("/", {"headers": {"a": "\u20ac"}}, "is not a field of HTTP"),
        ("/", {"content": b"x", "json": 1}, "content and json exclude each other: pass one of them"),
    ],
)
async def test_a_request_that_is_none(url: str, parts: dict, message: str) -> None:
    async with component(wat.source("hello")) as app:
        with pytest.raises(ValueError, match=message):
            await app.get(url, **parts)
        with pytest.raises(ValueError, match="is not a method"):
            await app.request("A B")


@pytest.mark.parametrize("names", [["p3_middleware", "hello"], ["p3_middleware", "p3_middleware", "p3_echo"]])
async def test_components_in_front_of_others(names: list[str]) -> None:
    async with component(*map(guest, names)) as app:
        response = await app.post(content=b"Hello, world!\n")
        assert response.headers.get_all("x-middleware") == ["passed"] * (len(names) - 1)
        assert await response.read() == b"Hello, world!\n"
        assert [instance.component for instance in app.instances] == [
            f"component {number}" for number in range(1, len(names) + 1)
        ]
        assert [instance.number for instance in app.instances] == [1] * len(names)
        await app.idle()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.wasm", "cannot read nowhere.wasm: No such file or directory"),
        (b"neither", "the component is not a WebAssembly component"),
        ("(component (nonsense))", "the component is not well-formed text"),
        ("(module)", "the component is a core WebAssembly module"),
        ("(component)", "it is not an HTTP component"),
        (wat.source("unknown_import"), "tests:nowhere/nothing@1.0.0"),
    ],
)
async def test_what_is_no_component(source: str | bytes, message: str) -> None:
    with pytest.raises(LoadError, match=message) as caught:
        async with component(source):
            pass
    assert "\n" not in str(caught.value)


async def test_the_place_of_an_error_in_the_text() -> None:
    with pytest.raises(LoadError) as caught:
        async with component("(component\n  (nonsense))"):
            pass
    assert "2:4" in caught.value.__notes__[0]


async def test_no_component_at_all() -> None:
    with pytest.raises(TypeError, match="a component is missing: pass a path"):
        async with component():
            pass


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError) as caught:
        async with component(wat.source("p3_middleware"), wat.source("hello")) as app:
            await app.get()
            raise error
    assert caught.value is error
    assert error.__context__ is None
    with pytest.raises(ValueError) as caught:
        async with component(wat.source("hello")) as app, app.stream("GET"):
            raise error
    assert caught.value is error
    assert error.__context__ is None


async def test_a_group_that_the_block_raises_stays_one() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with component(wat.source("hello")) as app, app.stream("GET"):
            raise ExceptionGroup("several", [ValueError()])
    assert caught.value.message == "several"
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


async def test_pytest_s_own_ways_out() -> None:
    with pytest.raises(pytest.skip.Exception):
        async with component(wat.source("hello")) as app, app.stream("GET"):
            pytest.skip("not today")
    with pytest.raises(pytest.fail.Exception):
        async with component(wat.source("hello")):
            pytest.fail("on purpose")


async def test_a_cancelled_block(autojump_clock: MockClock) -> None:
    with trio.move_on_after(5) as scope:
        async with component(wat.source("p3_sleep")) as app:
            await app.get("/3600000")
    assert scope.cancelled_caught
    assert trio.current_time() == 5
    assert app.live == 0
