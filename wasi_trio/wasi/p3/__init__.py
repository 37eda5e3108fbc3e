"""WASI 0.3: each interface's class by the interface's name, version left off."""

from __future__ import annotations

from typing import Any

from wasi_trio.wasi import _cli as common_cli
from wasi_trio.wasi.p3 import _cli as cli
from wasi_trio.wasi.p3 import _clocks as clocks
from wasi_trio.wasi.p3 import _filesystem as filesystem
from wasi_trio.wasi.p3 import _random as random
from wasi_trio.wasi.p3 import _sockets as sockets
from wasi_trio.wasi.p3._http import HTTP_INTERFACES

#: the version of the WIT files these implement; it meets imports of any 0.3
VERSION = "0.3.0"

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
    "wasi:cli/types": cli.Types,
    "wasi:clocks/monotonic-clock": clocks.MonotonicClock,
    "wasi:clocks/system-clock": clocks.SystemClock,
    "wasi:clocks/types": clocks.Types,
    "wasi:filesystem/preopens": filesystem.Preopens,
    "wasi:filesystem/types": filesystem.Types,
    "wasi:random/insecure": random.Insecure,
    "wasi:random/insecure-seed": random.InsecureSeed,
    "wasi:random/random": random.Random,
    "wasi:sockets/ip-name-lookup": sockets.IpNameLookup,
    "wasi:sockets/types": sockets.Types,
}
