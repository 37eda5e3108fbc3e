#!/usr/bin/env bash
# jco 1.35.0 numbers the handles of each resource type separately, so a guest gets the same number for two resources.
#
# A guest gets two handles of type x and one of type y. It drops both of x, then gets another y and two of x. It returns
# the six numbers.
#
# Expected: a component instance has one table for all handles, and reuses the index that was freed last (the component
# model's canonical ABI, "Table State"). So the numbers are 1, 2, 3, then 2, 1, 4. wasmtime 50.0.1 returns these.
# Actual: in JavaScript by jco they are 1, 2, 1, then 2, 2, 1. The y has the number of the first x, and dropping an x
# does not free a number for a y.
#
# On wasmtime, a guest can keep resources of several types in one map by number, such as a table of descriptors of
# streams and sockets. The same guest mixes them up on jco. Guests must keep one map for each type.
#
# Requires python3, PyPI, node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund @bytecodealliance/jco@1.35.0 >log 2>&1 || { cat log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime==50.0.1 >log 2>&1 || { cat log; exit 1; }
PATH="$folder/venv/bin:$folder/node_modules/.bin:$PATH"

cat >component.wat <<'WAT'
(component
  (import "a:b/c" (instance $host
    (export "x" (type $x (sub resource)))
    (export "y" (type $y (sub resource)))
    (export "make-x" (func (result (own $x))))
    (export "make-y" (func (result (own $y))))))
  (alias export $host "x" (type $x))
  (alias export $host "make-x" (func $make-x))
  (alias export $host "make-y" (func $make-y))
  (core func $new-x (canon lower (func $make-x)))
  (core func $new-y (canon lower (func $make-y)))
  (core func $drop-x (canon resource.drop $x))
  (core module $program
    (import "" "x" (func $x (result i32)))
    (import "" "y" (func $y (result i32)))
    (import "" "drop-x" (func $drop-x (param i32)))
    (global $digits (mut i32) (i32.const 0))
    (func $add (param $digit i32)
      (global.set $digits (i32.add (i32.mul (global.get $digits) (i32.const 10)) (local.get $digit))))
    (func (export "run") (result i32)
      (local $first i32) (local $second i32)
      (call $add (local.tee $first (call $x)))
      (call $add (local.tee $second (call $x)))
      (call $add (call $y))
      (call $drop-x (local.get $first))
      (call $drop-x (local.get $second))
      (call $add (call $y))
      (call $add (call $x))
      (call $add (call $x))
      (global.get $digits)))
  (core instance $program (instantiate $program (with "" (instance
    (export "x" (func $new-x)) (export "y" (func $new-y)) (export "drop-x" (func $drop-x))))))
  (func (export "run") (result u32) (canon lift (core func $program "run"))))
WAT
jco parse component.wat -o component.wasm
jco transpile --quiet component.wasm -o transpiled --map "a:b/c=../host.js"
cat >host.js <<'JS'
export class X {}
export class Y {}
export const makeX = () => new X();
export const makeY = () => new Y();
JS
echo 'import { run } from "./transpiled/component.js"; console.log(run());' >run.js
by_jco=$(node run.js)
by_wasmtime=$(python - <<'PYTHON'
from wasmtime import Engine, Store
from wasmtime.component import Component, Linker, ResourceHost, ResourceType

engine = Engine()
store, linker = Store(engine), Linker(engine)
with linker.root() as root, root.add_instance("a:b/c") as host:
    host.add_resource("x", ResourceType.host(1), lambda store, rep: None)
    host.add_resource("y", ResourceType.host(2), lambda store, rep: None)
    host.add_func("make-x", lambda store: ResourceHost.own(10, 1))
    host.add_func("make-y", lambda store: ResourceHost.own(20, 2))
component = Component.from_file(engine, "component.wasm")
print(linker.instantiate(store, component).get_func(store, "run")(store))
PYTHON
)
echo "handles of x, x, y, then of y, x, x: wasmtime numbers them $by_wasmtime, jco numbers them $by_jco"
[ "$by_wasmtime" = 123214 ] || { echo "wasmtime numbers handles in another way" >&2; exit 1; }
[ "$by_jco" = 121221 ] || { echo "jco numbers handles in another way" >&2; exit 1; }
