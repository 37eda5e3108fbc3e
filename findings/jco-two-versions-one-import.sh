#!/usr/bin/env bash
# jco 1.35.0 connects a component's imports from a:b/c@1.0.0 and a:b/c@2.0.0 to one and the same JavaScript function.
#
# A component imports the function f of two major versions of one interface, and calls both. The versions differ in the
# type of f: a u32 in version 1, a bool in version 2.
#
# Expected: the JavaScript has an import for each version, or transpilation fails.
# Actual: jco leaves the versions out of the module's name. The output has a single import of f from "a:b/c", and calls it
# for both. Neither jco nor JavaScript complains: a number serves as the bool. The TypeScript declarations have a single
# file, which describes version 1 only. Entries of --map that name a version do distinguish the two.
#
# A host on wasmtime supplies each version on its own, so the same component behaves differently there. This concerns
# components that are composed of parts of different age.
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
  (import "a:b/c@1.0.0" (instance $one (export "f" (func (result u32)))))
  (import "a:b/c@2.0.0" (instance $two (export "f" (func (result bool)))))
  (alias export $one "f" (func $f1))
  (alias export $two "f" (func $f2))
  (core func $lowered1 (canon lower (func $f1)))
  (core func $lowered2 (canon lower (func $f2)))
  (core module $program
    (import "" "1" (func $f1 (result i32)))
    (import "" "2" (func $f2 (result i32)))
    (func (export "first") (result i32) (call $f1))
    (func (export "second") (result i32) (call $f2)))
  (core instance $program (instantiate $program
    (with "" (instance (export "1" (func $lowered1)) (export "2" (func $lowered2))))))
  (func (export "first") (result u32) (canon lift (core func $program "first")))
  (func (export "second") (result bool) (canon lift (core func $program "second"))))
WAT
mkdir plain mapped
jco parse component.wat -o component.wasm
jco transpile --quiet component.wasm -o plain --map "a:b/c=./host.js"
jco transpile --quiet component.wasm -o mapped --map "a:b/c@1.0.0=./one.js" --map "a:b/c@2.0.0=./two.js"
echo "let calls = 0; export function f() { calls += 1; return calls; }" >plain/host.js
echo "export function f() { return 1; }" >mapped/one.js
echo "export function f() { return false; }" >mapped/two.js
cat >check.js <<'JS'
import assert from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import * as plain from "./plain/component.js";
import * as mapped from "./mapped/component.js";

const imports = readFileSync("plain/component.js", "utf8").match(/^import .*$/gm);
const files = readdirSync("plain/interfaces");
const declaration = readFileSync(`plain/interfaces/${files[0]}`, "utf8").match(/f\(.*/)[0];
console.log("imports of the output:", imports.join(" "));
console.log("declarations:", files.join(" "), declaration);
const called = [plain.first(), plain.second()];
const separate = [mapped.first(), mapped.second()];
console.log("one function, called for version 1 and for version 2:", called);
console.log("with --map for each version:", separate);
assert.deepEqual(imports, ["import { f } from './host.js';"]);
assert.deepEqual(files, ["a-b-c.d.ts"]);
assert.equal(declaration, "f(): number;");
assert.deepEqual(called, [1, true]);
assert.deepEqual(separate, [1, false]);
JS
node check.js
