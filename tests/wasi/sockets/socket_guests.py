"""Guests that forward every function of wasi:sockets, and helpers for their tests."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import pytest
import trio

from tests.guests import wat
from tests.guests.passing import export_name, passing
from wasi_trio.component import wit
from wasi_trio.component._values import Variant
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.testing import run
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._imports import link_wasi
from wasi_trio.wasi.sockets._addresses import Family
from wasi_trio.wasi.sockets._context import NetworkOptions
from wasi_trio.wasi.sockets._host import HostNetwork, HostTcp
from wasi_trio.wasi.sockets._values import Ipv4SocketAddress, Ipv6SocketAddress

INTERFACES = {
    "p2": (
        "wasi:io/error",
        "wasi:io/poll",
        "wasi:io/streams",
        "wasi:sockets/network",
        "wasi:sockets/instance-network",
        "wasi:sockets/tcp",
        "wasi:sockets/tcp-create-socket",
        "wasi:sockets/udp",
        "wasi:sockets/udp-create-socket",
        "wasi:sockets/ip-name-lookup",
    ),
    "p3": ("wasi:sockets/types", "wasi:sockets/ip-name-lookup"),
}
#: it takes a list of borrowed handles, which a forwarding guest would have to return
_LEFT_OUT = ("poll",)

ENGINE = Engine()


@functools.cache
def described(version: str) -> dict[str, wit.Interface]:
    """Return the interfaces of a version by name."""
    folder = resources.files("wasi_trio.wasi") / "wit" / version
    read = wit.load([folder], ("network-error-code",))
    return {
        f"{package.name}/{name}": interface
        for package in read.packages.values()
        for name, interface in package.interfaces.items()
    }


def functions(version: str) -> Iterable[tuple[str, str]]:
    """Yield the interfaces and functions that a guest of a version forwards."""
    for name in INTERFACES[version]:
        for function in described(version)[name].functions:
            if function not in _LEFT_OUT:
                yield name, function


@functools.cache
def linked(version: str) -> LinkedComponent:
    interfaces = [
        (described(version)[name], [function for of, function in functions(version) if of == name])
        for name in INTERFACES[version]
    ]
    return link_wasi(Component.compile(ENGINE, passing(interfaces)))


class Guest:
    """Calls functions like a guest: ``await guest("tcp-socket.bind", socket, address)``."""

    def __init__(self, instance: Instance, version: str, context: WasiContext) -> None:
        self.instance = instance
        self.context = context
        self._exports = {
            function.partition("]")[2] or function: export_name(name, function) for name, function in functions(version)
        }
        #: the functions called so far
        self.called: set[str] = set()

    async def __call__(self, function: str, *arguments: Any) -> Any:
        self.called.add(self._exports[function])
        return await self.instance.call(self._exports[function], None, *arguments)


@asynccontextmanager
async def guest(version: str, **options: Any) -> AsyncIterator[Guest]:
    """Run a guest. ``options`` are those of ``NetworkOptions``. After the guest's end, no socket is open."""
    made = NetworkOptions(**options)
    async with trio.open_nursery() as nursery:
        context = WasiContext(WasiOptions(network=made), nursery=nursery)
        instance = await Instance.instantiate(linked(version), context)
        try:
            if instance.pump is not None:
                nursery.start_soon(instance.pump.run)
            yield Guest(instance, version, context)
        finally:
            instance.close()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def networked(version: str, **options: Any) -> AsyncIterator[Guest]:
    """Run a guest with all permissions."""
    options = {"inherit": True, "allow_ip_name_lookup": True, "network": HostNetwork(), **options}
    async with guest(version, **options) as made:
        yield made


def calls(version: str, request: pytest.FixtureRequest) -> Iterator[set[str]]:
    """Yield the set of calls of a module's tests. At the end it must contain all functions of a version."""
    names: set[str] = set()
    yield names
    selected = request.config.option.keyword or any("::" in argument for argument in request.config.args)
    if not selected and not request.session.testsfailed:
        assert {export_name(*function) for function in functions(version)} - names == set()


def v4(host: str = "127.0.0.1", port: int = 0) -> Variant:
    return Variant("ipv4", Ipv4SocketAddress(port, tuple(map(int, host.split(".")))))


def v6(*groups: int, port: int = 0) -> Variant:
    return Variant("ipv6", Ipv6SocketAddress(port, 0, groups, 0))


LOOPBACK6 = (0, 0, 0, 0, 0, 0, 0, 1)


class WatchedNetwork(HostNetwork):
    """The machine's network, which reports the ports on which guests listen."""

    def __init__(self, max_sockets: int | None = None) -> None:
        super().__init__(max_sockets)
        self.listening = trio.Event()
        self.port = 0

    def tcp(self, family: Family) -> HostTcp:
        return _WatchedTcp(self, family, self._open(family, socket.SOCK_STREAM))


class _WatchedTcp(HostTcp):
    network: WatchedNetwork

    def listen(self, backlog: int) -> None:
        super().listen(backlog)
        self.network.port = self.local_address().port
        self.network.listening.set()


@asynccontextmanager
async def command(name: str, network: WatchedNetwork, **options: Any) -> AsyncIterator[int]:
    """Run a command that listens on a free port of 127.0.0.1, and yield the port."""

    async def listen() -> None:
        made = NetworkOptions(**{"inherit": True, "network": network, **options})
        result = await run(wat.source(name), ["0"], wasi=WasiOptions(network=made))
        raise AssertionError(f"the command ended with {result}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await network.listening.wait()
        yield network.port
        nursery.cancel_scope.cancel()


def descriptors() -> int:
    """Return the number of open files of this process."""
    return len(os.listdir("/dev/fd"))
