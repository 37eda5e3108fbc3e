"""Several components behind one address: the real command line, real components and real sockets."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.cli.terminal import ran
from tests.e2e.process import Process, command, on_disk
from tests.e2e.support import Answer, Client
from tests.guests import wat

HELLO = b"Hello, world!\n"


async def ask(server: Process, path: str, host: str = "x.test", method: str = "GET", port: int = 0) -> Answer:
    """Return the raw response to a request for a host. h11 would refuse some paths."""
    client = Client(port or server.port)
    async with client:
        await client.stream.send_all(f"{method} {path} HTTP/1.0\r\nhost: {host}\r\n\r\n".encode("latin-1"))
        data = b"".join([piece async for piece in client.stream])
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    answer = Answer(int(lines[0].split()[1]), [tuple(line.split(b": ", 1)) for line in lines[1:]])  # type: ignore[misc]
    answer.body = body
    return answer


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


async def test_routes_on_the_command_line(tmp_path: Path) -> None:
    hello, counter, p3 = (on_disk(tmp_path, name) for name in ("hello", "counter", "p3_hello"))
    routes = ["--route", f"/count={counter}", "--route", f"*.b.test/three={p3}"]
    async with command(tmp_path, hello, *routes) as server:
        assert (await ask(server, "/")).body == HELLO
        assert (await ask(server, "/counter")).body == HELLO
        assert (await ask(server, "/count/x?y")).body == b"1\n"
        assert (await ask(server, "/count", method="HEAD")).status == 200
        assert (await ask(server, "/%63ount")).body == b"1\n"
        assert (await ask(server, "/x/../count")).status == 400
        assert (await ask(server, "/three", "A.B.TEST:80")).body == HELLO
        assert (await ask(server, "/count", "a.b.test")).body == b"1\n"
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


async def test_requests_without_a_route_are_not_found(tmp_path: Path) -> None:
    hello = on_disk(tmp_path, "hello")
    async with command(tmp_path, None, "--route", f"a.test/api={hello}") as server:
        assert (await ask(server, "/api", "a.test")).body == HELLO
        for path, host in (("/", "a.test"), ("/apix", "a.test"), ("/api", "b.test"), ("/..", "c.test")):
            answer = await ask(server, path, host)
            assert (answer.status, answer.body) == (404, b"Not Found\n")
            assert set(answer.headers) == {"content-type", "content-length", "date", "connection"}


async def test_routes_in_a_file(tmp_path: Path) -> None:
    """The file has routes with their own options, a chain, and files behind a component."""
    counter, sleep, echo, middleware = (
        on_disk(tmp_path, name) for name in ("counter", "sleep", "echo", "p3_middleware")
    )
    public = tmp_path / "public"
    public.mkdir()
    (public / "a.txt").write_text("a file")
    config = write(
        tmp_path,
        "wasi_trio.toml",
        f"""
        [wasi_trio]
        idle-instance-timeout = 60
        [[wasi_trio.route]]
        prefix = "/twice"
        component = "{counter}"
        max-instance-reuse-count = 2
        [[wasi_trio.route]]
        prefix = "/once"
        component = "{counter}"
        [[wasi_trio.route]]
        prefix = "/slow"
        component = "{sleep}"
        strip-prefix = true
        request-timeout = "100ms"
        [[wasi_trio.route]]
        host = "echo.test"
        component = ["{middleware}", "{echo}"]
        [[wasi_trio.route]]
        prefix = "/files"
        component = "{middleware}"
        files = "{public}"
        name = "site"
        """,
    )
    options = ["--hypercorn-config", str(config), "--admin-addr", "127.0.0.1:0"]
    async with command(tmp_path, None, *options) as server:
        assert [(await ask(server, "/twice")).body for _ in range(3)] == [b"1\n", b"2\n", b"1\n"]
        assert [(await ask(server, "/once")).body for _ in range(2)] == [b"1\n", b"1\n"]
        assert (await ask(server, "/slow/0")).body == b"slept\n"
        assert (await ask(server, "/slow/3600000")).status == 504
        for path, host, body in (("/files/a.txt", "x.test", b"a file"), ("/", "echo.test", b"")):
            answer = await ask(server, path, host)
            assert (answer.status, answer.headers["x-middleware"], answer.body) == (200, "passed", body)
        assert (await ask(server, "/files/../a")).status == 400
        metrics = (await ask(server, "/metrics", port=server.admin_port)).body.decode()
        for line in (
            f'requests_total{{component="{counter}",outcome="ok",route="/twice",status="2xx"}} 3.0',
            f'requests_total{{component="{counter}",outcome="ok",route="/once",status="2xx"}} 2.0',
            f'requests_total{{component="{sleep}",outcome="deadline",route="/slow",status="5xx"}} 1.0',
            f'requests_total{{component="{public}",outcome="ok",route="site",status="2xx"}} 1.0',
        ):
            assert f"wasi_trio_{line}" in metrics
        (process,) = json.loads((await ask(server, "/pool.json", port=server.admin_port)).body)["processes"]
        found = {(handler["route"], handler["component"], handler["generation"]) for handler in process["handlers"]}
        assert ("/twice", str(counter), 1) in found
        assert ("site", str(middleware), 1) in found
        assert len(found) == 6


async def test_several_workers(tmp_path: Path) -> None:
    hello, counter = on_disk(tmp_path, "hello"), on_disk(tmp_path, "counter")
    options = ["--workers", "2", "--route", f"/count={counter}", "--admin-addr", "127.0.0.1:0"]
    async with command(tmp_path, hello, *options) as server:
        for _ in range(10):
            assert (await ask(server, "/")).body == HELLO
            assert (await ask(server, "/count")).body == b"1\n"
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


def test_invalid_routes(tmp_path: Path) -> None:
    hello = on_disk(tmp_path, "hello")
    broken = tmp_path / "broken.wasm"
    broken.write_bytes(wat.load("hello")[:500])
    for arguments, said in (
        (["--route", f"/a={broken}"], str(broken)),
        (["--route", f"/a={hello}", "--route", f"/a/={hello}"], "two routes match '/a'"),
        (["--route", f"/a={hello},{hello}"], "cannot stand in front of"),
        (["--route", "/a"], "Invalid value for '--route'"),
        (["--route", "/a=/none.wasm"], "cannot read /none.wasm"),
    ):
        code, out, err = ran("serve", "--addr", "127.0.0.1:0", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("wasi_trio: error: ") and err.count("\n") == 1
        assert said in err
