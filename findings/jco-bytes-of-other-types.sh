#!/usr/bin/env bash
# jco 1.35.0 passes the string "abc" to a component as an empty list<u8>, and as the list<u16> 0, 0, 0.
#
# Functions of a component return their parameter, a list<u8> or a list<u16>. JavaScript calls them with arrays, typed
# arrays, and values of other types that a program in JavaScript easily confuses with them.
#
# Expected: an array with the same elements arrives as such, whatever its type, or TypeError is raised. jco does check the
# elements of an Array: 300 and 1.5 as a u8 raise TypeError.
# Actual: only an Array is checked. All else is copied as memory, by its byteLength, which a string does not have. So a
# string is an empty list<u8>, and a Uint16Array of 1 and 256 is the list<u8> 1, 0, 0, 1. A Float64Array of 1 is a list<u8>
# of 8 numbers. As a list<u16>, a string becomes as many zeros as it has characters. None of these raises. A Uint8Array
# as a list<u16> raises RangeError.
#
# wasi:http's field values and contents of files are list<u8>. A program that forgets its TextEncoder writes empty fields
# and files. TypeScript finds the string, but a host in plain JavaScript must check types itself.
#
# Requires node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund @bytecodealliance/jco@1.35.0 >log 2>&1 || { cat log; exit 1; }
PATH="$folder/node_modules/.bin:$PATH"

cat >component.wat <<'WAT'
(component
  (core module $program
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))
    (func (export "same") (param i32 i32) (result i32)
      (i32.store (i32.const 0) (local.get 0))
      (i32.store (i32.const 4) (local.get 1))
      (i32.const 0)))
  (core instance $program (instantiate $program))
  (alias core export $program "memory" (core memory $memory))
  (alias core export $program "realloc" (core func $realloc))
  (func (export "same8") (param "v" (list u8)) (result (list u8))
    (canon lift (core func $program "same") (memory $memory) (realloc $realloc)))
  (func (export "same16") (param "v" (list u16)) (result (list u16))
    (canon lift (core func $program "same") (memory $memory) (realloc $realloc))))
WAT
jco parse component.wat -o component.wasm
jco transpile --quiet component.wasm -o transpiled
cat >check.js <<'JS'
import assert from "node:assert";
import { same8, same16 } from "./transpiled/component.js";

function called(same, value) {
  try {
    return [...same(value)];
  } catch (error) {
    return error.name;
  }
}

const CASES = [
  // The value, the list<u8> and the list<u16> that the component gets.
  [[1, 2], [1, 2], [1, 2]],
  [new Uint8Array([1, 2]), [1, 2], null],
  [[300], "TypeError", [300]],
  [[1.5], "TypeError", "TypeError"],
  ["abc", [], [0, 0, 0]],
  [new Uint16Array([1, 256]), [1, 0, 0, 1], [1, 256]],
  [new Float64Array([1]), [0, 0, 0, 0, 0, 0, 240, 63], [0]],
];
for (const [value, bytes, pairs] of CASES) {
  console.log(value, "as list<u8>:", called(same8, value), "as list<u16>:", called(same16, value));
  assert.deepEqual(called(same8, value), bytes);
  if (pairs !== null) assert.deepEqual(called(same16, value), pairs);
}
assert.equal(called(same16, new Uint8Array([1, 2])), "RangeError");
JS
node check.js
