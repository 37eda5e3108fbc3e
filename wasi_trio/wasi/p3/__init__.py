"""WASI 0.3: the classes of all interfaces, by the names of the interfaces without version."""

from __future__ import annotations

from wasi_trio.lazy import located

#: the version of the implemented WIT files; it satisfies imports of any 0.3 version
VERSION = "0.3.0"

#: a class is imported when a component first imports its interface
INTERFACES = located(
    "wasi_trio.wasi",
    {
        "wasi:cli/environment": "p3._cli.Environment",
        "wasi:cli/exit": "_cli.Exit",
        "wasi:cli/stderr": "p3._cli.Stderr",
        "wasi:cli/stdin": "p3._cli.Stdin",
        "wasi:cli/stdout": "p3._cli.Stdout",
        "wasi:cli/terminal-input": "_cli.TerminalInput",
        "wasi:cli/terminal-output": "_cli.TerminalOutput",
        "wasi:cli/terminal-stderr": "_cli.TerminalStderr",
        "wasi:cli/terminal-stdin": "_cli.TerminalStdin",
        "wasi:cli/terminal-stdout": "_cli.TerminalStdout",
        "wasi:cli/types": "p3._cli.Types",
        "wasi:clocks/monotonic-clock": "p3._clocks.MonotonicClock",
        "wasi:clocks/system-clock": "p3._clocks.SystemClock",
        "wasi:clocks/types": "p3._clocks.Types",
        "wasi:filesystem/preopens": "p3._filesystem.Preopens",
        "wasi:filesystem/types": "p3._filesystem.Types",
        "wasi:http/client": "p3._http.Client",
        "wasi:http/types": "p3._http.Types",
        "wasi:random/insecure": "p3._random.Insecure",
        "wasi:random/insecure-seed": "p3._random.InsecureSeed",
        "wasi:random/random": "p3._random.Random",
        "wasi:sockets/ip-name-lookup": "p3._sockets.IpNameLookup",
        "wasi:sockets/types": "p3._sockets.Types",
    },
)
