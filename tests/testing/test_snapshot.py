"""Responses as text for snapshots."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.guests import wat
from tests.guests.build import build
from wasi_trio.testing import Answer, OutgoingRequest, component
from wasi_trio.testing._snapshot import snapshot

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
FORWARD = wat.source("p3_forward")
ITEMS = {"id": 7, "items": [{"id": "a1", "at": "12:00"}, {"id": "b2", "at": "13:00", "sub": {"id": 9}}], "ü": "x"}


async def taken(answer: Answer, *varying: str | re.Pattern[str]) -> str:
    """Return the snapshot of a response that a guest forwards."""

    async def outgoing(request: OutgoingRequest) -> Answer:
        return answer

    async with component(FORWARD, outgoing=outgoing) as app:
        return await (await app.get("http://upstream.test/")).snapshot(*varying)


async def test_fields_as_they_were_sent() -> None:
    headers = [("X-Z", "1"), ("date", "today"), ("x-a", "2"), ("x-z", "3"), ("X-Request-ID", "f00")]
    assert (await taken(Answer(201, "one\ntwo\n", headers=headers))).splitlines() == [
        "201",
        "X-Z: 1",
        "date: <date>",
        "x-a: 2",
        "x-z: 3",
        "X-Request-ID: <x-request-id>",
        "content-length: 8",
        "",
        "one",
        "two",
        "",
    ]


async def test_json_is_indented_and_what_varies_is_replaced() -> None:
    said = await taken(Answer(json=ITEMS), "$.id", "$.items[*].id", "AT", re.compile(r"x(?=\")"))
    head, _, content = said.partition("\n\n")
    assert head.splitlines() == ["200", "content-type: application/json", "content-length: <content-length>"]
    assert json.loads(content) == {
        "id": "<$.id>",
        "items": [
            {"id": "<$.items[*].id>", "at": "<at>"},
            {"id": "<$.items[*].id>", "at": "<at>", "sub": {"id": 9}},
        ],
        "ü": "<varies>",
    }
    assert '\n      "id": "<$.items[*].id>",\n' in content
    assert "content-length: 1" in await taken(Answer(json=ITEMS)), "nothing of it varies"


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("$..id", 4),
        ("$.items[0].id", 1),
        ("$.items[-1].sub.id", 1),
        ("$.items.*.id", 2),
        ("$.*", 3),
        ("$['items'][1]['sub']", 1),
        ('$["ü"]', 1),
        ("$.items", 1),
        ("$.items[5].id", 0),
        ("$.nothing.at.all", 0),
        ("$.id.of", 0),
        ("$.items.id", 0),
    ],
)
async def test_json_paths(path: str, count: int) -> None:
    assert (await taken(Answer(json=ITEMS), path)).count(f"<{path}>".replace('"', '\\"')) == count


@pytest.mark.parametrize("path", ["$", "$id", "$.", "$.a[", "$.a[x]", "$..[0]", "$.a[?(@.b)]"])
async def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(repr(path))} is"):
        await taken(Answer(json=ITEMS), path)


async def test_expressions_everywhere() -> None:
    answer = Answer(content=_pieces(b"at 0x7f, by 9"), headers={"x-at": "0x11"}, trailers={"x-sum": "0x2"})
    assert await taken(answer, re.compile(r"(?P<address>0x\w+)"), re.compile(r"\bby \d")) == (
        "200\nx-at: <address>\n\nat <address>, <varies>\n\nx-sum: <address>\n"
    )


async def _pieces(*pieces: bytes) -> Any:
    for piece in pieces:
        yield piece


async def test_content_that_is_no_text() -> None:
    said = await taken(Answer(content=bytes(range(256))))
    assert "\n\n256 bytes:\nAAECAwQF" in said
    assert max(map(len, said.splitlines())) == 76


async def test_compressed_content() -> None:
    answer = Answer(
        content=gzip.compress(b'{"a": 1}'), headers={"content-encoding": "gzip", "content-type": "a/b+json"}
    )
    assert '\n\n{\n  "a": 1\n}\n' in await taken(answer)
    unknown = Answer(content=b"\xff", headers={"content-encoding": "br"})
    assert "1 byte:\n/w==" in await taken(unknown)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'"' + b"\xff" + b'"'])
def test_json_that_is_none(content: bytes) -> None:
    said = snapshot(200, [("content-type", b"application/json; charset=utf-8")], content, [], ["$.a", "b"])
    assert said.startswith("200\ncontent-type: application/json; charset=utf-8\n")


async def test_a_response_that_streams() -> None:
    async with component(build("python_p3")) as app, app.stream("POST", "/echo", content=b"later") as response:
        assert (await response.snapshot()).endswith("\n\nlater\n")


def test_with_syrupy(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("syrupy", reason="syrupy, which keeps the snapshots, is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (pytester.path / "hello.wat").write_text(wat.source("hello"))
    pytester.makefile(".ini", pytest="[pytest]\ntrio_mode = true\n")
    pytester.makepyfile(
        test_it="""
        async def test_hello(wasi_component, snapshot):
            app = await wasi_component("hello.wat")
            assert await (await app.get("/")).snapshot() == snapshot
        """
    )

    def run(*arguments: str) -> pytest.RunResult:
        plugins = ["-p", "pytest_trio.plugin", "-p", "wasi_trio.testing.plugin", "-p", "syrupy"]
        return pytester.runpytest_subprocess(*plugins, *arguments)

    run().assert_outcomes(failed=1)
    run("--snapshot-update").assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)
    (kept,) = (pytester.path / "__snapshots__").iterdir()
    assert "Hello, world!" in kept.read_text()
