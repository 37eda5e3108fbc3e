"""The content of ``packed.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from wasi_trio.component.wit._packed import pack
from wasi_trio.wasi.wit import extended_wit


def packed_text() -> str:
    """Return the content for the current WIT files, with one line for each type and each package."""
    data = pack(extended_wit(()))
    lists = ",\n".join(f'"{name}": [\n{_lines(data[name])}\n]' for name in ("types", "packages"))
    return f"{{\n{lists}\n}}\n"


def _lines(items: Iterable[Any]) -> str:
    return ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)
