"""The parts of wasi:cli that WASI 0.2 and 0.3 share: ``exit`` and the five ``terminal-*`` interfaces."""

from __future__ import annotations

from typing import NoReturn

from wasi_trio.component._values import Err, Ok
from wasi_trio.wasi import _exit as exit
from wasi_trio.wasi._context import WasiContext


class Exit:
    """The interface wasi:cli/exit. Its functions raise :class:`wasi_trio.wasi._exit.Exit`."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def exit(self, status: Ok[None] | Err[None]) -> NoReturn:
        raise exit.Exit(0 if isinstance(status, Ok) else 1)

    def exit_with_code(self, status_code: int) -> NoReturn:
        raise exit.Exit(status_code)


class TerminalInput:
    """The interface wasi:cli/terminal-input."""

    class TerminalInput:
        """The input side of a terminal. The resource has no methods."""

        __slots__ = ()

    def __init__(self, context: WasiContext) -> None:
        pass


class TerminalOutput:
    """The interface wasi:cli/terminal-output."""

    class TerminalOutput:
        """The output side of a terminal. The resource has no methods."""

        __slots__ = ()

    def __init__(self, context: WasiContext) -> None:
        pass


class TerminalStdin:
    """The interface wasi:cli/terminal-stdin."""

    def __init__(self, context: WasiContext) -> None:
        self._source = context.stdin

    def get_terminal_stdin(self) -> TerminalInput.TerminalInput | None:
        return TerminalInput.TerminalInput() if self._source.is_terminal else None


class TerminalStdout:
    """The interface wasi:cli/terminal-stdout."""

    def __init__(self, context: WasiContext) -> None:
        self._sink = context.stdout

    def get_terminal_stdout(self) -> TerminalOutput.TerminalOutput | None:
        return TerminalOutput.TerminalOutput() if self._sink.is_terminal else None


class TerminalStderr:
    """The interface wasi:cli/terminal-stderr."""

    def __init__(self, context: WasiContext) -> None:
        self._sink = context.stderr

    def get_terminal_stderr(self) -> TerminalOutput.TerminalOutput | None:
        return TerminalOutput.TerminalOutput() if self._sink.is_terminal else None
