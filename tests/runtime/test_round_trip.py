"""Any value of any type returns from a real guest unchanged."""

from __future__ import annotations

from typing import Any

import trio
import wasmtime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.component.abi.test_abi_round_trip import DATA_TYPES, encodings, same, values
from tests.component.abi.type_text import TypeDefinitions, is_gated
from wasi_trio.component import _types as t
from wasi_trio.component._imports import Imports
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance

#: Enough values that the parameters exceed a core function's limit and are passed in memory both ways.
PADDING = (t.U8,) * 17


def echo(type_: t.ValType, encoding: StringEncoding) -> bytes:
    """Return a component whose function returns its argument, by returning the pointer to it."""
    definitions = TypeDefinitions()
    ref = definitions.ref(t.Tuple((type_, *PADDING)))
    return bytes(
        wasmtime.wat2wasm(f"""(component
          {" ".join(definitions.lines)}
          (core module $M
            (memory (export "memory") 16)
            (global $next (mut i32) (i32.const 16))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
              (local $at i32)
              (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
              (global.set $next (i32.add (local.get $at) (local.get 3)))
              (local.get $at))
            (func (export "echo") (param i32) (result i32) (local.get 0)))
          (core instance $m (instantiate $M))
          (func (export "echo") (param "value" {ref}) (result {ref})
            (canon lift (core func $m "echo") string-encoding={encoding.value}
              (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))""")
    )


cases = DATA_TYPES.filter(lambda type_: not is_gated(type_)).flatmap(
    lambda type_: st.tuples(st.just(type_), st.lists(values(type_), min_size=1, max_size=3))
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases, encodings)
def test_values_through_a_guest(case: tuple[t.ValType, list[Any]], encoding: StringEncoding) -> None:
    type_, given_values = case

    async def run() -> None:
        with Engine() as engine:
            instance = await Instance.instantiate(Component.compile(engine, echo(type_, encoding)).link(Imports()))
            try:
                for value in given_values:
                    passed = (value, *range(17))
                    assert same(await instance.call("echo", None, passed), passed)
            finally:
                instance.close()

    trio.run(run)
