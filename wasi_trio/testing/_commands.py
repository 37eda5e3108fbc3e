"""Runs commands to their end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from wasi_trio.component._errors import LinkError, Trap
from wasi_trio.testing import _cache as cache
from wasi_trio.testing import _standstill as standstill
from wasi_trio.testing._failures import explain
from wasi_trio.testing._recording import record
from wasi_trio.testing._running import Failable, Outputs, written
from wasi_trio.testing._settings import GuestSettings, features_of, imports_of
from wasi_trio.testing._sources import Source, read
from wasi_trio.testing._usage import metered
from wasi_trio.wasi import _command as command
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi._loading import link_compiled, load_error
from wasi_trio.wasi._stdio import BytesSource

if TYPE_CHECKING:
    from typing import Unpack

    from wasi_trio.component.concurrency._lifted import LiftedFunction
    from wasi_trio.runtime._calls import Export
    from wasi_trio.runtime._component import LinkedComponent


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command: its exit code, and its output decoded as UTF-8."""

    exit_code: int
    stdout: str
    stderr: str


class _Command(Outputs):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    async def run(
        self,
        linked: LinkedComponent,
        export: Export | LiftedFunction,
        options: WasiOptions,
        settings: GuestSettings,
    ) -> int | Trap:
        __tracebackhide__ = True
        block = Failable()
        with block.block(), metered(self._name, standstill.meter()) as meter:
            return await command.run(linked, export, self._wasi(settings, options, block.fail), meter)
        raise AssertionError("a block that was cancelled raises its error")

    def report(self) -> list[tuple[str, str]]:
        """Return the titles and texts for the report of a failed test."""
        return written(f"wasi_trio: {self._name}", self)


async def run(
    source: Source, arguments: Sequence[str] = (), *, stdin: str | bytes = b"", **settings: Unpack[GuestSettings]
) -> CommandResult:
    """Run a command, which is a component that exports ``wasi:cli/run``, to its end.

    Its first argument is the name of the file, as in ``wasi_trio run``. For the settings see ``GuestSettings``. Raises
    LoadError, Trap with a note of the command's standard error, and any exception of a host function.
    """
    __tracebackhide__ = True
    ((name, data),) = read([source])
    base = settings.get("wasi", WasiOptions())
    linked = link_compiled(cache.compiled(data, name, features_of(settings)), name, imports_of(settings, base))
    try:
        export = command.find_run(linked)
    except LinkError as error:
        raise load_error(name, error) from None
    options = replace(
        base,
        args=(PurePath(name).name, *arguments),
        stdin=BytesSource(stdin.encode() if isinstance(stdin, str) else stdin),
    )
    running = _Command(name)
    record(running)
    outcome = await running.run(linked, export, options, settings)
    if isinstance(outcome, Trap):
        explain(outcome, None, running.stderr)
        raise outcome
    running._save_tape()
    return CommandResult(outcome, running.stdout, running.stderr)
