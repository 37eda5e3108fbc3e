"""``python -m wasi_trio.wasi.wit``: parse the WIT files in this directory, and store the result in ``packed.json``."""

from __future__ import annotations

from pathlib import Path

from wasi_trio.wasi.wit import PACKED
from wasi_trio.wasi.wit._packing import packed_text


def main() -> None:
    (Path(__file__).parent / PACKED).write_text(packed_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
