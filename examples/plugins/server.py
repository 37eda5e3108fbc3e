"""Serves the plugins of two tenants, each at its own path, with its own store and limits."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import trio
from bindings import imports
from hypercorn.config import Config
from hypercorn.trio import serve

from wasi_trio import Component, Engine, Err, Imports, Limits, Ok, WasiOptions, link_wasi
from wasi_trio.serve import Application, HandlerOptions, ProxyHandler
from wasi_trio.wasi.http import HttpOptions


@dataclass
class Store:
    """The interface acme:plugins/store for one tenant: one object for all instances of the tenant's plugin.

    A type checker compares it with the parameter of the bindings' ``imports``. A plugin may call it with any arguments
    any number of times, so ``capacity`` bounds its size.
    """

    capacity: int
    size: int = 0
    values: dict[str, str] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        return self.values.get(key)

    def set(self, key: str, value: str) -> Ok[None] | Err[str]:
        old = len(key) + len(self.values[key]) if key in self.values else 0
        size = self.size - old + len(key) + len(value)
        if size > self.capacity:
            return Err("the store is full")
        self.size = size
        self.values[key] = value
        return Ok()


@dataclass(frozen=True)
class Tenant:
    """A tenant, its plugin, and the plugin's limits."""

    name: str
    component: str
    store_capacity: int = 64_000
    memory: int = 128 << 20
    request_timeout: float = 10

    def imports(self) -> Imports:
        return imports(store=Store(self.store_capacity))

    def options(self) -> HandlerOptions:
        return HandlerOptions(
            request_timeout=self.request_timeout,
            max_concurrent_requests=4,
            max_queued_requests=100,
            limits=Limits(memory=self.memory),
            wasi=WasiOptions(
                env=[("TENANT", self.name)],
                http=HttpOptions(allow=lambda request: False),  # no plugin sends requests
            ),
        )


TENANTS = [
    Tenant("alice", "visits.wasm"),
    Tenant("bob", "rogue.wasm", store_capacity=8_000, memory=64 << 20, request_timeout=3),
]


async def main() -> None:
    async with AsyncExitStack() as stack:
        engine = stack.enter_context(Engine())
        plugins: dict[bytes, Application] = {}
        for tenant in TENANTS:
            component = link_wasi(Component.load(engine, tenant.component), tenant.imports())
            handler = await stack.enter_async_context(ProxyHandler(component, tenant.options()))
            plugins[tenant.name.encode()] = Application(handler)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            """Pass /alice/some/path to Alice's plugin, as /some/path."""
            if scope["type"] == "lifespan":
                for phase in ("startup", "shutdown"):  # main starts and ends the plugins around the server
                    await receive()
                    await send({"type": f"lifespan.{phase}.complete"})
                return
            name, _, rest = scope["raw_path"][1:].partition(b"/")
            if name in plugins:
                await plugins[name]({**scope, "raw_path": b"/" + rest}, receive, send)
            else:
                await send({"type": "http.response.start", "status": 404, "headers": []})
                await send({"type": "http.response.body", "body": b"no such tenant\n"})

        config = Config()
        config.bind = ["127.0.0.1:8080"]
        await serve(app, config)


if __name__ == "__main__":
    trio.run(main)
