"""The hand-written guests: components in text, for the fine points that no toolchain would produce."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import wasmtime

FOLDER = Path(__file__).parent / "wat"

_INCLUDE = re.compile(r"^ *;; include ([\w-]+\.wat)\n", re.MULTILINE)
_CASES = re.compile(r"\(table \$cases funcref \(elem([^)]*)\)\)")


def source(name: str) -> str:
    """The text of ``wat/<name>.wat``, each ``;; include file`` line in it replaced by ``wat/include/<file>``."""
    text = (FOLDER / f"{name}.wat").read_text()
    return _INCLUDE.sub(lambda match: (FOLDER / "include" / match[1]).read_text(), text)


@functools.cache
def load(name: str) -> bytes:
    """The component ``wat/<name>.wat`` as bytes; wasmtime.WasmtimeError if its text is wrong."""
    return bytes(wasmtime.wat2wasm(source(name)))


def cases(name: str) -> list[str]:
    """The cases of a guest that has several, in order: the guest runs the one whose number is the request's path."""
    found = _CASES.search(source(name))
    return found[1].replace("$", "").split() if found else []


def names() -> list[str]:
    """Every guest that ``load`` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.wat"))


if __name__ == "__main__":
    import sys

    sys.stdout.buffer.write(load(sys.argv[1]))
