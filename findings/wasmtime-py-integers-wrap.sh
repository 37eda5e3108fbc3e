#!/usr/bin/env bash
# wasmtime 50.0.1 for Python passes 300 as the u8 44 to a component, but refuses 300 as an f64.
#
# A component has functions that return their only argument. The host calls them with Python numbers.
#
# Expected: a number beyond the range of the WIT type raises an exception, as in a guest of componentize-py 0.25.1, which
# raises OverflowError. An int is good enough for a float.
# Actual: the bindings check the Python type only, and ctypes then keeps the low bits. 300 becomes 44, -1 becomes
# 255, 2**64 becomes 0, and True becomes 1. The same holds for the results of host functions, where the guest computes
# with the wrong number. An f32 or f64 requires a float: the int 300 raises TypeError. 1e39 as an f32 becomes infinity.
#
# A host on these bindings must check ranges before a call, above all of sizes and lengths: 2**32 bytes arrive as 0.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
from wasmtime import Engine, Store, wat2wasm
from wasmtime.component import Component, Linker

COMPONENT = """
(component
  (import "host" (func $host (result {type})))
  (core func $lowered (canon lower (func $host)))
  (core module $program
    (import "" "host" (func $host (result {core})))
    (func (export "same") (param {core}) (result {core}) (local.get 0))
    (func (export "from-host") (result {core}) (call $host)))
  (core instance $program (instantiate $program (with "" (instance (export "host" (func $lowered))))))
  (func (export "same") (param "v" {type}) (result {type}) (canon lift (core func $program "same")))
  (func (export "from-host") (result {type}) (canon lift (core func $program "from-host"))))
"""
engine = Engine()


def passed(type, core, number):
    """The number as it comes back from the component, and as the host function passes it."""
    store, linker = Store(engine), Linker(engine)
    with linker.root() as root:
        root.add_func("host", lambda store: number)
    component = Component(engine, wat2wasm(COMPONENT.format(type=type, core=core)))
    instance = linker.instantiate(store, component)
    outcomes = []
    for name, arguments in (("same", [number]), ("from-host", [])):
        try:
            outcomes.append(instance.get_func(store, name)(store, *arguments))
        except TypeError:
            outcomes.append(TypeError)
    print(f"{number!r} as {type}: an argument arrives as {outcomes[0]}, a result of a host function as {outcomes[1]}")
    return outcomes


assert passed("u8", "i32", 300) == [44, 44]
assert passed("u8", "i32", -1) == [255, 255]
assert passed("u8", "i32", True) == [1, 1]
assert passed("u32", "i32", 2**32) == [0, 0]
assert passed("s64", "i64", 2**63) == [-(2**63)] * 2
assert passed("u64", "i64", 2**64) == [0, 0]
assert passed("f32", "f32", 1e39) == [float("inf")] * 2
assert passed("f64", "f64", 300) == [TypeError, TypeError]
PYTHON
