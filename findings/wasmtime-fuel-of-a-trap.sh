#!/usr/bin/env bash
# wasmtime 50.0.1 reports that a call that ends in a division by zero used no fuel, however long it computed.
#
# A function runs a loop of 100,000 rounds, which uses 800,001 units, and then traps. The host compares get_fuel before
# and after the call, to charge for it.
#
# Expected: the store has lost 800,001 units, however the call ends.
# Actual: this holds if the function returns, executes unreachable, or calls through an empty or missing element of a
# table. After all other traps, the store has lost nothing: division by zero, load beyond the memory, conversion of NaN,
# memory.fill beyond the memory, table.get beyond the table. Compiled code counts in a register. It writes the count back
# before calls and returns, and before some traps only. The limit itself holds: the loop ends when the fuel does.
#
# A host that bills or schedules by fuel counts such guests as free. It must charge a trapped call otherwise, such as by
# processor time.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
from wasmtime import Config, Engine, Instance, Module, Store, Trap, wat2wasm

MODULE = """
(module
  (memory 1)
  (table 1 funcref)
  (func (export "run")
    (local $round i32)
    (loop $loop
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $loop (i32.lt_u (local.get $round) (i32.const 100000))))
    %s))
"""
ENDS = {
    "return": "",
    "unreachable": "unreachable",
    "a call of an empty element": "(call_indirect (i32.const 0))",
    "a call of a missing element": "(call_indirect (i32.const 5))",
    "a division by zero": "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
    "a load beyond the memory": "(drop (i32.load (i32.const 1000000)))",
    "a conversion of NaN": "(drop (i32.trunc_f32_s (f32.const nan)))",
    "a memory.fill beyond the memory": "(memory.fill (i32.const 0) (i32.const 0) (i32.const 1000000))",
    "a table.get beyond the table": "(drop (table.get 0 (i32.const 7)))",
}
config = Config()
config.consume_fuel = True
engine = Engine(config)


def used(end):
    store = Store(engine)
    store.set_fuel(10_000_000)
    instance = Instance(store, Module(engine, wat2wasm(MODULE % end)), [])
    before = store.get_fuel()
    try:
        instance.exports(store)["run"](store)
    except Trap:
        pass
    return before - store.get_fuel()


fuel = {name: used(end) for name, end in ENDS.items()}
for name, units in fuel.items():
    print(f"100,000 rounds, then {name}: {units:,} units of fuel used")
counted = [name for name, units in fuel.items() if units >= 800_000]
free = [name for name, units in fuel.items() if units == 0]
assert counted == list(ENDS)[:4], counted
assert free == list(ENDS)[4:], free
PYTHON
