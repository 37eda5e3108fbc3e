"""Calls from a guest to host functions: through our Canonical ABI, and through the wheel's ``wasmtime.component``."""

from __future__ import annotations

import ctypes
from collections.abc import Awaitable, Callable

import trio
import wasmtime
import wasmtime.component

from benchmarks.measure import Settings, each, each_async
from benchmarks.report import Report, Row
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance

MIB = 1 << 20
#: the size for the wheel, which takes half a second for a MiB
PEER_BYTES = 64 << 10
TEXT = "hello, world"
NUMBERS = list(range(8))


def _guest() -> bytes:
    """Return a component that calls each host function ``n`` times, with lists of ``length`` elements."""
    imports, lowered, wanted, given, loops, lifted = [], [], [], [], [], []
    for name, params, result, core, arguments in (
        ("flat", '(param "a" u32) (param "b" u32)', "u32", "i32 i32", "(local.get $n) (i32.const 7)"),
        ("text-in", '(param "s" string)', "u32", "i32 i32", f"(i32.const 16) (i32.const {len(TEXT)})"),
        ("text-out", "", "string", "", ""),
        ("list-in", '(param "l" (list u32))', "u32", "i32 i32", "(i32.const 65536) (i32.const 8)"),
        ("list-out", "", "(list u32)", "", ""),
        ("bytes-in", '(param "b" (list u8))', "u32", "i32 i32", "(i32.const 65536) (local.get $length)"),
        ("bytes-out", '(param "length" u32)', "(list u8)", "i32", "(local.get $length)"),
    ):
        spills = result != "u32"
        signature = f"(param {core}{' i32' if spills else ''}) {'' if spills else '(result i32)'}"
        imports.append(f'(export "{name}" (func {params} (result {result})))')
        lowered.append(f'(core func ${name} (canon lower (func $host "{name}") (memory $memory) (realloc $realloc)))')
        wanted.append(f'(import "host" "{name}" (func ${name} {signature}))')
        given.append(f'(export "{name}" (func ${name}))')
        loops.append(f"""(func (export "{name}") (param $n i32) (param $length i32)
            (loop $again
              (call $renew)
              (call ${name} {arguments} {"(i32.const 0)" if spills else ""}) {"" if spills else "(drop)"}
              (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))""")
        lifted.append(
            f'(func (export "{name}") (param "n" u32) (param "length" u32) (canon lift (core func $main "{name}")))'
        )
    newline = "\n"
    text = f"""(component
      (import "bench:host/calls" (instance $host {newline.join(imports)}))
      (core module $Memory
        (memory (export "memory") 64)
        (data (i32.const 16) "{TEXT}")
        (global $next (mut i32) (i32.const {2 * MIB}))
        ;; every result takes the place of the one before it
        (func (export "renew") (global.set $next (i32.const {2 * MIB})))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (global.get $next)
          (global.set $next
            (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))))
      (core instance $store (instantiate $Memory))
      (alias core export $store "memory" (core memory $memory))
      (alias core export $store "realloc" (core func $realloc))
      {newline.join(lowered)}
      (core module $Main
        (import "store" "renew" (func $renew))
        {newline.join(wanted)}
        {newline.join(loops)})
      (core instance $main (instantiate $Main
        (with "store" (instance $store)) (with "host" (instance {newline.join(given)}))))
      {newline.join(lifted)})"""
    return bytes(wasmtime.wat2wasm(text))


class Host:
    """The host functions, which do not wait."""

    def __init__(self) -> None:
        self.content = b""

    def flat(self, a: int, b: int) -> int:
        return b

    def text_in(self, s: str) -> int:
        return 1

    def text_out(self) -> str:
        return TEXT

    def list_in(self, l: list[int]) -> int:  # noqa: E741
        return 1

    def list_out(self) -> list[int]:
        return NUMBERS

    def bytes_in(self, b: bytes) -> int:
        return 1

    def bytes_out(self, length: int) -> bytes:
        if len(self.content) != length:
            self.content = bytes(length)
        return self.content


class QuickHost(Host):
    async def flat(self, a: int, b: int) -> int:  # type: ignore[override]
        return b


class WaitingHost(Host):
    async def flat(self, a: int, b: int) -> int:  # type: ignore[override]
        await trio.lowlevel.checkpoint()
        return b


def _through_wheel(code: bytes) -> Callable[[str, int, int], object]:
    """Return a function that calls the guest's exports through wasmtime.component."""
    engine = wasmtime.Engine()
    component = wasmtime.component.Component(engine, code)
    linker = wasmtime.component.Linker(engine)
    host = Host()
    with linker.root() as root, root.add_instance("bench:host/calls") as calls:
        for name in ("flat", "text-in", "text-out", "list-in", "list-out", "bytes-in", "bytes-out"):
            function = getattr(host, name.replace("-", "_"))
            calls.add_func(name, lambda _store, *arguments, call=function: call(*arguments))
    store = wasmtime.Store(engine)
    instance = linker.instantiate(store, component)

    def call(name: str, count: int, length: int) -> object:
        function = instance.get_func(store, name)
        assert function is not None
        result = function(store, count, length)
        function.post_return(store)
        return result

    return call


async def _measure(settings: Settings) -> Report:
    code = _guest()
    peer = _through_wheel(code)
    report = Report("Host calls from a guest")
    with Engine() as engine:
        component = Component.compile(engine, code)
        quick, waiting = (component.link(Imports({"bench:host/calls": host()})) for host in (QuickHost, WaitingHost))
        instance = await Instance.instantiate(component.link(Imports({"bench:host/calls": Host()})))

        def calls(name: str, length: int = 0, at: Instance = instance) -> Callable[[int], Awaitable[object]]:
            return lambda count: at.call(name, None, count, length)

        def peer_calls(name: str, length: int = 0) -> Callable[[int], object]:
            return lambda count: peer(name, count, length)

        flat = await each_async(calls("flat"), settings)
        report.rows.append(
            Row(
                "two u32 in, one out",
                flat,
                "µs",
                ("wasmtime.component", each(peer_calls("flat"), settings)),
                at_most=settings.call_aim(2),
                ratio_at_most=0.2,
            )
        )
        report.rows.append(Row("the same beside an empty callback", flat, "µs", ("floor", settings.callback)))
        report.rows.append(await _variant("async def that does not wait", quick, flat, settings))
        waited = await _variant("async def that waits", waiting, flat, settings)

        async def checkpoints(count: int) -> None:
            for _ in range(count):
                await trio.lowlevel.checkpoint()

        report.rows.append(waited)
        checkpoint = await each_async(checkpoints, settings)
        report.rows.append(Row(waited.what, waited.value, "µs", ("a checkpoint of trio", checkpoint)))
        for name, what in (
            ("text-in", f"a string of {len(TEXT)} to the host"),
            ("text-out", f"a string of {len(TEXT)} to the guest"),
            ("list-in", f"a list of {len(NUMBERS)} u32 to the host"),
            ("list-out", f"a list of {len(NUMBERS)} u32 to the guest"),
        ):
            value = await each_async(calls(name), settings)
            beside = ("wasmtime.component", each(peer_calls(name), settings))
            report.rows.append(Row(what, value, "µs", beside, at_most=settings.call_aim(5)))
        copy = MIB / each(_copies, settings)
        for name, what in (("bytes-in", "to the host"), ("bytes-out", "to the guest")):
            rate = MIB / await each_async(calls(name, MIB), settings)
            peer_rate = PEER_BYTES / each(peer_calls(name, PEER_BYTES), settings)
            report.rows.append(
                Row(f"list<u8> of 1 MiB {what}", rate, "MB/s", ("wasmtime.component", peer_rate), at_least=500)
            )
            report.rows.append(Row(f"list<u8> of 1 MiB {what}", rate, "MB/s", ("a copy to bytes", copy)))
        instance.close()
    return report


async def _variant(what: str, linked: LinkedComponent, plain: float, settings: Settings) -> Row:
    instance = await Instance.instantiate(linked)
    try:
        value = await each_async(lambda count: instance.call("flat", None, count, 0), settings)
    finally:
        instance.close()
    return Row(what, value, "µs", ("a plain def", plain))


def _copies(count: int) -> None:
    source = (ctypes.c_char * MIB)()
    for _ in range(count):
        ctypes.string_at(source, MIB)


def report(settings: Settings) -> Report:
    """Measure flat calls, calls that may wait and that do wait, strings, lists, and bytes in bulk."""
    return trio.run(_measure, settings)
