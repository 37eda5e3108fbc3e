"""Runs wasmtime under trio: compiles, links and instantiates components, and runs guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.component.concurrency._futures import SharedFuture
    from wasi_trio.component.concurrency._streams import SharedStream
    from wasi_trio.runtime._compile_limits import CompileLimits
    from wasi_trio.runtime._component import Component, LinkedComponent
    from wasi_trio.runtime._engine import FEATURES, Engine, Limits
    from wasi_trio.runtime._instance import Instance
    from wasi_trio.runtime._streams import (
        FutureReader,
        FutureWriter,
        StreamReader,
        StreamWriter,
        make_future,
        make_stream,
    )

__all__ = [
    "FEATURES",
    "CompileLimits",
    "Component",
    "Engine",
    "FutureReader",
    "FutureWriter",
    "Instance",
    "Limits",
    "LinkedComponent",
    "SharedFuture",
    "SharedStream",
    "StreamReader",
    "StreamWriter",
    "make_future",
    "make_stream",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "CompileLimits": "wasi_trio.runtime._compile_limits",
            "Component": "wasi_trio.runtime._component",
            "Engine": "wasi_trio.runtime._engine",
            "FEATURES": "wasi_trio.runtime._engine",
            "FutureReader": "wasi_trio.runtime._streams",
            "FutureWriter": "wasi_trio.runtime._streams",
            "Instance": "wasi_trio.runtime._instance",
            "Limits": "wasi_trio.runtime._engine",
            "LinkedComponent": "wasi_trio.runtime._component",
            "SharedFuture": "wasi_trio.component.concurrency._futures",
            "SharedStream": "wasi_trio.component.concurrency._streams",
            "StreamReader": "wasi_trio.runtime._streams",
            "StreamWriter": "wasi_trio.runtime._streams",
            "make_future": "wasi_trio.runtime._streams",
            "make_stream": "wasi_trio.runtime._streams",
        },
    )
