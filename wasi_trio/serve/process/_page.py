"""The page about the pool: one HTML file that requests ``/pool.json`` at intervals."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources


@cache
def page() -> bytes:
    """Return the page."""
    return resources.files("wasi_trio.serve.process").joinpath("pool.html").read_bytes()


@cache
def policy() -> str:
    """Return its Content Security Policy: it may run its own script, and request data from its origin."""
    text = page().decode()
    allowed = {name: _hash(text, name) for name in ("script", "style")}
    return (
        f"default-src 'none'; connect-src 'self'; script-src '{allowed['script']}'; style-src '{allowed['style']}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    assert found is not None, f"the page has one {name}"
    return "sha256-" + base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
