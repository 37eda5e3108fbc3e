"""Common parts of the harness's own tests."""

from __future__ import annotations

from tests.guests import wat
from tests.guests.build import build
from wasi_trio.testing import Source


def guest(name: str) -> Source:
    """Return the source of a guest: the path of a Python guest's file, and the text of any other guest."""
    return build(name) if name.startswith("python") else wat.source(name)
