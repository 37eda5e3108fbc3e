"""What guests find of WASI: its options and the standard streams, and how a component is linked with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.wasi.context import WasiContext, WasiOptions, trio_wall_clock
    from wasi_trio.wasi.exit import Exit
    from wasi_trio.wasi.imports import link_wasi, wasi_imports
    from wasi_trio.wasi.loading import LoadError
    from wasi_trio.wasi.outbound import Outbound
    from wasi_trio.wasi.process_stdio import ProcessOutput, ProcessStdin
    from wasi_trio.wasi.sockets.context import NetworkOptions
    from wasi_trio.wasi.sockets.host import HostNetwork
    from wasi_trio.wasi.stdio import BytesSource, CapturedOutput, StdinSource, StdoutSink

__all__ = [
    "BytesSource",
    "CapturedOutput",
    "Exit",
    "HostNetwork",
    "LoadError",
    "NetworkOptions",
    "Outbound",
    "ProcessOutput",
    "ProcessStdin",
    "StdinSource",
    "StdoutSink",
    "WasiContext",
    "WasiOptions",
    "link_wasi",
    "trio_wall_clock",
    "wasi_imports",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "BytesSource": "wasi_trio.wasi.stdio",
        "CapturedOutput": "wasi_trio.wasi.stdio",
        "Exit": "wasi_trio.wasi.exit",
        "HostNetwork": "wasi_trio.wasi.sockets.host",
        "LoadError": "wasi_trio.wasi.loading",
        "NetworkOptions": "wasi_trio.wasi.sockets.context",
        "Outbound": "wasi_trio.wasi.outbound",
        "ProcessOutput": "wasi_trio.wasi.process_stdio",
        "ProcessStdin": "wasi_trio.wasi.process_stdio",
        "StdinSource": "wasi_trio.wasi.stdio",
        "StdoutSink": "wasi_trio.wasi.stdio",
        "WasiContext": "wasi_trio.wasi.context",
        "WasiOptions": "wasi_trio.wasi.context",
        "link_wasi": "wasi_trio.wasi.imports",
        "trio_wall_clock": "wasi_trio.wasi.context",
        "wasi_imports": "wasi_trio.wasi.imports",
    },
)
