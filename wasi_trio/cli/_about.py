"""The versions of this package and of its main dependencies."""

from __future__ import annotations

import importlib.metadata
import platform


def versions() -> str:
    """Return a line for this package, and one for each dependency that determines its behaviour."""
    lines = [f"wasi_trio {importlib.metadata.version('wasi-trio')}"]
    lines += [f"{name} {importlib.metadata.version(name)}" for name in ("wasmtime", "trio", "hypercorn")]
    lines.append(f"Python {platform.python_version()} ({platform.python_implementation()}, {platform.platform()})")
    return "\n".join(lines)
