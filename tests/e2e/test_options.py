"""An operator's options: timeouts, concurrency, reuse of instances, headers, output and environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.e2e.process import command, on_disk
from tests.e2e.support import called, guest, serve
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request

HOUR = "/3600000"


async def test_a_waiting_guest_has_its_deadline(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    options = HandlerOptions(request_timeout=0.5, max_instance_reuse_count=9)
    async with serve("sleep", options) as site, site.client() as client:
        await client.start(HOUR)
        await called(site, 1)
        mock_clock.jump(0.5)
        answer = await client.rest(await client.head())
        assert (answer.status, answer.body) == (504, b"Gateway Timeout\n")
        assert "no response within 0.5 s" in caplog.text
        mock_clock.rate = 1
        await site.all_gone()
        mock_clock.rate = 0
        assert (await site.ask("/0")).status == 200
        assert site.handler.started == 2


async def test_a_begun_response_has_no_deadline(mock_clock: trio.testing.MockClock) -> None:
    async with serve("endless_body", HandlerOptions(request_timeout=0.5)) as site, site.client() as client:
        await client.start("/")
        assert (await client.head()).status == 200
        assert await client.content(6) == b"begun\n"
        mock_clock.jump(1)
        mock_clock.rate = 1
        with trio.move_on_after(1):  # an absent event cannot be awaited
            await client.event()
            pytest.fail("the response went on, or ended")
        assert site.live == 1


async def test_a_queued_request_has_its_deadline(mock_clock: trio.testing.MockClock) -> None:
    options = HandlerOptions(request_timeout=1, max_concurrent_requests=1)
    async with serve("endless_body", options) as site, site.client() as client:
        await client.start("/")
        assert (await client.head()).status == 200
        async with site.client() as queued:
            await queued.start("/")
            while not site.handler.waiting:
                await trio.lowlevel.checkpoint()
            mock_clock.jump(1)
            assert (await queued.head()).status == 504
        assert site.handler.started == 1


async def test_the_limit_of_concurrent_requests() -> None:
    async with serve("python_p2", HandlerOptions(max_concurrent_requests=2)) as site:
        answered = trio.Event()

        async def hello() -> None:
            assert (await site.ask("/hello")).status == 200
            answered.set()

        async with site.client() as one, site.client() as other, trio.open_nursery() as nursery:
            await one.start("/endless")
            await other.start("/endless")
            await one.head()
            await other.head()
            nursery.start_soon(hello)
            await trio.testing.wait_all_tasks_blocked()
            assert (site.handler.active, site.handler.started) == (2, 2)
            assert not answered.is_set()
            await trio.aclose_forcefully(one.stream)
            await answered.wait()


@pytest.mark.parametrize(("reuse", "counts"), [(None, "111111"), (1, "111111"), (4, "123412"), (100, "123456")])
async def test_the_reuse_count_of_instances(reuse: int | None, counts: str) -> None:
    async with serve("counter", HandlerOptions(max_instance_reuse_count=reuse)) as site:
        answers = [(await site.ask()).body.decode().strip() for _ in counts]
        assert "".join(answers) == counts


async def test_one_request_at_a_time_for_each_instance() -> None:
    """Simultaneous requests get separate instances, which are reused when idle."""
    async with serve("sleep", HandlerOptions(max_instance_reuse_count=100)) as site:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(site.ask, "/1")
        assert len(set(site.instances)) == site.handler.started <= 10
        started = site.handler.started
        for _ in range(10):
            assert (await site.ask("/0")).status == 200
        assert site.handler.started == started


async def test_an_idle_instance_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """This test uses no socket, so that the clock can jump."""
    async with ProxyHandler(
        guest("counter"), HandlerOptions(max_instance_reuse_count=100, idle_instance_timeout=5)
    ) as handler:
        for pause, count in ((4, b"1\n"), (4, b"2\n"), (6, b"3\n"), (0, b"1\n")):
            response = await handler.handle(Request("GET", "http", "x", "/", [], Body.empty()))
            assert await response.body.receive_some() == count
            await trio.sleep(pause)


async def test_headers_added_to_every_request() -> None:
    headers = [(b"x-one", b"1"), (b"x-one", b"2"), (b"host", b"inner.test")]
    async with serve("python_p2", headers=headers) as site:
        told = json.loads((await site.ask("/headers", "GET", b"", ("X-One", "from outside"), ("x-two", "3"))).body)
    assert told["authority"] == "inner.test"
    assert [value for name, value in told["headers"] if name == "x-one"] == ["1", "2"]
    assert ["x-two", "3"] in told["headers"]


async def test_head() -> None:
    async with serve("python_p2") as site, site.client() as client:
        for path, length in (("/hello", None), ("/answer?body=12345&length=5", "5")):
            answer = await client.ask(path, "HEAD")
            assert (answer.status, answer.body, answer.cut) == (200, b"", False)
            assert answer.headers.get("content-length") == length
            assert "transfer-encoding" not in answer.headers or length is None
        # the connection is still usable
        assert (await client.ask("/hello")).body == b"Hello, world!\n"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_content(status: int) -> None:
    async with serve("python_p2") as site, site.client() as client:
        answer = await client.ask(f"/answer?status={status}&body=never+sent")
        assert (answer.status, answer.body, answer.cut) == (status, b"", False)
        if status == 204:
            assert not {"content-length", "transfer-encoding"} & answer.headers.keys()
        assert (await client.ask("/hello")).body == b"Hello, world!\n"


@pytest.mark.parametrize("status", [201, 299, 404, 418, 500, 599])
async def test_any_other_status(status: int) -> None:
    async with serve("python_p2") as site:
        answer = await site.ask(f"/answer?status={status}&body=text")
        assert (answer.status, answer.body) == (status, b"text")


async def test_content_length(caplog: pytest.LogCaptureFixture) -> None:
    async with serve("python_p2") as site:
        answer = await site.ask("/answer?body=12345&length=5")
        assert (answer.headers["content-length"], answer.body) == ("5", b"12345")
        assert "transfer-encoding" not in answer.headers
        answer = await site.ask("/answer?length=0")
        assert (answer.headers["content-length"], answer.body, answer.cut) == ("0", b"", False)
        for length in ("4", "6"):
            caplog.clear()
            answer = await site.ask(f"/answer?body=12345&length={length}")
            assert answer.status == 500 or answer.cut
            assert caplog.records
        assert (await site.ask("/hello")).status == 200


OUTPUT = ["a line on stdout", "another line on stdout"], ["a line on stderr"]


@pytest.mark.parametrize("prefixed", [True, False])
async def test_output_of_guests(prefixed: bool, tmp_path: Path) -> None:
    options = [] if prefixed else ["--no-logging-prefix"]
    async with command(tmp_path, on_disk(tmp_path, "python_p2"), *options) as server:
        for _ in range(2):
            assert (await server.ask("/stdout")).body == b"printed\n"
        for number in (1, 2):
            for stream, name, lines in zip((server.stdout, server.stderr), ("stdout", "stderr"), OUTPUT, strict=True):
                prefix = f"{name} [{number}] :: " if prefixed else ""
                printed = [line for line in stream.splitlines() if "a" in line]
                for line in lines:
                    assert printed.count(prefix + line) == (1 if prefixed else 2), stream


async def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "here")
    monkeypatch.delenv("ABSENT", raising=False)
    options = ["--env=ONE=1", "--env", "TWO=a=b", "--env", "EMPTY=", "--env", "INHERITED", "--env", "ABSENT"]
    async with command(tmp_path, on_disk(tmp_path, "python_p2"), *options) as server:
        told = json.loads((await server.ask("/env")).body)
    given = {"ONE": "1", "TWO": "a=b", "EMPTY": "", "INHERITED": "here"}
    assert told["environment"] == given, "and nothing of the server's own"


async def test_the_limits_on_the_command_line(tmp_path: Path) -> None:
    options = ["--request-timeout", "100ms", "--max-concurrent-requests", "1", "--max-instance-reuse-count", "2"]
    async with command(tmp_path, on_disk(tmp_path, "sleep"), *options) as server:
        assert (await server.ask(HOUR)).status == 504
        assert (await server.ask("/0")).status == 200
        await server.said("no response within 0.1 s")
