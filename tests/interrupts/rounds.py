"""Runs a guest again and again in one process, each time until SIGINT ends it.

``python -m tests.interrupts.rounds CASE N`` is how to call it.

It prints ``ready`` when a guest runs, and after that the outcome of ``trio.run``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import wasmtime

from tests.guests import wat
from wasi_trio import Component, Engine, Imports, Instance, WasiContext, link_wasi
from wasi_trio.testing import component

_FUNCTIONS = ("spin", "work", "later", "random")

_CORE = """
    (func (export "spin") (result i32) (loop $again (br $again)) (unreachable))
    (func (export "work") (result i32) (loop $again (call $work) (br $again)) (unreachable))
    (func (export "later") (result i32) (loop $again (call $later) (br $again)) (unreachable))
    (func (export "random") (result i32) (loop $again (drop (call $random)) (br $again)) (unreachable))
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable)"""


def _guest(version: str, start: str = "") -> str:
    """Return a component whose functions never return. Its start function calls ``start``."""
    asynchronous = "async" if version == "0.3" else ""
    options = 'async (callback (core func $i "callback"))' if asynchronous else ""
    result = "" if asynchronous else "(result u32)"
    kept = "(core func $return (canon task.return))" if asynchronous else ""
    lifted = "\n".join(
        f'(func (export "{name}") {asynchronous} {result} (canon lift (core func $i "{name}") {options}))'
        for name in _FUNCTIONS
    )
    begun = f"(func $start (loop $again {start} (br $again))) (start $start)" if start else ""
    return f"""(component
      (import "work" (func $work))
      (import "later" (func $later {asynchronous}))
      (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
      (core func $work' (canon lower (func $work)))
      (core func $later' (canon lower (func $later)))
      (core func $random' (canon lower (func $random "get-random-u64")))
      {kept}
      (core module $m
        (import "" "work" (func $work))
        (import "" "later" (func $later))
        (import "" "random" (func $random (result i64)))
        {_CORE}
        {begun})
      (core instance $i (instantiate $m (with "" (instance
        (export "work" (func $work')) (export "later" (func $later')) (export "random" (func $random'))))))
      {lifted})"""


class Host:
    """The guest's host functions."""

    def work(self) -> None:
        pass

    async def later(self) -> None:
        await trio.lowlevel.checkpoint()


class Blocking:
    """The same, and a function does not return."""

    def work(self) -> None:
        ready()
        while True:
            pass

    async def later(self) -> None:
        ready()
        time.sleep(3600)  # noqa: ASYNC251


class BlockingLater(Blocking):
    async def later(self) -> None:
        await trio.lowlevel.checkpoint()
        ready()
        while True:
            pass


def ready() -> None:
    print("ready", flush=True)


@asynccontextmanager
async def _instance(engine: Engine, text: str, host: object) -> AsyncIterator[Instance]:
    linked = link_wasi(Component.compile(engine, bytes(wasmtime.wat2wasm(text))), Imports({"": host}))
    async with trio.open_nursery() as nursery:
        if not isinstance(host, Blocking):
            ready()
        instance = await Instance.instantiate(linked, WasiContext(nursery=nursery))
        try:
            if instance.pump is not None:
                nursery.start_soon(instance.pump.run)
            yield instance
        finally:
            await instance.aclose()
        nursery.cancel_scope.cancel()


def _calls(version: str, function: str, host: type = Host) -> Callable[[Engine], Awaitable[None]]:
    async def main(engine: Engine) -> None:
        async with _instance(engine, _guest(version), host()) as instance:
            await instance.call(function)

    return main


def _starts(version: str, start: str) -> Callable[[Engine], Awaitable[None]]:
    async def main(engine: Engine) -> None:
        async with _instance(engine, _guest(version, start), Host()):
            raise AssertionError("its start function does not return")

    return main


def _aside(main: Callable[[Engine], Awaitable[None]]) -> Callable[[Engine], Awaitable[None]]:
    """With the guest in another task than the main one, which is where the interrupt has to come out."""

    async def beside(engine: Engine) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(main, engine)
            try:
                await trio.sleep_forever()
            except KeyboardInterrupt:
                nursery.cancel_scope.cancel()
        raise KeyboardInterrupt

    return beside


def _answers(name: str, path: str) -> Callable[[Engine], Awaitable[None]]:
    async def main(engine: Engine) -> None:
        async with component(wat.source(name)) as app:
            ready()
            await app.get(path)

    return main


CASES: dict[str, Callable[[Engine], Awaitable[None]]] = {
    **{f"{version} {name}": _calls(version, name) for version in ("0.2", "0.3") for name in _FUNCTIONS},
    **{f"{version} {name} aside": _aside(_calls(version, name)) for version in ("0.2", "0.3") for name in _FUNCTIONS},
    **{
        f"{version} start {name}": _starts(version, call)
        for version in ("0.2", "0.3")
        for name, call in (("spin", "(nop)"), ("work", "(call $work)"))
    },
    **{
        f"{version} blocks in {name}": _calls(version, name, Blocking)
        for version in ("0.2", "0.3")
        for name in ("work", "later")
    },
    **{f"{version} blocks late": _calls(version, "later", BlockingLater) for version in ("0.2", "0.3")},
    "app spin": _answers("spin", "/"),
    "app spin in start": _answers("spin_in_start", "/"),
    "app p3_spin": _answers("p3_spin", "/0"),
    "app p3_spin in callback": _answers("p3_spin", "/2"),
    "app sleep": _answers("sleep", "/3600000"),
    "app p3_sleep": _answers("p3_sleep", "/3600000"),
}


def outcome(run: Callable[[], object]) -> str:
    try:
        run()
    except KeyboardInterrupt:
        return "KeyboardInterrupt"
    except BaseExceptionGroup as group:
        interrupts, others = group.split(KeyboardInterrupt)
        return f"group with KeyboardInterrupt {others!r}" if interrupts else repr(group)
    except Exception as error:
        return repr(error)
    return "returned"


def main() -> None:
    case, count = CASES[sys.argv[1]], int(sys.argv[2])
    with Engine() as engine:
        for _ in range(count):
            print(outcome(lambda: trio.run(case, engine)), flush=True)


if __name__ == "__main__":
    main()
