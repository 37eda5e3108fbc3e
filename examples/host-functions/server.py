"""Serves app.wasm, and provides the catalog that it imports."""

from __future__ import annotations

from typing import NamedTuple

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from wasi_trio import Err, Imports, Ok
from wasi_trio.asgi import App


class Product(NamedTuple):
    name: str
    price_in_cents: int


PRODUCTS = {"tea": Product("Tea", 450), "cup": Product("Cup", 1200)}


class Catalog:
    """The interface acme:shop/catalog: one object for each instance of the component."""

    def __init__(self, context: object) -> None:
        pass

    async def find(self, id: str) -> Ok[Product]:
        await trio.sleep(0.01)  # for example a database; other requests continue
        if id not in PRODUCTS:
            raise Err("no-such-product")
        return Ok(PRODUCTS[id])

    class Cart:
        def __init__(self, currency: str) -> None:
            self.cents = 0

        def add(self, product_id: str, count: int) -> Ok[None] | Err[str]:
            if product_id not in PRODUCTS:
                return Err("no-such-product")
            self.cents += PRODUCTS[product_id].price_in_cents * count
            return Ok()

        def total(self) -> int:
            return self.cents


async def main() -> None:
    app = App("app.wasm", imports=Imports({"acme:shop/catalog@1.0.0": Catalog}))
    config = Config()
    config.bind = ["127.0.0.1:8080"]
    await serve(app, config)


if __name__ == "__main__":
    trio.run(main)
