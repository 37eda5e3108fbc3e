#!/usr/bin/env bash
# wasmtime 50.0.1 for Python ends the whole process where its file for perf cannot be made.
#
# With the profiler "jitdump" an engine writes jit-PID.dump into the current folder, which may be one that the process
# cannot write to, as of a service. Expected: an error, as wasm_engine_new_with_config could be null, or code that is
# compiled without a profile. Seen: the C API unwraps the error, and the process aborts (SIGABRT) with a panic; no
# exception reaches Python, and nothing can be cleaned up. So whoever offers this option has to try the folder before.
#
# Needs python3, PyPI and Linux. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat >"$folder/engine.py" <<'PYTHON'
import sys

import wasmtime

config = wasmtime.Config()
config.profiler = "jitdump"
try:
    wasmtime.Engine(config)
except wasmtime.WasmtimeError as error:
    sys.exit(f"an error: {error}")
PYTHON
cd "$folder"
"$folder/venv/bin/python" engine.py
echo "in a folder of its own: an engine"
cd /proc # where nobody can make files, root neither
code=0
"$folder/venv/bin/python" "$folder/engine.py" 2>"$folder/panic" || code=$?
grep -m 1 panicked "$folder/panic"
echo "in a folder without room for files: exit code $code"
[[ $code == 134 ]]
