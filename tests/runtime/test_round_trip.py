"""Any value of any type returns from a real guest unchanged."""

from __future__ import annotations

from typing import Any

import trio
import wasmtime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.component.abi.test_abi_round_trip import DATA_TYPES, encodings, same, values
from tests.component.abi.type_text import echo, is_gated
from wasi_trio.component import _types as t
from wasi_trio.component._imports import Imports
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance

#: Enough values that the parameters exceed a core function's limit and are passed in memory both ways.
PADDING = (t.U8,) * 17


cases = DATA_TYPES.filter(lambda type_: not is_gated(type_)).flatmap(
    lambda type_: st.tuples(st.just(type_), st.lists(values(type_), min_size=1, max_size=3))
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases, encodings)
def test_values_through_a_guest(case: tuple[t.ValType, list[Any]], encoding: StringEncoding) -> None:
    type_, given_values = case

    async def run() -> None:
        with Engine() as engine:
            component = bytes(wasmtime.wat2wasm(echo(t.Tuple((type_, *PADDING)), encoding.value)))
            instance = await Instance.instantiate(Component.compile(engine, component).link(Imports()))
            try:
                for value in given_values:
                    passed = (value, *range(17))
                    assert same(await instance.call("echo", None, passed), passed)
            finally:
                instance.close()

    trio.run(run)
