"""The versions of this package and of its main dependencies."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import platform


def versions() -> str:
    """Return a line for this package, and one for each dependency that determines its behaviour."""
    lines = [f"wasi_trio {importlib.metadata.version('wasi-trio')}{' (compiled)' if is_compiled() else ''}"]
    lines += [f"{name} {importlib.metadata.version(name)}" for name in ("wasmtime", "trio", "hypercorn")]
    lines.append(f"Python {platform.python_version()} ({platform.python_implementation()}, {platform.platform()})")
    return "\n".join(lines)


def is_compiled() -> bool:
    """Return whether the compiled wheel is in use (docs/compiled.md)."""
    spec = importlib.util.find_spec("wasi_trio.runtime._pump")
    return spec is not None and (spec.origin or "").endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
