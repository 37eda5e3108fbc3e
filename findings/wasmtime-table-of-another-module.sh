#!/usr/bin/env bash
# wasmtime 50.0.1 fills a table of another module element by element for each instance, but its own table not at all.
#
# A module with an active element segment of 10,000 functions is instantiated twice: with its own table, and with a table
# of the same size that another module exports. Toolchains with shared libraries (wasm32 PIC, componentize-py) produce the
# second form.
#
# Expected: both cost about the same, because a table needs 10,000 references in both cases.
# Actual: with its own table, wasmtime prepares the elements with the code and fills the table on first use. An instance
# takes 4 us. With the other module's table, wasmtime makes each reference for each instance, which takes 470 us. If the
# segment's offset is an imported constant global instead of a number, the module's own table takes as long.
#
# A linker that merges such modules and replaces such offsets by numbers removes this cost.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
from time import process_time

from wasmtime import Engine, Instance, Module, Store, wat2wasm

COUNT = 10_000
FUNCTIONS = "".join(f"(func $f{i})" for i in range(COUNT))
NAMES = " ".join(f"$f{i}" for i in range(COUNT))
engine = Engine()
owner = Module(engine, wat2wasm(f'(module (table (export "t") {COUNT} funcref) (global (export "g") i32 (i32.const 0)))'))
FORMS = {
    "its own table": f"(table {COUNT} funcref) (elem (i32.const 0) {NAMES})",
    "its own table, at an imported constant": f'(import "m" "g" (global i32)) (table {COUNT} funcref) '
    f"(elem (global.get 0) {NAMES})",
    "the table of another module": f'(import "m" "t" (table {COUNT} funcref)) (elem (i32.const 0) {NAMES})',
}


def microseconds(form):
    module = Module(engine, wat2wasm(f"(module {form} {FUNCTIONS})"))
    times = []
    for _ in range(30):
        store = Store(engine)
        exports = Instance(store, owner, []).exports(store)
        imports = [exports[{"t": "t", "g": "g"}[i.name]] for i in module.imports]
        before = process_time()
        Instance(store, module, imports)
        times.append(process_time() - before)
    return 1e6 * min(times)


measured = {name: microseconds(form) for name, form in FORMS.items()}
for name, time in measured.items():
    print(f"an instance that fills {name}: {time:.0f} us")
own, at_global, other = measured.values()
assert other > 20 * own
assert at_global > 20 * own
PYTHON
