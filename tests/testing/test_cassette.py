"""Cassettes record a guest's requests to a real server, and replay them without it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.bindgen.support import HERE
from tests.guests import wat
from tests.guests.build import build
from tests.testing.upstream import Asked, Said, upstream
from wasi_trio import Trap
from wasi_trio.testing import (
    App,
    CassetteError,
    ExchangeFailed,
    UnexpectedRequest,
    UnrecordedRequest,
    cassette,
    component,
    exports,
    routes,
    run,
    server,
)
from wasi_trio.testing._outgoing import Tape
from wasi_trio.testing._record_mode import running_test
from wasi_trio.wasi.http import Response

#: A guest that forwards each request to its authority and returns the response.
FORWARD = wat.source("p3_forward")
NOWHERE = "http://upstream.test"


@pytest.fixture(autouse=True)
def each_block_a_run_of_its_own() -> Iterator[None]:
    """Treat each block as a separate run, as in programs without pytest. So an earlier run has recorded the file."""
    token = running_test.set(None)
    yield
    running_test.reset(token)


async def echo(asked: Asked) -> Said:
    return Said(content=asked.content or asked.target.encode(), headers=[("content-type", "text/plain")])


def interactions(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["interactions"]
    return found


async def test_recorded_once_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "upstream.json"
    async with upstream(echo) as server:
        url = server.url
        async with component(FORWARD, outgoing=cassette(path)) as app:
            response = await app.post(f"{url}/x?a=1", content=b"hello")
            assert (response.status, await response.text()) == (200, "hello")
        assert len(server.asked) == 1
    recorded = path.read_bytes()
    async with component(FORWARD, outgoing=cassette(path)) as app:
        again = await app.post(f"{url}/x?a=1", content=b"hello")
        assert (again.status, await again.text()) == (200, "hello")
        assert again.headers.raw == response.headers.raw
    assert path.read_bytes() == recorded


async def test_what_is_in_the_file(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> Said:
        contents = {
            "/json": b'{"tea": [1, 2.5, "\xc3\xbc"]}',
            "/compact": b'{"tea":1}',
            "/odd": b'{ "tea" : 1 }',
            "/lines": b"one\ntwo\r\nthree",
            "/binary": bytes(range(256)),
        }
        return Said(content=contents[asked.target], headers=[("x-twice", "1"), ("X-Other", "2"), ("x-twice", "3")])

    path = tmp_path / "upstream.json"
    names = ("json", "compact", "odd", "lines", "binary", "binary")
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        url = server.url
        first = [await (await app.get(f"{url}/{name}")).read() for name in names]
    found = interactions(path)
    assert [item["response"]["content"] for item in found][:4] == [
        {"json": {"tea": [1, 2.5, "ü"]}, "spelling": "spaced"},
        {"json": {"tea": 1}},
        {"text": '{ "tea" : 1 }'},
        {"text": ["one\n", "two\r\n", "three"]},
    ]
    assert found[4]["response"]["content"].keys() == {"base64"}
    assert found[0]["response"]["headers"][:3] == ["x-twice: 1", "X-Other: 2", "x-twice: 3"]
    assert "ü" in path.read_text()
    async with component(FORWARD, outgoing=cassette(path)) as app:
        assert [await (await app.get(f"{url}/{name}")).read() for name in names] == first


@pytest.mark.parametrize(("guest", "path"), [("python_p2", "/trailers"), ("python_p3", "/trailers")])
async def test_trailers_both_ways(tmp_path: Path, guest: str, path: str) -> None:
    async def answer(asked: Asked) -> Said:
        assert asked.trailers == [("x-sent", "with the request")]
        return Said(content=[b"taken", b" in pieces"], trailers=[("x-back", "with the response")])

    file = tmp_path / "upstream.json"
    async with upstream(answer) as server, component(build(guest), outgoing=cassette(file)) as app:
        url = server.url
        assert await (await app.get(f"{path}?url={url}/")).json() == [["x-back", "with the response"]]
    async with component(build(guest), outgoing=cassette(file, match=["method", "url", "body"])) as app:
        assert await (await app.get(f"{path}?url={url}/")).json() == [["x-back", "with the response"]]
    (item,) = interactions(file)
    assert item["request"]["trailers"] == ["x-sent: with the request"]
    assert item["request"]["content"] == {"text": ["a line\n"]} or item["request"]["content"] == {"text": "a line\n"}


async def test_content_streams_while_it_is_recorded(tmp_path: Path) -> None:
    more = trio.Event()

    async def answer(asked: Asked) -> Said:
        return Said(content=[b"first ", b"second"], after_first=more)

    path = tmp_path / "upstream.json"
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        url = server.url
        async with app.stream("GET", f"{url}/") as response:
            pieces = aiter(response)
            assert await anext(pieces) == b"first "
            more.set()
            assert await anext(pieces) == b"second"
            assert [piece async for piece in pieces] == []
    async with component(FORWARD, outgoing=cassette(path)) as app:
        assert await (await app.get(f"{url}/")).read() == b"first second"


async def test_a_large_body_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    large = bytes(range(256)) * 8192
    async with upstream(echo) as server, component(FORWARD, outgoing=cassette(path)) as app:
        url = server.url
        assert await (await app.post(url, content=large)).read() == large
    async with component(FORWARD, outgoing=cassette(path, match=["url", "body"])) as app:
        assert await (await app.post(url, content=large)).read() == large


async def test_more_than_a_file_should_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasi_trio.testing._cassette.MAX_CONTENT", 1000)
    path = tmp_path / "upstream.json"
    async with upstream(echo) as server, component(FORWARD, outgoing=cassette(path)) as app:
        with pytest.raises(CassetteError, match="has more than 0 MiB of content"):
            await app.post(f"{server.url}/", content=bytes(20_000))


@pytest.mark.parametrize(("guest", "path"), [("python_p2", "/fetch"), ("python_p3", "/proxy")])
async def test_errors_are_recorded(tmp_path: Path, guest: str, path: str) -> None:
    file = tmp_path / "upstream.json"
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        async with component(build(guest), outgoing=cassette(file)) as app:
            first = await app.get(f"{path}?url={url}")
    (item,) = interactions(file)
    assert item["error"] == {"code": "connection-refused"}
    assert "response" not in item
    async with upstream(echo), component(build(guest), outgoing=cassette(file)) as app:
        again = await app.get(f"{path}?url={url}")
    assert await first.text() == await again.text() == "ErrorCode_ConnectionRefused\n"


async def test_a_response_that_is_cut(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> Said:
        return Said(content=[b"some"], cut=True)

    path = tmp_path / "upstream.json"
    said = []
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        url = server.url
        with pytest.raises(ExchangeFailed) as caught:
            await app.get(url)
        said.append(str(caught.value))
    (item,) = interactions(path)
    assert item["response"]["content"] == {"text": "some"}
    assert item["error"] == {"code": "HTTP-response-incomplete"}
    async with component(FORWARD, outgoing=cassette(path)) as app:
        with pytest.raises(ExchangeFailed) as caught:
            await app.get(url)
        said.append(str(caught.value))
    assert said[0] == said[1]


async def test_a_guest_that_leaves(tmp_path: Path, autojump_clock: MockClock) -> None:
    """In a replay, the response stops at the same place."""

    async def answer(asked: Asked) -> Said:
        return Said(content=[b"first", b"never"], after_first=trio.Event())

    path = tmp_path / "upstream.json"
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        url = server.url
        async with app.stream("GET", url) as response:
            assert await anext(aiter(response)) == b"first"
        await app.idle()
    (item,) = interactions(path)
    assert item["guest left"] is True
    assert item["response"]["content"] == {"text": "first"}
    async with component(FORWARD, outgoing=cassette(path)) as app, app.stream("GET", url) as response:
        pieces = aiter(response)
        assert await anext(pieces) == b"first"
        with trio.move_on_after(3600) as scope:
            await anext(pieces)
        assert scope.cancelled_caught


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compressed_content_is_readable_and_comes_compressed(tmp_path: Path, coding: str) -> None:
    plain = b"a secret place\n" * 20
    packed = gzip.compress(plain) if coding == "gzip" else zlib.compress(plain)

    async def answer(asked: Asked) -> Said:
        assert dict(asked.headers)["accept-encoding"] == f"{coding};q=0.5"
        return Said(content=packed, headers=[("content-encoding", coding)])

    path = tmp_path / "upstream.json"
    headers = {"accept-encoding": f"br, zstd, {coding};q=0.5"}
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        url = server.url
        assert await (await app.get(url, headers=headers)).read() == packed
    (item,) = interactions(path)
    assert item["response"]["content"]["text"][0] == "a secret place\n"
    assert item["request"]["headers"] == [f"accept-encoding: {headers['accept-encoding']}"]
    async with component(FORWARD, outgoing=cassette(path)) as app:
        again = await app.get(url, headers=headers)
        content = await again.read()
        assert again.headers["content-length"] == str(len(content))
        assert (gzip.decompress(content) if coding == "gzip" else zlib.decompress(content)) == plain


@pytest.mark.parametrize(
    ("coding", "data"), [("br", b"whatever"), ("gzip", b"no gzip"), ("gzip", gzip.compress(b"x")[:-1])]
)
async def test_content_that_cannot_be_looked_into_is_not_recorded(tmp_path: Path, coding: str, data: bytes) -> None:
    async def answer(asked: Asked) -> Said:
        return Said(content=data, headers=[("content-encoding", coding)])

    path = tmp_path / "upstream.json"
    async with upstream(answer) as server:
        with pytest.raises(CassetteError, match=rf"^GET {server.url}/x cannot be recorded: the content is "):
            async with component(FORWARD, outgoing=cassette(path)) as app:
                await app.get(f"{server.url}/x")
    assert not path.exists()


# ---- requests that are not recorded ----------------------------------------------------------------------


async def record(path: Path, *targets: str, **options: Any) -> str:
    """Record requests with these targets, and return the URL of their server."""
    async with upstream(echo) as server, component(FORWARD, outgoing=cassette(path, **options)) as app:
        for target in targets:
            await app.post(f"{server.url}{target}", content=b"one")
        return server.url


async def test_an_unknown_request_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    url = await record(path, "/items?page=1", "/other")
    async with component(FORWARD, outgoing=cassette(path)) as app:
        with pytest.raises(UnrecordedRequest) as caught:
            await app.put(f"{url}/items?page=2", content=b"one")
    assert isinstance(caught.value, UnexpectedRequest)
    assert caught.value.request.method == "PUT"
    assert str(caught.value).splitlines() == [
        f"the guest asked for PUT {url}/items?page=2, which is not in {path}",
        f"the nearest that it has is POST {url}/items?page=1:",
        "  the method is PUT, recorded is POST",
        "  the query is page=2, recorded is page=1",
        "if the guest is right, record again with --wasi-trio-record all, or add to the file with"
        " --wasi-trio-record new_episodes",
    ]


async def test_another_body(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    url = await record(path, "/")
    async with component(FORWARD, outgoing=cassette(path, match=["url", "body"])) as app:
        with pytest.raises(UnrecordedRequest, match="the body is 'two', recorded is 'one'"):
            await app.post(url, content=b"two")
        assert (await app.patch(url, content=b"one")).status == 200, "the method does not count"


async def test_a_request_that_is_used_up(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    url = await record(path, "/x", "/x")
    async with component(FORWARD, outgoing=cassette(path)) as app:
        await app.post(f"{url}/x")
        await app.post(f"{url}/x")
        with pytest.raises(UnrecordedRequest, match=rf"POST {url}/x more often than .* has it: 2 times\n.*repeat=True"):
            await app.post(f"{url}/x")
    async with component(FORWARD, outgoing=cassette(path, repeat=True)) as app:
        assert [(await app.post(f"{url}/x")).status for _ in range(5)] == [200] * 5


async def test_repeated_requests_come_in_order(tmp_path: Path) -> None:
    count = 0

    async def answer(asked: Asked) -> Said:
        nonlocal count
        count += 1
        return Said(content=str(count).encode())

    path = tmp_path / "upstream.json"
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        url = server.url
        for target in ("/a", "/b", "/a", "/a"):
            await app.get(url + target)
    tape = cassette(path)
    async with component(FORWARD, outgoing=tape) as app:
        assert [await (await app.get(url + target)).text() for target in ("/a", "/a", "/b")] == ["1", "3", "2"]
        assert tape.unused == [f"GET {url}/a"]


async def test_mode_none_without_a_file(tmp_path: Path) -> None:
    async with upstream(echo) as server:
        async with component(FORWARD, outgoing=cassette(tmp_path / "x.json", mode="none")) as app:
            with pytest.raises(UnrecordedRequest, match="the file does not exist: run the test once"):
                await app.get(server.url)
        assert server.asked == []
    assert not (tmp_path / "x.json").exists()


async def test_mode_new_episodes(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    async with upstream(echo) as server:
        for targets in (["/a"], ["/b", "/a", "/b"]):
            async with component(FORWARD, outgoing=cassette(path, mode="new_episodes")) as app:
                for target in targets:
                    assert await (await app.get(server.url + target)).text() == target
        assert [asked.target for asked in server.asked] == ["/a", "/b", "/b"]
    assert len(interactions(path)) == 3


async def test_a_file_that_a_failed_block_would_have_written(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    async with upstream(echo) as server:
        with pytest.raises(RuntimeError, match="of the test"):
            async with component(FORWARD, outgoing=cassette(path)) as app:
                await app.get(server.url)
                raise RuntimeError("of the test")
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "one"}, "mode='one' is not one of once, none"),
        ({"match": ["uri"]}, "match='uri' is not one of url, method"),
    ],
)
def test_options_that_there_are_not(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cassette("x.json", **options)


# ---- equivalent requests ---------------------------------------------------------------------------------


async def test_requests_that_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    match = ["method", "path", "query", "body", "header:Accept"]
    kinds = [
        ("application/json", b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1}'),
        ("application/x-www-form-urlencoded", b"a=1&b=2", b"b=2&a=1"),
    ]
    async with upstream(echo) as server, component(FORWARD, outgoing=cassette(path, match=match)) as app:
        for kind, content, _ in kinds:
            await app.post(
                f"{server.url}/x?p=1&q=%32", content=content, headers={"content-type": kind, "accept": "a/b"}
            )
    async with component(FORWARD, outgoing=cassette(path, match=match)) as app:
        for kind, content, other in kinds:
            headers = {"content-type": kind, "accept": "a/b"}
            response = await app.post(f"{NOWHERE}/x?q=2&p=1", content=other, headers=headers)
            assert await response.read() == content
        with pytest.raises(UnrecordedRequest, match="the header:Accept is c/d, recorded is a/b"):
            await app.post(f"{NOWHERE}/x?q=2&p=1", content=other, headers=headers | {"accept": "c/d"})


async def test_many_guests_at_once(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"

    async def ask(app: App, url: str, number: int) -> None:
        answers[number] = await (await app.get(f"{url}/{number}")).text()

    async def ask_all(url: str) -> None:
        async with component(FORWARD, outgoing=cassette(path), max_instance_concurrent_reuse_count=1) as app:
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(ask, app, url, number)
            assert app.started > 1

    async with upstream(echo) as server:
        url = server.url
        for _ in range(2):
            answers: dict[int, str] = {}
            await ask_all(url)
            assert answers == {number: f"/{number}" for number in range(20)}
        assert len(server.asked) == 20


# ---- recorded again --------------------------------------------------------------------------------------


async def test_recording_again_changes_what_has_changed(tmp_path: Path) -> None:
    version, targets = 1, ["/a", "/b", "/c"]

    async def answer(asked: Asked) -> Said:
        content = f"{asked.target} {version if asked.target == '/b' else 0}"
        return Said(content=content.encode(), headers=[("date", f"day {version}"), ("x-run", str(version))])

    path = tmp_path / "upstream.json"
    async with upstream(answer) as server:

        async def again() -> list[str]:
            tape = cassette(path, mode="all", varying=["Date", "x-run"])
            async with component(FORWARD, outgoing=tape) as app:
                for target in targets:
                    await app.get(server.url + target)
                assert tape.unused == []
            return path.read_text().splitlines()

        first = await again()
        targets.reverse()
        assert await again() == first, "neither their order nor the date is news"
        version = 2
        second = await again()
        assert {new for old, new in zip(first, second, strict=True) if old != new} == {
            '          "date: day 2",',
            '          "x-run: 2",',
            '          "text": "/b 2"',
        }
        targets = ["/d", "/a"]
        await again()
    assert [item["request"]["url"].rpartition("/")[2] for item in interactions(path)] == ["a", "d"]


async def test_two_cassettes_of_one_file_at_once(tmp_path: Path) -> None:
    """Saving the second cassette would drop the interactions of the first."""
    path = tmp_path / "upstream.json"
    async with upstream(echo) as server:
        with pytest.raises(CassetteError, match=r"another cassette wrote .* at the same time: give each its own file"):
            async with component(FORWARD, outgoing=cassette(path, mode="new_episodes")) as app:
                await app.get(f"{server.url}/one")
                async with component(FORWARD, outgoing=cassette(path, mode="new_episodes")) as other:
                    await other.get(f"{server.url}/other")
    assert [item["request"]["url"].rpartition("/")[2] for item in interactions(path)] == ["other"]


async def test_a_response_to_get_answers_head(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    async with upstream(echo) as server, component(FORWARD, outgoing=cassette(path)) as app:
        await app.get(f"{server.url}/x")
    async with component(FORWARD, outgoing=cassette(path, match=["path"])) as app:
        response = await app.head(f"{NOWHERE}/x")
        assert (response.headers["content-length"], await response.read()) == ("2", b"")


async def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    async with upstream(echo) as server:
        for path, message in (("folder", "cannot read .*folder: Is a directory"), ("file/x", "cannot .*: Not a dir")):
            with pytest.raises(CassetteError, match=message):
                async with component(FORWARD, outgoing=cassette(tmp_path / path)) as app:
                    await app.get(server.url)


async def test_a_clock_that_jumps_waits_while_recording(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Otherwise all timeouts would expire as soon as all tasks wait for the network."""
    more = trio.Event()

    async def answer(asked: Asked) -> Said:
        await trio.to_thread.run_sync(lambda: None)
        return Said(content=[b"a", b"b"], after_first=more)

    path = tmp_path / "upstream.json"
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        async with app.stream("GET", server.url) as response:
            pieces = aiter(response)
            assert await anext(pieces) == b"a"
            await trio.testing.wait_all_tasks_blocked()
            assert autojump_clock.rate == 1
            more.set()
            assert await anext(pieces) == b"b"
            assert [piece async for piece in pieces] == []
        await app.idle()
        assert (autojump_clock.rate, autojump_clock.autojump_threshold) == (0, 0)
    assert interactions(path)[0]["response"]["content"] == {"text": "ab"}


# ---- files that people have edited -----------------------------------------------------------------------

GOOD: dict[str, Any] = {"request": {"method": "GET", "url": "http://upstream.test/"}, "response": {"status": 200}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<<<<<<< HEAD", "line 1: this is not JSON"),
        ("[]", "is not a cassette: it has no member"),
        ('{"wasi_trio cassette": 9}', "is a cassette of version 9; this release reads 1"),
        ('{"wasi_trio cassette": 1}', "'interactions' must be a list"),
        ([3], "interaction 1 must be an object"),
        ([GOOD, {}], "interaction 2: 'request' must be an object"),
        ([GOOD | {"response": {"status": "200"}}], "interaction 1, response: 'status' must be a number"),
        ([GOOD | {"response": {"status": 99}}], "interaction 1, response: 99 is not the status of a response"),
        ([{"request": GOOD["request"]}], "interaction 1 has neither a response nor an error"),
        ([{"request": GOOD["request"], "error": {"code": "no"}}], "error: no is not an error-code of wasi:http"),
        ([{"request": GOOD["request"], "error": {"code": "DNS-error", "value": 3}}], "must be an object with rcode"),
        ([{"request": {"method": "GET"}, "response": {"status": 200}}], "request: 'url' must be a string"),
        ([GOOD | {"response": {"status": 200, "headers": ["x"]}}], 'must be a string such as "name: value"'),
        ([GOOD | {"response": {"status": 200, "content": {}}}], "must have one of 'json', 'text' and 'base64'"),
        ([GOOD | {"response": {"status": 200, "content": {"base64": "?"}}}], "this is not base64"),
        ([GOOD | {"response": {"status": 200, "content": {"text": 3}}}], "'text' must be a string or a list of lines"),
        ([GOOD | {"response": {"status": 200, "content": {"text": "", "coding": "br"}}}], "br is not one of gzip"),
    ],
)
async def test_a_file_that_is_broken(tmp_path: Path, text: object, message: str) -> None:
    path = tmp_path / "upstream.json"
    if not isinstance(text, str):
        text = json.dumps({"wasi_trio cassette": 1, "interactions": text})
    path.write_text(text)
    async with component(FORWARD, outgoing=cassette(path)) as app:
        with pytest.raises(CassetteError) as caught:
            await app.get(f"{NOWHERE}/")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_every_error_with_a_value_survives(tmp_path: Path) -> None:
    from wasi_trio.testing._cassette_file import dump, parse
    from wasi_trio.testing._interactions import Interaction, RecordedRequest
    from wasi_trio.wasi.http import HttpError
    from wasi_trio.wasi.http._errors import DNSErrorPayload, FieldSizePayload, TLSAlertReceivedPayload

    failures = [
        HttpError("DNS-error", DNSErrorPayload("NXDOMAIN", 3)),
        HttpError("TLS-alert-received", TLSAlertReceivedPayload(70, "protocol version")),
        HttpError("HTTP-response-header-size", FieldSizePayload("x", 3)),
        HttpError("HTTP-response-body-size", 9),
        HttpError("internal-error", "why"),
        HttpError("loop-detected"),
    ]
    text = dump(Interaction(RecordedRequest("GET", "http://x/", []), None, failure) for failure in failures)
    found = parse(text.encode(), tmp_path / "x.json")
    assert [item.failure.code for item in found if item.failure] == [failure.code for failure in failures]


# ---- all users of outgoing= ------------------------------------------------------------------------------


async def test_behind_a_real_server(tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    guest = build("python_p3")
    async with upstream(echo) as target:
        url = target.url
        async with server(guest, outgoing=cassette(path)) as live:
            assert await fetched(live.port, f"/proxy?url={url}/x") == b"/x"
    async with server(guest, outgoing=cassette(path)) as live:
        assert await fetched(live.port, f"/proxy?url={url}/x") == b"/x"


async def fetched(port: int, target: str) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET {target} HTTP/1.0\r\nhost: x\r\n\r\n".encode())
        received = b"".join([piece async for piece in stream])
    return received.partition(b"\r\n\r\n")[2]


async def test_behind_routes(tmp_path: Path) -> None:
    (tmp_path / "forward.wat").write_text(FORWARD)
    table = f"[[wasi_trio.route]]\nhost = '127.0.0.1'\ncomponent = '{tmp_path}/forward.wat'\n"
    (tmp_path / "routes.toml").write_text(table)
    path = tmp_path / "upstream.json"
    async with upstream(echo) as target:
        url = target.url
        async with routes(tmp_path / "routes.toml", outgoing=cassette(path)) as app:
            assert await (await app.get(f"{url}/x")).read() == b"/x"
    async with routes(tmp_path / "routes.toml", outgoing=cassette(path)) as app:
        assert await (await app.get(f"{url}/x")).read() == b"/x"


class Saved(Tape):
    """A tape that counts the calls of ``save``."""

    def __init__(self) -> None:
        self.count = 0

    async def send(self, *arguments: object) -> Response:
        raise AssertionError("these guests ask for nothing")

    def save(self) -> None:
        self.count += 1


async def test_commands_and_exports_save_when_they_end_well() -> None:
    tape = Saved()
    assert (await run(wat.source("command"), ["both"], outgoing=tape)).stdout
    assert tape.count == 1
    async with exports((HERE / "math.wat").read_text(), outgoing=tape) as app:
        assert await app.call("math.add", 1, 2) == 3
    assert tape.count == 2
    with pytest.raises(Trap):
        await run(TRAPS, outgoing=tape)
    with pytest.raises(RuntimeError):
        async with exports((HERE / "math.wat").read_text(), outgoing=tape):
            raise RuntimeError
    assert tape.count == 2


TRAPS = """(component
  (core module $M (func (export "run") (result i32) unreachable))
  (core instance $m (instantiate $M))
  (func $run (result (result)) (canon lift (core func $m "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))"""
