"""Common text for asynchronous guests, and a way to run them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import wasmtime

from tests.runtime.compositions import MEMORY
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi._context import WasiContext

#: Built-ins that ``WAITING`` calls: name, definition, core type.
COMMON = {
    "set.new": ("waitable-set.new", "(result i32)"),
    "set.wait": ("waitable-set.wait (memory $mem)", "(param i32 i32) (result i32)"),
    "set.drop": ("waitable-set.drop", "(param i32)"),
    "join": ("waitable.join", "(param i32 i32)"),
    "subtask.drop": ("subtask.drop", "(param i32)"),
}

#: ``$wait`` returns the payload of a waitable's next event. ``$await`` waits for a call to return and returns its
#: state. ``$settle`` waits for a read or write if necessary, and returns its outcome. ``$readable`` and ``$writable``
#: extract the two ends from the result of ``new``. All use the memory below 64.
WAITING = """
    (func $readable (param $ends i64) (result i32) (i32.wrap_i64 (local.get $ends)))
    (func $writable (param $ends i64) (result i32) (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
    (func $wait (param $waitable i32) (result i32) (local $set i32)
      (local.set $set (call $set.new))
      (call $join (local.get $waitable) (local.get $set))
      (drop (call $set.wait (local.get $set) (i32.const 16)))
      (call $join (local.get $waitable) (i32.const 0))
      (call $set.drop (local.get $set))
      (i32.load (i32.const 20)))
    (func $await (param $status i32) (result i32) (local $state i32)
      (local.set $state (i32.and (local.get $status) (i32.const 0xf)))
      (if (i32.ge_u (local.get $state) (i32.const 2)) (then (return (local.get $state))))
      (loop $more
        (local.set $state (call $wait (i32.shr_u (local.get $status) (i32.const 4))))
        (br_if $more (i32.lt_u (local.get $state) (i32.const 2))))
      (call $subtask.drop (i32.shr_u (local.get $status) (i32.const 4)))
      (local.get $state))
    (func $settle (param $end i32) (param $how i32) (result i32)
      (if (i32.ne (local.get $how) (i32.const -1)) (then (return (local.get $how))))
      (call $wait (local.get $end)))
"""


def component(
    body: str,
    *,
    imports: str = "",
    cores: Mapping[str, tuple[str, str]] | None = None,
    exports: Mapping[str, str] | None = None,
    name: str = "",
    callback: str = "unreachable",
    definitions: str = "",
) -> str:
    """Return a component whose core code is ``body``.

    ``cores`` are the core functions that it calls, by name. Each has a definition (``canon ...``, or nothing if it is
    one of ``definitions``) and a core type. ``exports`` are the exported functions, by name, with types such as ``async
    (result u32)``. All are lifted with the callback ``callback``, which is never called if the code waits on its stack.
    Exceptions are functions that are not ``async`` and those whose type ends in ``lifted synchronously``.
    ``definitions`` come after the memory.
    """
    called = {**COMMON, **(cores or {})}
    canons = "\n".join(f"  (core func ${key} (canon {canon}))" for key, (canon, _) in called.items() if canon)
    core_imports = "\n".join(f'    (import "" "{key}" (func ${key} {type_}))' for key, (_, type_) in called.items())
    given = " ".join(f'(export "{key}" (func ${key}))' for key in called)
    lifted = ""
    for export, type_ in (exports or {}).items():
        type_, synchronously, _ = type_.partition("lifted synchronously")
        options = "(memory $mem) (realloc $realloc)"
        if type_.startswith("async") and not synchronously:
            options += ' async (callback (core func $main "callback"))'
        lifted += f'  (func (export "{export}") {type_} (canon lift (core func $main "{export}") {options}))\n'
    return f"""(component {name}
  {imports}
  {MEMORY}
  {definitions}
{canons}
  (core module $Main
    (import "memory" "memory" (memory 1))
{core_imports}
{WAITING}
    {body}
    (func $callback (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      {callback}))
  (core instance $main (instantiate $Main (with "memory" (instance $memory)) (with "" (instance {given}))))
{lifted})"""


@asynccontextmanager
async def running(
    wat: str, interfaces: dict[str, Any] | None = None, features: Sequence[str] = ()
) -> AsyncIterator[Instance]:
    """Run an instance's pump. At the end, the remaining work of the instance is dropped."""
    with Engine(features=features) as engine:
        linked = Component.compile(engine, bytes(wasmtime.wat2wasm(wat))).link(Imports(interfaces))
        async with trio.open_nursery() as nursery:
            instance = await Instance.instantiate(linked, WasiContext(nursery=nursery))
            try:
                assert instance.pump is not None
                nursery.start_soon(instance.pump.run)
                yield instance
            finally:
                nursery.cancel_scope.cancel()
        instance.close()
