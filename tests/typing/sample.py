"""A program that uses the public API the way a user's would. It is only checked, by nox's session ``typing``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import trio

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
from wasi_trio.asgi import ComponentApplication
from wasi_trio.serve import Body, BodyAborted, ExchangeFailed, HandlerOptions, ProxyHandler, Request, Response


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


app = ComponentApplication("app.wasm", HandlerOptions(), imports=Imports({"acme:shop/catalog": Catalog}))

if __name__ == "__main__":
    trio.run(main, Path("app.wasm"))
