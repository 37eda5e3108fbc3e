"""The hand-written guests: components in text, for the fine points that no toolchain would produce."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import wasmtime

FOLDER = Path(__file__).parent / "wat"

_INCLUDE = re.compile(r"^ *;; include ([\w-]+\.wat)\n", re.MULTILINE)


def source(name: str) -> str:
    """The text of ``wat/<name>.wat``, each ``;; include file`` line in it replaced by ``wat/include/<file>``."""
    text = (FOLDER / f"{name}.wat").read_text()
    return _INCLUDE.sub(lambda match: (FOLDER / "include" / match[1]).read_text(), text)


@functools.cache
def load(name: str) -> bytes:
    """The component ``wat/<name>.wat`` as bytes; wasmtime.WasmtimeError if its text is wrong."""
    return bytes(wasmtime.wat2wasm(source(name)))


def names() -> list[str]:
    """Every guest that ``load`` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.wat"))


if __name__ == "__main__":
    import sys

    sys.stdout.buffer.write(load(sys.argv[1]))
