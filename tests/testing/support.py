"""What the harness's own tests share."""

from __future__ import annotations

from tests.guests import wat
from tests.guests.build import build
from wasi_trio.testing import Source


def guest(name: str) -> Source:
    """A guest as a test would name it: ``python_p2`` is a file, all others are text."""
    return build(name) if name.startswith("python") else wat.source(name)
