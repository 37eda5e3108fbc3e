"""The Firefox profiler's own code, which reads a profile as its page does: ``profiler-cli``, which npm brings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "@firefox-devtools/profiler-cli@0.10.0"
#: a release of node that it runs on
NODE = "node@24"


class Failed(Exception):
    """A failed check, with a message of one or more lines."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The first thread of a profile in the Firefox profiler.

    * ``product``: the name of the profiled program
    * ``shares``: the functions' shares of the samples by name, without their callees, in descending order
    * ``markers``: the number of markers by name
    """

    product: str
    shares: dict[str, float]
    markers: dict[str, int]


class FirefoxProfiler:
    """``profiler-cli``, in a folder of its own unless it is on the PATH; raises Failed where npm is absent."""

    def __init__(self, folder: Path) -> None:
        self._environment = os.environ | {"PROFILER_CLI_SESSION_DIR": str(folder / "sessions")}
        program = shutil.which("profiler-cli")
        if program is None:
            npm = shutil.which("npm")
            if npm is None:
                raise Failed("install profiler-cli, or npm, which installs it")
            _output([npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE, NODE], os.environ)
            bin_ = folder / "node_modules" / ".bin"
            self._environment["PATH"] = f"{bin_}{os.pathsep}{os.environ['PATH']}"
            program = str(bin_ / "profiler-cli")
        self._program = program

    def open(self, path: Path) -> Opened:
        """Open a profile; raises Failed where it cannot be opened."""
        self._ask("load", str(path))
        try:
            name = json.loads(self._ask("profile", "info", "--json"))["name"]
            functions = json.loads(self._ask("thread", "functions", "--json", "--limit", "0"))["functions"]
            markers = json.loads(self._ask("thread", "markers", "--json"))["byType"]
        finally:
            self._ask("stop")
        functions.sort(key=lambda function: function["selfPercentage"], reverse=True)
        return Opened(
            name,
            {function["name"]: function["selfPercentage"] / 100 for function in functions},
            {kind["markerName"]: kind["count"] for kind in markers},
        )

    def _ask(self, *arguments: str) -> str:
        return _output([self._program, *arguments], self._environment)


def _output(command: list[str], environment: Any) -> str:
    """Return the output of a command. Raises Failed if it fails."""
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
