"""Features that an engine supports only if they are enabled."""

from __future__ import annotations

import pytest
import wasmtime

from wasi_trio.component import _features as features
from wasi_trio.component._errors import MalformedComponent, Trap, Unsupported
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import FEATURES, Engine
from wasi_trio.runtime._instance import Instance

#: For each feature of core modules, the content of a module that uses only that feature.
USES = {
    "gc": "(type (struct (field i32)))",
    "gc-support": "(table 1 externref)",
    "exceptions": "(tag (param i32))",
    "function-references": "(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))",
    "tail-call": "(func $f return_call $f)",
    "threads": "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
    "memory64": "(memory i64 1)",
    "multi-memory": "(memory 1) (memory 1)",
    "custom-page-sizes": "(memory 1 (pagesize 1))",
    "wide-arithmetic": """(func (param i64) (result i64 i64)
        (i64.add128 (local.get 0) (local.get 0) (local.get 0) (local.get 0)))""",
    "relaxed-simd": "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
}
#: The same for features of the component model.
MODEL_USES = {
    "map": '(type $m (map string u32)) (export "m" (type $m))',
    "implements": '(import "plain" (implements "a:b/c") (instance))',
    "more-async-builtins": "(core func (canon subtask.cancel async))",
    "async-stackful": """
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func async (canon lift (core func $i "f") async))""",
}
#: Content that modules of the common toolchains have.
USUAL = """
    (memory 1) (table 1 funcref) (global (mut i32) (i32.const 0)) (data $d "x") (elem $e func $two)
    (func $two (result i32 i32) (i32.const 1) (i32.const 2))
    (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))
    (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))
    (func (result i32) (i32.extend8_s (i32.trunc_sat_f32_s (f32.const 0))))
    (func (result v128) (i32x4.splat (i32.const 0)))
    (global i32 (i32.add (i32.const 1) (i32.const 1)))
"""


def component(module: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(component (core module {module}))"))


@pytest.fixture(scope="module")
def bare() -> Engine:
    return Engine(cache=False)


def test_every_feature_has_a_use_here() -> None:
    assert {**USES, **MODEL_USES}.keys() == FEATURES


def test_the_common_toolchains_need_no_feature(bare: Engine) -> None:
    Component.compile(bare, component(USUAL))


@pytest.mark.parametrize("name", USES)
def test_a_feature_of_modules_is_off_and_can_be_enabled(bare: Engine, name: str) -> None:
    data = component(USES[name])
    with pytest.raises(Unsupported) as refused:
        Component.compile(bare, data)
    assert str(refused.value) == (
        f"it uses the WebAssembly feature {name}, which is off; the option -W {name} enables it "
        "(in a program: Engine(features=...))"
    )
    with Engine(cache=False, features=[name]) as other:
        Component.compile(other, data)


@pytest.mark.parametrize("name", MODEL_USES)
def test_a_feature_of_components_is_off_and_can_be_enabled(bare: Engine, name: str) -> None:
    data = bytes(wasmtime.wat2wasm(f"(component {MODEL_USES[name]})"))
    with pytest.raises(Unsupported, match=f"it uses the WebAssembly feature component-model-{name}, which is off"):
        Component.compile(bare, data)
    with pytest.raises(Unsupported, match=f"component-model-{name}"):
        bare.validate(data)
    with Engine(cache=False, features=[name]) as other:
        other.validate(data)


def test_all_missing_features_are_named_at_once(bare: Engine) -> None:
    data = component(f"{USES['tail-call']} {USES['exceptions']} (memory 1) (memory 1)")
    with pytest.raises(Unsupported, match="features exceptions, tail-call and multi-memory, which are off"):
        Component.compile(bare, data)
    with (
        Engine(cache=False, features=["tail-call", "exceptions"]) as other,
        pytest.raises(Unsupported, match="feature multi-memory, which is off"),
    ):
        Component.compile(other, data)


def test_required_features_are_enabled_too(bare: Engine) -> None:
    data = component(f"{USES['gc']} {USES['function-references']} {USES['gc-support']}")
    with pytest.raises(Unsupported, match="-W gc admits"):
        Component.compile(bare, data)
    with Engine(cache=False, features=["gc"]) as other:
        Component.compile(other, data)


def test_other_errors_are_reported_unchanged(bare: Engine) -> None:
    data = bytes(wasmtime.wat2wasm("(component (core module (func (result i32)) (func $f return_call $f)))"))
    with pytest.raises(MalformedComponent, match=r"in a core module: .*type mismatch"):
        Component.compile(bare, data)


async def test_shared_memories_are_always_refused() -> None:
    data = bytes(wasmtime.wat2wasm("(component (core module $m (memory 1 1 shared)) (core instance (instantiate $m)))"))
    with Engine(cache=False, features=["threads"]) as engine:
        linked = Component.compile(engine, data).link(Imports())
        with pytest.raises(Trap, match="shared memory support is disabled"):
            await Instance.instantiate(linked)


def test_unknown_feature() -> None:
    with pytest.raises(ValueError, match=r"unknown feature 'maps'; the features are .*map"):
        Engine(features=["maps"])


# ---- as an option ----------------------------------------------------------------------------------------


def test_the_option_has_the_spelling_of_wasmtime() -> None:
    assert features.parse("gc") == (("gc", True),)
    assert features.parse("gc=y, tail-call=n,component-model-map=n") == (
        ("gc", True),
        ("tail-call", False),
        ("map", False),
    )


@pytest.mark.parametrize("text", ["", "gcc", "map", "component-model-gc", "gc=maybe", "gc,", "max-memory-size=1"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a feature that can be switched|must be y or n"):
        features.parse(text)


def test_the_last_option_for_a_feature_counts() -> None:
    assert features.chosen([]) == {"map", "implements"}
    assert features.chosen([("gc", True), ("map", False), ("gc", False), ("tail-call", True)]) == {
        "implements",
        "tail-call",
    }
