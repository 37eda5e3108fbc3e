"""A program that uses the public API the way a user's would. It is only checked, by nox's session ``typing``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import trio

from wasi_trio import App as MountedApp
from wasi_trio import (
    Component,
    Engine,
    Err,
    Imports,
    LinkedComponent,
    LinkError,
    Ok,
    WasiContext,
    WasiOptions,
    link_wasi,
)
from wasi_trio.serve import Body, BodyAborted, ExchangeFailed, HandlerOptions, ProxyHandler, Request, Response
from wasi_trio.testing import (
    Answer,
    App,
    CommandResult,
    GuestFailed,
    HttpError,
    InstanceRecord,
    LiveServer,
    Opener,
    OutgoingRequest,
    Retirement,
    component,
    run,
    server,
)


class Product(NamedTuple):
    name: str
    price_in_cents: int


class Catalog:
    """acme:shop/catalog"""

    def __init__(self, context: WasiContext) -> None:
        self.found = 0

    async def find(self, id: str) -> Ok[Product] | Err[str]:
        await trio.sleep(0.01)
        if id != "tea":
            return Err("no-such-product")
        self.found += 1
        return Ok(Product("Tea", 450))

    class Cart:
        def __init__(self, currency: str) -> None:
            self.currency = currency

        def on_drop(self) -> None:
            self.currency = ""


def load(engine: Engine, path: Path) -> LinkedComponent:
    imports = Imports({"acme:shop/catalog@1.0.0": Catalog})
    try:
        return link_wasi(Component.load(engine, path), imports)
    except LinkError as error:
        missing: tuple[str, ...] = error.missing
        raise SystemExit("\n".join(missing)) from None


async def content(response: Response) -> bytes:
    data = b""
    try:
        while chunk := await response.body.receive_some():
            data += chunk
    except BodyAborted as error:
        print(error)
    return data


async def ask(handler: ProxyHandler, path: str) -> None:
    request = Request("GET", "http", "example.test", path, [("accept", b"*/*")], Body.empty())
    try:
        response = await handler.handle(request)
    except ExchangeFailed as failure:
        status: int = failure.status
        print(status, failure)
    else:
        print(response.status, await content(response))


async def main(path: Path) -> None:
    options = HandlerOptions(max_instance_reuse_count=8, request_timeout=5, wasi=WasiOptions(env=[("A", "1")]))
    with Engine() as engine:
        async with ProxyHandler(load(engine, path), options) as handler, trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ask, handler, f"/{number}")


# ---- tests of a component ------------------------------------------------------------------------------------


async def upstream(request: OutgoingRequest) -> Answer:
    if request.headers.get("accept") is None:
        raise HttpError("HTTP-request-denied")
    return Answer(200, request, headers={"content-type": "text/plain"}, trailers=[("x-sum", b"1")])


async def lines() -> AsyncIterator[bytes]:
    yield b"line\n"


async def test_requests() -> None:
    async with component(
        "app.wasm", b"", env={"A": "1"}, seed=None, outgoing=upstream, imports={"acme:shop/catalog": Catalog}
    ) as app:
        response = await app.post("/x", json={"a": 1}, headers=[("accept", "*/*")])
        status: int = response.status
        content: bytes = await response.read()
        print(status, content, await response.text(), await response.json(), response.headers.get_all("vary"))
        async with app.stream("PUT", "/", content=lines(), trailers={"x-sum": "1"}) as streamed:
            async for piece in streamed:
                print(len(piece), streamed.trailers.get("x-sum"))
        records: list[InstanceRecord] = app.instances
        reason: Retirement | None = records[0].retired
        print(reason, app.started, app.live, app.stdout, app.stderr)
        await app.idle()
        await app.settled()


async def test_fixtures(wasi_component: Opener[App], wasi_server: Opener[LiveServer]) -> None:
    app = await wasi_component(Path("app.wasm"), request_timeout=5, max_instance_reuse_count=None)
    try:
        await app.get("/")
    except GuestFailed as failure:
        print(failure.status)
    live = await wasi_server("(component)", options=HandlerOptions())
    url: str = live.url
    print(url)


async def test_server_and_command() -> None:
    async with server("app.wasm", wasi=WasiOptions()) as live:
        print(live.port)
    result: CommandResult = await run("command.wasm", ["one"], stdin="two", env={"A": "1"})
    print(result.exit_code, result.stdout, result.stderr)


app = MountedApp("app.wasm", HandlerOptions(), imports=Imports({"acme:shop/catalog": Catalog}))

if __name__ == "__main__":
    trio.run(main, Path("app.wasm"))
