"""The ``wasi_trio run`` command. It runs a WASI 0.2 or 0.3 command after its options have been parsed."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Sequence

import trio

from wasi_trio._texts import shown_lines
from wasi_trio.component._errors import LinkError, Trap
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime._calls import Export
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.wasi._arguments import Directory
from wasi_trio.wasi._command import find_run, run
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi._imports import state_imports
from wasi_trio.wasi._loading import (
    DEFAULT,
    EngineOptions,
    check_address_space,
    link_component,
    load_error,
    read_component,
)
from wasi_trio.wasi._process_stdio import ProcessOutput, ProcessStdin
from wasi_trio.wasi._state import NO_STATE, State
from wasi_trio.wasi.filesystem._preopens import open_directories
from wasi_trio.wasi.registry._references import file_name
from wasi_trio.wasi.sockets._context import NetworkOptions

#: A shell's exit codes for a command that was ended by SIGABRT and by SIGINT.
TRAPPED = 134
INTERRUPTED = 130
#: The signals that end a command unless they are ignored.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_command(
    path: str,
    arguments: Sequence[str],
    env: Sequence[tuple[str, str]],
    network: NetworkOptions | None = None,
    directories: Sequence[Directory] = (),
    engine_options: EngineOptions = DEFAULT,
    state: State = NO_STATE,
) -> int:
    """Run a component with the standard streams of this process. Return the exit code.

    The component's first argument is the file's name. A trap is reported on standard error. Raise LoadError for a file
    that is not a command. Only the main thread may call this. Ctrl-C ends the command. SIGTERM and SIGHUP end the
    command and then the process.
    """
    check_address_space()
    with engine_options.open() as engine:
        linked = link_component(engine, read_component(path, engine_options.compile_limits), path, state_imports(state))
        try:
            export = find_run(linked)
        except LinkError as error:
            raise load_error(path, error) from None
        stdout, stderr = process_outputs()
        options = WasiOptions(
            args=(file_name(path), *arguments),
            env=tuple(env),
            stdin=ProcessStdin(),
            stdout=stdout,
            stderr=stderr,
            network=(network or NetworkOptions()).prepared(),
            preopens=open_directories(directories),
            state=state,
        )
        outcome = trio.run(_run_until_interrupted, linked, export, options, {stdout, stderr})
    if isinstance(outcome, signal.Signals):
        if outcome is not signal.SIGINT:
            signal.raise_signal(outcome)
        return INTERRUPTED
    if isinstance(outcome, Trap):
        print(f"wasi_trio: error: {path} trapped: {shown_lines(str(outcome))}", file=sys.stderr)
        return TRAPPED
    return outcome


def process_outputs() -> tuple[ProcessOutput, ProcessOutput]:
    """Return sinks for standard output and standard error, the same one for both if they are the same terminal or pipe.

    With two sinks, data for one stream could overtake earlier data for the other that waits for space. A file never
    makes writers wait, and each descriptor may have its own position in it.
    """
    stdout = ProcessOutput(1)
    try:
        first, second = os.fstat(1), os.fstat(2)
    except OSError:  # one of them is closed
        return stdout, ProcessOutput(2)
    if os.path.samestat(first, second) and not stat.S_ISREG(first.st_mode):
        return stdout, stdout
    return stdout, ProcessOutput(2)


async def _run_until_interrupted(
    linked: LinkedComponent, export: Export | LiftedFunction, options: WasiOptions, outputs: set[ProcessOutput]
) -> int | Trap | signal.Signals:
    outcome: int | Trap | None = None
    received: list[signal.Signals] = []
    ending = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    # A KeyboardInterrupt could be raised anywhere, even between the guest and a host function.
    with trio.open_signal_receiver(*ending) as interrupts:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_interrupted, interrupts, received, nursery.cancel_scope)
            ended = await run(linked, export, options)
            for output in outputs:
                await output.drain()
            outcome = ended
            nursery.cancel_scope.cancel()
    return received[0] if outcome is None else outcome


async def _cancel_when_interrupted(
    interrupts: AsyncIterator[int], received: list[signal.Signals], scope: trio.CancelScope
) -> None:
    number = signal.Signals(await anext(interrupts))
    received.append(number)
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    scope.cancel()
