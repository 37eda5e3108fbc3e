#!/usr/bin/env bash
# A guest of componentize-py 0.25.1 never frees a list that it passes to an imported function.
#
# A Python guest calls an import 20 times with the same list<u8> of 1 MiB, and another import that returns such a list.
# The host is wasmtime 50.0.1 for Python, which keeps nothing. It observes its own resident memory.
#
# Expected: the canonical ABI only lends the list to the call, so the guest's runtime frees its copy after the call, or
# after the call of the export, or with Python's garbage collection.
# Actual: the guest's memory grows by the size of every list that it passes, 20 MiB for each call of the export, without an
# end. It does not grow with the lists that it receives. Neither gc.collect() in the guest nor the end of the export helps.
#
# The output of a Python guest passes through such a call: output-stream.write of WASI 0.2. So an instance that is reused
# grows by the content of its responses, and traps when it reaches the limit of its memory. Such guests need an instance
# for a limited number of requests, or output-stream.splice, whose bytes never enter the guest.
#
# Requires Linux, python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check componentize-py==0.25.1 wasmtime==50.0.1 \
    >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cd "$folder"
cat >world.wit <<'WIT'
package example:lists;

world guest {
  import receive: func(size: u32) -> list<u8>;
  import send: func(data: list<u8>);
  export receive-often: func(times: u32, size: u32);
  export send-often: func(times: u32, size: u32);
}
WIT
cat >guest.py <<'PYTHON'
import gc

import wit_world


class WitWorld(wit_world.WitWorld):
    def receive_often(self, times: int, size: int) -> None:
        for _ in range(times):
            wit_world.receive(size)
        gc.collect()

    def send_often(self, times: int, size: int) -> None:
        data = bytes(size)
        for _ in range(times):
            wit_world.send(data)
        gc.collect()
PYTHON
venv/bin/componentize-py --wit-path world.wit --world guest componentize guest -o guest.wasm >log 2>&1 || { cat log; exit 1; }
venv/bin/python - <<'PYTHON'
from pathlib import Path

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker

MIB = 1 << 20
TIMES = 20
engine = Engine()
store = Store(engine)
store.set_wasi(WasiConfig())
linker = Linker(engine)
linker.add_wasip2()
with linker.root() as root:
    root.add_func("receive", lambda store, size: bytes(size))
    root.add_func("send", lambda store, data: None)
instance = linker.instantiate(store, Component(engine, Path("guest.wasm").read_bytes()))


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / MIB


growth = {}
for name in ("receive-often", "send-often"):
    call = instance.get_func(store, name)
    call(store, 1, MIB)  # the first call allocates buffers that the later ones use again
    before = resident()
    for _ in range(5):
        call(store, TIMES, MIB)
    growth[name] = resident() - before
    print(f"{name}: {5 * TIMES} lists of 1 MiB, growth {growth[name]:.0f} MiB")
assert growth["receive-often"] < 20, "it keeps the lists that it receives"
assert growth["send-often"] > 80, "it frees the lists that it passes"
PYTHON
