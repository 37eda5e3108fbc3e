"""WASI 0.2: the classes of all interfaces, by the names of the interfaces without version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily, located

if TYPE_CHECKING:
    from wasi_trio.wasi.p2._io import InputStream, OutputStream, Pollable

__all__ = ["INTERFACES", "VERSION", "InputStream", "OutputStream", "Pollable"]

#: the version of the implemented WIT files; it satisfies imports of any 0.2 version
VERSION = "0.2.12"

#: a class is imported when a component first imports its interface
INTERFACES = located(
    "wasi_trio.wasi",
    {
        "wasi:cli/environment": "p2._cli.Environment",
        "wasi:cli/exit": "_cli.Exit",
        "wasi:cli/stderr": "p2._cli.Stderr",
        "wasi:cli/stdin": "p2._cli.Stdin",
        "wasi:cli/stdout": "p2._cli.Stdout",
        "wasi:cli/terminal-input": "_cli.TerminalInput",
        "wasi:cli/terminal-output": "_cli.TerminalOutput",
        "wasi:cli/terminal-stderr": "_cli.TerminalStderr",
        "wasi:cli/terminal-stdin": "_cli.TerminalStdin",
        "wasi:cli/terminal-stdout": "_cli.TerminalStdout",
        "wasi:clocks/monotonic-clock": "p2._clocks.MonotonicClock",
        "wasi:clocks/wall-clock": "p2._clocks.WallClock",
        "wasi:filesystem/preopens": "p2._filesystem.Preopens",
        "wasi:filesystem/types": "p2._filesystem.Types",
        "wasi:http/outgoing-handler": "p2._http.OutgoingHandler",
        "wasi:http/types": "p2._http.Types",
        "wasi:io/error": "p2._io.IoError",
        "wasi:io/poll": "p2._poll.Poll",
        "wasi:io/streams": "p2._io.Streams",
        "wasi:random/insecure": "p2._random.Insecure",
        "wasi:random/insecure-seed": "p2._random.InsecureSeed",
        "wasi:random/random": "p2._random.Random",
        "wasi:sockets/instance-network": "p2._sockets.InstanceNetwork",
        "wasi:sockets/ip-name-lookup": "p2._sockets.IpNameLookup",
        "wasi:sockets/network": "p2._sockets.NetworkInterface",
        "wasi:sockets/tcp": "p2._sockets.Tcp",
        "wasi:sockets/tcp-create-socket": "p2._sockets.TcpCreateSocket",
        "wasi:sockets/udp": "p2._sockets.Udp",
        "wasi:sockets/udp-create-socket": "p2._sockets.UdpCreateSocket",
    },
)

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__, dict.fromkeys(("InputStream", "OutputStream", "Pollable"), "wasi_trio.wasi.p2._io")
    )
