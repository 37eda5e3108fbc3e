"""WASI 0.2: each interface's class by the interface's name, version left off."""

from __future__ import annotations

from typing import Any

from wasi_trio.wasi import _cli as common_cli
from wasi_trio.wasi.p2 import _cli as cli
from wasi_trio.wasi.p2 import _clocks as clocks
from wasi_trio.wasi.p2 import _filesystem as filesystem
from wasi_trio.wasi.p2 import _io as io
from wasi_trio.wasi.p2 import _random as random
from wasi_trio.wasi.p2 import _sockets as sockets
from wasi_trio.wasi.p2._http import HTTP_INTERFACES
from wasi_trio.wasi.p2._io import InputStream, OutputStream, Pollable

__all__ = ["INTERFACES", "VERSION", "InputStream", "OutputStream", "Pollable"]

#: the version of the WIT files these implement; it meets imports of any 0.2
VERSION = "0.2.12"

INTERFACES: dict[str, type[Any]] = {
    **HTTP_INTERFACES,
    "wasi:cli/environment": cli.Environment,
    "wasi:cli/exit": common_cli.Exit,
    "wasi:cli/stderr": cli.Stderr,
    "wasi:cli/stdin": cli.Stdin,
    "wasi:cli/stdout": cli.Stdout,
    "wasi:cli/terminal-input": common_cli.TerminalInput,
    "wasi:cli/terminal-output": common_cli.TerminalOutput,
    "wasi:cli/terminal-stderr": common_cli.TerminalStderr,
    "wasi:cli/terminal-stdin": common_cli.TerminalStdin,
    "wasi:cli/terminal-stdout": common_cli.TerminalStdout,
    "wasi:clocks/monotonic-clock": clocks.MonotonicClock,
    "wasi:clocks/wall-clock": clocks.WallClock,
    "wasi:filesystem/preopens": filesystem.Preopens,
    "wasi:filesystem/types": filesystem.Types,
    "wasi:io/error": io.IoError,
    "wasi:io/poll": io.Poll,
    "wasi:io/streams": io.Streams,
    "wasi:random/insecure": random.Insecure,
    "wasi:random/insecure-seed": random.InsecureSeed,
    "wasi:random/random": random.Random,
    "wasi:sockets/instance-network": sockets.InstanceNetwork,
    "wasi:sockets/ip-name-lookup": sockets.IpNameLookup,
    "wasi:sockets/network": sockets.NetworkInterface,
    "wasi:sockets/tcp": sockets.Tcp,
    "wasi:sockets/tcp-create-socket": sockets.TcpCreateSocket,
    "wasi:sockets/udp": sockets.Udp,
    "wasi:sockets/udp-create-socket": sockets.UdpCreateSocket,
}
