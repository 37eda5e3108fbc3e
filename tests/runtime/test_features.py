"""What an engine admits only when told to."""

from __future__ import annotations

import pytest
import wasmtime

from wasi_trio.component._errors import MalformedComponent
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine

MAP = '(component (type $m (map string u32)) (export "m" (type $m)))'


def test_features_are_admitted_where_asked_for(engine: Engine) -> None:
    data = bytes(wasmtime.wat2wasm(MAP))
    with pytest.raises(MalformedComponent, match="map feature"):
        Component.compile(engine, data)
    with Engine(cache=False, features=["map"]) as other:
        assert Component.compile(other, data).exports == ["m"]


def test_unknown_feature() -> None:
    with pytest.raises(ValueError, match=r"unknown feature 'maps', there are .*map"):
        Engine(features=["maps"])
