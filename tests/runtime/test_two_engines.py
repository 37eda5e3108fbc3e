"""Several engines in one process."""

from __future__ import annotations

from tests.guests.wat import load
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._imports import link_wasi


def test_a_component_can_be_linked_in_each_engine() -> None:
    with Engine() as first, Engine() as second:
        for engine in (first, second):
            linked = link_wasi(Component.compile(engine, load("hello")))
            assert linked.trampolines, "the component imports functions of the host"
