#!/usr/bin/env bash
# wasmtime 50.0.1 for Python never calls a guest's destructor, unless the host calls drop(store) on each resource.
#
# A component exports a resource with a destructor, and counts the calls of the destructor. A Python host gets the resource
# from the component's function, and then ends its use in several ways.
#
# Expected: the object of Python owns the resource (its property owned is True), so close() or the end of the object
# drops the resource. The classes of this package follow that pattern: the end of the object frees it, or close().
# Actual: neither close() nor the end of the object calls the destructor. Both release only the host's own memory. The
# resource stays in the guest's table, and a guest that frees memory in its destructor keeps that memory. After close(),
# the resource cannot be dropped at all, because drop raises ValueError. Only drop(store) calls the destructor, as its
# docstring says.
#
# A host that keeps one instance for many requests leaks guest memory with each resource, and its own memory profile shows
# nothing. It must call drop(store) in a finally block for each resource that a guest returns.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
import gc

from wasmtime import Engine, Store
from wasmtime.component import Component, Linker

COMPONENT = """
(component
  (core module $counter
    (global $calls (mut i32) (i32.const 0))
    (func (export "destroy") (param i32) (global.set $calls (i32.add (global.get $calls) (i32.const 1))))
    (func (export "calls") (result i32) (global.get $calls)))
  (core instance $counter (instantiate $counter))
  (type $file' (resource (rep i32) (dtor (core func $counter "destroy"))))
  (core func $new (canon resource.new $file'))
  (core module $program
    (import "" "new" (func $new (param i32) (result i32)))
    (func (export "open") (result i32) (call $new (i32.const 5))))
  (core instance $program (instantiate $program (with "" (instance (export "new" (func $new))))))
  (export $file "file" (type $file'))
  (func (export "open") (result (own $file)) (canon lift (core func $program "open")))
  (func (export "calls") (result u32) (canon lift (core func $counter "calls"))))
"""
engine = Engine()
store = Store(engine)
instance = Linker(engine).instantiate(store, Component(engine, COMPONENT))
open_file, calls = (instance.get_func(store, name) for name in ("open", "calls"))

file = open_file(store)
assert file.owned
del file
gc.collect()
after_end = calls(store)
print("calls of the destructor after the end of the object:", after_end)
file = open_file(store)
file.close()
after_close = calls(store)
print("after close():", after_close)
try:
    file.drop(store)
except ValueError as error:
    message = str(error)
else:
    raise SystemExit("drop works after close")
print("drop after close():", message)
open_file(store).drop(store)
after_drop = calls(store)
print("after drop(store):", after_drop)
assert (after_end, after_close, after_drop) == (0, 0, 1)
PYTHON
