"""Hand-written guests: components in text, for details that no toolchain would produce."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import wasmtime

FOLDER = Path(__file__).parent / "wat"

_INCLUDE = re.compile(r"^ *;; include ([\w-]+\.wat)\n", re.MULTILINE)
_CASES = re.compile(r"\(table \$cases funcref \(elem([^)]*)\)\)")


def source(name: str) -> str:
    """Return the text of ``wat/<name>.wat``, with each ``;; include file`` replaced by ``wat/include/<file>``."""
    text = (FOLDER / f"{name}.wat").read_text()
    return _INCLUDE.sub(lambda match: (FOLDER / "include" / match[1]).read_text(), text)


@functools.cache
def load(name: str) -> bytes:
    """Return the component ``wat/<name>.wat`` as bytes. Raises wasmtime.WasmtimeError if its text is invalid."""
    return bytes(wasmtime.wat2wasm(source(name)))


def cases(name: str) -> list[str]:
    """Return the cases of a guest, in order. The request's path is the number of the case that runs."""
    found = _CASES.search(source(name))
    return found[1].replace("$", "").split() if found else []


def names() -> list[str]:
    """Return the names of all guests for ``load``."""
    return sorted(path.stem for path in FOLDER.glob("*.wat"))


if __name__ == "__main__":
    import sys

    sys.stdout.buffer.write(load(sys.argv[1]))
