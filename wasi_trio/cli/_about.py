"""Which versions of what is at work here."""

from __future__ import annotations

import importlib.metadata
import platform


def versions() -> str:
    """A line for this package, and for each of those that decide how it behaves."""
    lines = [f"wasi_trio {importlib.metadata.version('wasi-trio')}"]
    lines += [f"{name} {importlib.metadata.version(name)}" for name in ("wasmtime", "trio", "hypercorn")]
    lines.append(f"Python {platform.python_version()} ({platform.python_implementation()}, {platform.platform()})")
    return "\n".join(lines)
