"""Guests that fail in every way: a line in the log, a 500 or a cut response, and the next request is served."""

from __future__ import annotations

import pytest

from tests.e2e.support import logged, serve, told, until
from tests.guests import wat
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve.pool._options import HandlerOptions

FAMILIES = ("wild_pointer", "wild_length", "wild_value", "wild_handle", "wild_realloc", "broken_rule")

#: Small enough to be used up at once, and large enough for every well-behaved guest.
LIMITS = Limits(memory=16 << 20, table_elements=10_000, nested_seconds=0.05)


@pytest.mark.parametrize("reuse", [1, 1000])
@pytest.mark.parametrize("family", FAMILIES)
async def test_wild_calls(family: str, reuse: int, caplog: pytest.LogCaptureFixture) -> None:
    """One server handles all cases of a family. Its instances would be reused without the traps."""
    options = HandlerOptions(limits=LIMITS, max_instance_reuse_count=reuse)
    async with serve(family, options) as site:
        for number, case in enumerate(wat.cases(family)):
            caplog.clear()
            answer = await site.ask(f"/{number}", "POST", b"a request's body")
            if case.startswith("fine"):
                assert (answer.status, answer.body, answer.cut) == (200, b"survived\n", False), case
                assert not logged(caplog), case
            elif not case.startswith("may-"):
                assert answer.status == 500 or answer.cut, case
                assert b"survived" not in answer.body, case
                await until(lambda: told(caplog, "trapped"))
            assert (await site.ask("/0")).body == b"survived\n", case
        await until(lambda: not site.handler.active)


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        ("trap", "/", "trapped: wasm trap: wasm `unreachable` instruction executed"),
        ("trap_in_start", "/", "could not be created"),
        ("no_response", "/", "returned without setting a response"),
        ("no_response", "/1", "dropped the response-outparam without setting it"),
        ("exit", "/", "exited with code 0"),
        ("exit", "/1", "exited with code 1"),
        ("grow_memory", "/1", "trapped"),
        ("spin_in_realloc", "/", "cannot be suspended"),
    ],
)
async def test_no_response_at_all(name: str, path: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(name, HandlerOptions(limits=LIMITS)) as site:
        for _ in range(3):
            caplog.clear()
            answer = await site.ask(path)
            assert answer.status == (503 if name == "trap_in_start" else 500)
            assert not answer.cut
            assert told(caplog, reason), logged(caplog)
        assert site.handler.started == 3
        await site.all_gone()


@pytest.mark.parametrize(
    ("name", "reason"), [("trap_after_headers", "trapped"), ("dropped_body", "broke off its response")]
)
async def test_a_cut_response(name: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """It depends on timing whether a part was sent. The client sees an error or a cut in either case."""
    async with serve(name) as site:
        for _ in range(3):
            caplog.clear()
            answer = await site.ask()
            assert answer.status == 500 or (answer.status, answer.cut) == (200, True)
            await until(lambda: any(reason in line for line in logged(caplog)))
        await site.all_gone()


async def test_a_path_cannot_forge_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serve("dropped_body") as site:
        await site.ask("/%0AERROR%20forged")
        await site.all_gone()
    about = [record.getMessage() for record in caplog.records if "forged" in record.getMessage()]
    assert about
    assert [line for line in about if "\n" in line] == []


async def test_setting_a_response_twice(caplog: pytest.LogCaptureFixture) -> None:
    """The second response traps. The first may have been sent completely or in part."""
    async with serve("set_twice") as site:
        for _ in range(3):
            caplog.clear()
            answer = await site.ask()
            assert answer.status == 500 or answer.cut or answer.body == b"once\n", answer.body
            await until(lambda: told(caplog, "trapped"))
        await site.all_gone()


@pytest.mark.parametrize("path", ["/", "/1"])
async def test_the_client_ends_an_endless_body(path: str) -> None:
    async with serve("endless_body") as site:
        async with site.client() as client:
            await client.start(path)
            assert (await client.head()).status == 200
            event = await client.event()
            assert event.data.startswith(b"begun\n")
            assert site.live == 1
            async with site.client() as other:
                await other.start(path)
                assert (await other.head()).status == 200
                assert site.live == 2
        await site.all_gone()


async def test_a_trap_in_post_return_does_not_affect_the_response(caplog: pytest.LogCaptureFixture) -> None:
    async with serve("trap_in_post_return", HandlerOptions(max_instance_reuse_count=10)) as site:
        for number in (1, 2, 3):
            caplog.clear()
            answer = await site.ask()
            assert (answer.status, answer.cut) == (200, False)
            await until(lambda: told(caplog, "trapped"))
            assert site.handler.started == number, "an instance that trapped is not used again"


async def test_exit_after_the_response(caplog: pytest.LogCaptureFixture) -> None:
    async with serve("exit", HandlerOptions(max_instance_reuse_count=10)) as site:
        for number in (1, 2):
            assert (await site.ask("/2")).body == b"goodbye\n"
            assert site.handler.started == number, "an instance that exited is not used again"
    assert not logged(caplog)


async def test_a_guest_that_handles_its_limits() -> None:
    async with serve("grow_memory", HandlerOptions(limits=LIMITS)) as site:
        answer = await site.ask("/")
        assert answer.status == 200
        assert 10 < int(answer.body) < 16
        answer = await site.ask("/2")
        assert (answer.status, int(answer.body)) == (200, 10)


async def test_a_trap_does_not_affect_other_instances() -> None:
    """An instance in the middle of a response continues while others trap."""
    async with serve("python_p2") as site, site.client() as client:
        await client.start("/echo", "POST", ("transfer-encoding", "chunked"))
        await client.write(b"before")
        answer = await client.head()
        assert await client.content(6) == b"before"
        for _ in range(3):
            assert (await site.ask("/trap")).status == 500
        await client.write(b"after")
        assert await client.content(5) == b"after"
        await client.end()
        assert not (await client.rest(answer)).cut
        assert (await site.ask("/hello")).status == 200
