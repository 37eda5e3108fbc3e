"""Static files over real sockets, from a real folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
import trio

from tests.e2e.support import until
from tests.serve.support import connect, get, read_until, serving
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.filesystem._volumes import Volume

pytest.importorskip("werkzeug", reason="static files need werkzeug, which a newer environment has")

from wasi_trio.serve.routing._conditions import MAX_LENGTH, Representation, judge
from wasi_trio.serve.routing._static import StaticFiles

TEXT = b"0123456789" * 10
#: More than one read.
LARGE = bytes(range(256)) * 12_000


@pytest.fixture(params=["on the loop", "in threads"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a fast disk, and one treated like a slow disk."""
    if request.param == "in threads":
        monkeypatch.setattr(Volume, "quick", property(lambda volume: False))
    root = tmp_path / "public"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".well-known").mkdir()
    (root / "empty").mkdir()
    (root / "a.txt").write_bytes(TEXT)
    (root / "large.bin").write_bytes(LARGE)
    (root / "none.css").touch()
    (root / "a b\u00e9.html").write_bytes(b"spaces")
    (root / "index.html").write_bytes(b"<p>index")
    (root / "sub/index.html").write_bytes(b"<p>sub")
    (root / ".env").write_bytes(b"SECRET=1")
    (root / ".git/config").write_bytes(b"secret")
    (root / ".well-known/security.txt").write_bytes(b"contact")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (root / "inside").symlink_to("a.txt")
    (root / "outside").symlink_to("../secret.txt")
    (root / "absolute").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to("..")
    os.mkfifo(root / "pipe")
    return root


@asynccontextmanager
async def files(folder: Path, prefix: str = "", **options: object) -> AsyncIterator[int]:
    async with (
        StaticFiles(Preopen(folder), prefix, HandlerOptions(**options)) as handler,  # type: ignore[arg-type]
        serving(HandlerService(handler, adds_date=False)) as port,
    ):
        yield port


def sparse(folder: Path) -> Path:
    """Create a sparse file that is larger than the buffers of sockets and bodies."""
    path = folder / "big"
    with open(path, "wb") as file:
        file.truncate(64 << 20)
    return path


def parsed(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, content = response.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert len(fields) == len(lines), "no field comes twice"
    return int(first.split()[1]), fields, content


async def ask(port: int, path: str, *headers: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    return parsed(await get(port, path, *headers, method=method))


async def test_files_in_the_folder(folder: Path) -> None:
    async with files(folder) as port:
        for path, content, kind in [
            ("/a.txt", TEXT, "text/plain; charset=utf-8"),
            ("/a.txt?v=1", TEXT, "text/plain; charset=utf-8"),
            ("/large.bin", LARGE, "application/octet-stream"),
            ("/none.css", b"", "text/css; charset=utf-8"),
            ("/a%20b%C3%A9.html", b"spaces", "text/html; charset=utf-8"),
            ("/", b"<p>index", "text/html; charset=utf-8"),
            ("/sub/", b"<p>sub", "text/html; charset=utf-8"),
            ("/inside", TEXT, "application/octet-stream"),
            ("/.well-known/security.txt", b"contact", "text/plain; charset=utf-8"),
        ]:
            status, fields, body = await ask(port, path)
            assert (status, body) == (200, content), path
            assert fields["content-type"] == kind
            assert fields["content-length"] == str(len(content))
            assert fields["x-content-type-options"] == "nosniff"
            head = await ask(port, path, method="HEAD")
            assert head == (200, fields, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/none",
        "/a.txt/",
        "/a.txt/x",
        "/sub/none",
        "/empty/",
        "/outside",
        "/absolute",
        "/up/secret.txt",
        "/up/public/a.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/sub/../a.txt",
        "/./a.txt",
        "//a.txt",
        "/sub//index.html",
        "/sub%2Findex.html",
        "/..%2fsecret.txt",
        "/a.txt%00",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/pipe",
        "/%ff",
        "/" + "x" * 5000,
        "/" + "x/" * 3000,
    ],
)
async def test_paths_that_are_not_found(folder: Path, path: str) -> None:
    async with files(folder) as port:
        status, fields, body = await ask(port, path)
        assert (status, body) == (404, b"Not Found\n")
        assert "etag" not in fields


async def test_a_folder_without_a_slash(folder: Path) -> None:
    """The redirect is relative, because the client may see another path in front."""
    async with files(folder, "/static") as port:
        status, fields, body = await ask(port, "/static/sub")
        assert (status, fields["location"], body) == (308, "./sub/", b"Permanent Redirect\n")
        assert (await ask(port, "/static"))[1]["location"] == "./static/"
        assert (await ask(port, "/static/"))[2] == b"<p>index"
        assert (await ask(port, "/static/a.txt"))[2] == TEXT
        assert (await ask(port, "/static/empty"))[0] == 308


async def test_other_methods(folder: Path) -> None:
    async with files(folder) as port:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            status, fields, _ = await ask(port, "/a.txt", method=method)
            assert (status, fields["allow"]) == (405, "GET, HEAD")


async def test_ranges(folder: Path) -> None:
    async with files(folder) as port:
        for wanted, start, end in [
            ("bytes=0-0", 0, 1),
            ("bytes=5-9", 5, 10),
            ("bytes=95-", 95, 100),
            ("bytes=-5", 95, 100),
            ("bytes=90-500", 90, 100),
            ("bytes=-500", 0, 100),
        ]:
            status, fields, body = await ask(port, "/a.txt", f"range: {wanted}")
            assert (status, body) == (206, TEXT[start:end]), wanted
            assert fields["content-range"] == f"bytes {start}-{end - 1}/100"
            assert fields["content-length"] == str(end - start)
        for ignored in ("bytes=5-2", "bytes=a-b", "pages=1-2", "bytes", "bytes=0-1,5-6"):
            assert (await ask(port, "/a.txt", f"range: {ignored}"))[::2] == (200, TEXT), ignored
        status, fields, _ = await ask(port, "/a.txt", "range: bytes=100-")
        assert (status, fields["content-range"]) == (416, "bytes */100")
        # A range that takes several reads, and begins in the middle.
        status, _, body = await ask(port, "/large.bin", "range: bytes=1000-2999999")
        assert (status, body) == (206, LARGE[1000:3000000])
        # Ranges only apply to GET (section 14.2).
        assert (await ask(port, "/a.txt", "range: bytes=0-0", method="HEAD"))[0] == 200


async def test_conditions(folder: Path) -> None:
    os.utime(folder / "a.txt", (1e9, 1e9))
    async with files(folder) as port:
        _, fields, _ = await ask(port, "/a.txt")
        tag, date = fields["etag"], fields["last-modified"]
        before = formatdate(0, usegmt=True)
        after = formatdate(4e9, usegmt=True)
        for headers, expected in [
            ([f"if-none-match: {tag}"], 304),
            ([f"if-none-match: W/{tag}"], 304),
            ([f'if-none-match: "x", {tag}'], 304),
            (['if-none-match: "x"', f"if-none-match: {tag}"], 304),
            (["if-none-match: *"], 304),
            (['if-none-match: "x"'], 200),
            (['if-none-match: "x"', f"if-modified-since: {after}"], 200),
            ([f"if-modified-since: {date}"], 304),
            ([f"if-modified-since: {before}"], 200),
            (["if-modified-since: soon"], 200),
            ([f"if-match: {tag}"], 200),
            (["if-match: *"], 200),
            ([f"if-match: W/{tag}"], 412),
            (['if-match: "x"'], 412),
            ([f"if-unmodified-since: {date}"], 200),
            ([f"if-unmodified-since: {before}"], 412),
            ([f"if-match: {tag}", f"if-unmodified-since: {before}"], 200),
            ([f"if-match: {tag}", f"if-none-match: {tag}"], 304),
            (["range: bytes=0-4", f"if-range: {tag}"], 206),
            (["range: bytes=0-4", f"if-range: {date}"], 206),
            (["range: bytes=0-4", 'if-range: "x"'], 200),
            # Only strong validators, and only the same date (section 13.1.5).
            (["range: bytes=0-4", f"if-range: W/{tag}"], 200),
            (["range: bytes=0-4", f"if-range: {tag}, {tag}"], 200),
            (["range: bytes=0-4", f"if-range: {after}"], 200),
            (["range: bytes=0-4", f"if-range: {before}"], 200),
            (["range: bytes=0-4", "if-range: soon"], 200),
            (["range: bytes=0-4", "if-range:"], 200),
            (["range: bytes=0-4", f"if-none-match: {tag}"], 304),
            (["range: bytes=0-4", 'if-match: "x"'], 412),
        ]:
            status, found, body = await ask(port, "/a.txt", *headers)
            assert status == expected, headers
            assert (found["etag"], found["last-modified"]) == (tag, date)
            if expected == 304:
                assert body == b"" and "content-type" not in found
        (folder / "a.txt").write_bytes(b"another")
        status, fields, body = await ask(port, "/a.txt", f"if-none-match: {tag}")
        assert (status, body) == (200, b"another")
        assert fields["etag"] != tag


async def test_a_date_that_may_be_that_of_two_files(folder: Path) -> None:
    """Within its second, a file may change without another date (RFC 9110, section 8.8.2.2)."""
    async with files(folder) as port:
        for modified, expected in [(time.time() + 60, 200), (time.time() - 60, 206)]:
            os.utime(folder / "a.txt", (modified, modified))
            _, fields, _ = await ask(port, "/a.txt")
            date, tag = fields["last-modified"], fields["etag"]
            assert (await ask(port, "/a.txt", "range: bytes=0-4", f"if-range: {date}"))[0] == expected
            assert (await ask(port, "/a.txt", "range: bytes=0-4", f"if-range: {tag}"))[0] == 206


def test_long_conditions_are_ignored() -> None:
    """Parsing takes quadratic time."""
    what = Representation(10, 10**18)
    for name in ("if-none-match", "if-match", "if-range", "range"):
        hostile = [(name, b'"x,' * 20_000), ("range", b"bytes=0-1")][: 1 if name == "range" else 2]
        assert judge("GET", hostile, what).status == (200 if name in ("range", "if-range") else 206)
    assert judge(
        "GET", [("if-none-match", b'"x", ' * (MAX_LENGTH // 5 - 4) + b'"' + what.tag.encode() + b'"')], what
    ).status


async def test_a_truncated_file_cuts_its_response(folder: Path) -> None:
    async with files(folder) as port, await connect(port) as stream:
        big = sparse(folder)
        await stream.send_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        await read_until(stream, b"\r\n\r\n")
        os.truncate(big, 1000)
        received = 0
        with contextlib.suppress(trio.BrokenResourceError):
            while piece := await stream.receive_some():
                received += len(piece)
        assert received < 64 << 20


async def test_a_client_that_leaves(folder: Path) -> None:
    """The file opened for it is closed."""
    sparse(folder)
    async with (
        StaticFiles(Preopen(folder), "", HandlerOptions()) as handler,
        serving(HandlerService(handler)) as port,
    ):
        async with await connect(port) as stream:
            await stream.send_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
            await read_until(stream, b"\r\n\r\n")
            assert handler._files.count == 1
        await until(lambda: not handler._files.count)


async def test_the_limit_of_open_files(folder: Path) -> None:
    async with (
        StaticFiles(Preopen(folder), "", HandlerOptions()) as handler,
        serving(HandlerService(handler)) as port,
    ):
        handler._files.limit = 0
        status, fields, _ = await ask(port, "/a.txt")
        assert (status, fields["retry-after"]) == (503, "1")
        handler._files.limit = 10
        assert (await ask(port, "/a.txt"))[0] == 200


async def test_the_folder_stays_the_same(folder: Path) -> None:
    """As with a guest's folder, replacing it or its link has no effect until the route is loaded again."""
    async with files(folder) as port:
        shutil.move(folder, folder.with_name("moved"))
        os.symlink("/etc", folder)
        assert (await ask(port, "/a.txt"))[2] == TEXT
        assert (await ask(port, "/passwd"))[0] == 404


async def test_shutdown_waits_for_responses(folder: Path) -> None:
    async with (
        StaticFiles(Preopen(folder), "", HandlerOptions(drain_timeout=30.0)) as handler,
        serving(HandlerService(handler)) as port,
        await connect(port) as stream,
    ):
        await stream.send_all(b"GET /large.bin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        first = await stream.receive_some(1)
        handler.begin_to_drain()
        rest = b"".join([piece async for piece in stream])
        assert parsed(first + rest)[2] == LARGE


async def test_metrics(folder: Path) -> None:
    metrics = Metrics()
    metrics.routed = True
    async with files(folder, metrics=metrics, route="/files", generation=1) as port:
        for path in ("/a.txt", "/large.bin", "/none"):
            await ask(port, path)
        await ask(port, "/a.txt", method="HEAD")
    text = metrics.exposition().decode()
    name = f'component="{folder}",outcome="ok",route="/files"'
    assert f'wasi_trio_requests_total{{{name},status="2xx"}} 3.0' in text
    assert f'wasi_trio_requests_total{{{name},status="4xx"}} 1.0' in text
