"""Running the command line, with pipes or on a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

COMMAND = [sys.executable, "-m", "wasi_trio"]
#: The variables that control colours.
_COLOURS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")
#: Python writes to standard error like a user's, with a buffer that it writes again at its end.
_BUFFERING = ("PYTHONUNBUFFERED",)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _COLOURS + _BUFFERING}
    return {**kept, "TERM": "xterm-256color", "COLUMNS": "120", **more}


def ran(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Run a command with pipes. Return its exit code and its output."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(env),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


class Terminal:
    """A process whose standard output and standard error are one terminal."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self.end = end
        self.said = b""
        self._is_open = True

    def close(self) -> None:
        """Close the terminal, so that the process notices. Safe to repeat."""
        if self._is_open:
            self._is_open = False
            os.close(self.end)

    def read(self) -> bool:
        """Wait for more output. Return False when the process has closed the terminal."""
        try:
            more = os.read(self.end, 65536)
        except OSError:  # Linux reports the end like this
            more = b""
        self.said += more
        return bool(more)

    def finish(self) -> int:
        """Wait for the end. Return the exit code."""
        while self.read():
            pass
        return self.process.wait(timeout=300)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    @property
    def text(self) -> str:
        return self.said.decode().replace("\r\n", "\n")


@contextmanager
def at_a_terminal(*arguments: str, **env: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment(env)
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        terminal.close()
