"""WASI for guests: options, standard streams, and linking of components."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.wasi._context import WasiContext, WasiOptions, trio_wall_clock
    from wasi_trio.wasi._exit import Exit
    from wasi_trio.wasi._imports import link_wasi, state_imports, wasi_imports
    from wasi_trio.wasi._instances import open_instance
    from wasi_trio.wasi._loading import LoadError
    from wasi_trio.wasi._outbound import Outbound
    from wasi_trio.wasi._process_stdio import ProcessOutput, ProcessStdin
    from wasi_trio.wasi._state import State, opened
    from wasi_trio.wasi._stdio import BytesSource, CapturedOutput, StdinSource, StdoutSink
    from wasi_trio.wasi.keyvalue._memory import MemoryStore
    from wasi_trio.wasi.keyvalue._redis import RedisStore
    from wasi_trio.wasi.keyvalue._sqlite import SqliteStore
    from wasi_trio.wasi.sockets._context import NetworkOptions
    from wasi_trio.wasi.sockets._host import HostNetwork

__all__ = [
    "BytesSource",
    "CapturedOutput",
    "Exit",
    "HostNetwork",
    "LoadError",
    "MemoryStore",
    "NetworkOptions",
    "Outbound",
    "ProcessOutput",
    "ProcessStdin",
    "RedisStore",
    "SqliteStore",
    "State",
    "StdinSource",
    "StdoutSink",
    "WasiContext",
    "WasiOptions",
    "link_wasi",
    "open_instance",
    "opened",
    "state_imports",
    "trio_wall_clock",
    "wasi_imports",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "BytesSource": "wasi_trio.wasi._stdio",
            "CapturedOutput": "wasi_trio.wasi._stdio",
            "Exit": "wasi_trio.wasi._exit",
            "HostNetwork": "wasi_trio.wasi.sockets._host",
            "LoadError": "wasi_trio.wasi._loading",
            "MemoryStore": "wasi_trio.wasi.keyvalue._memory",
            "NetworkOptions": "wasi_trio.wasi.sockets._context",
            "Outbound": "wasi_trio.wasi._outbound",
            "ProcessOutput": "wasi_trio.wasi._process_stdio",
            "ProcessStdin": "wasi_trio.wasi._process_stdio",
            "RedisStore": "wasi_trio.wasi.keyvalue._redis",
            "SqliteStore": "wasi_trio.wasi.keyvalue._sqlite",
            "State": "wasi_trio.wasi._state",
            "StdinSource": "wasi_trio.wasi._stdio",
            "StdoutSink": "wasi_trio.wasi._stdio",
            "WasiContext": "wasi_trio.wasi._context",
            "WasiOptions": "wasi_trio.wasi._context",
            "link_wasi": "wasi_trio.wasi._imports",
            "open_instance": "wasi_trio.wasi._instances",
            "opened": "wasi_trio.wasi._state",
            "state_imports": "wasi_trio.wasi._imports",
            "trio_wall_clock": "wasi_trio.wasi._context",
            "wasi_imports": "wasi_trio.wasi._imports",
        },
    )
