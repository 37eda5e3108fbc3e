"""Builds the guests that need a toolchain, once for each content of their sources.

``python -m tests.guests.build [name...]`` builds those named, or all, and prints where they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WIT = ROOT / "wasi_trio" / "wasi" / "wit"

#: guest name: the folder of ``wasi_trio/wasi/wit`` whose packages its world is made of
GUESTS = {
    "python_command": "p2",
    "python_files_p2": "p2",
    "python_files_p3": "p3",
    "python_p2": "p2",
    "python_p3": "p3",
}

#: componentize-py of the Python that runs this, whose script is not always on the PATH
TOOL = [sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())"]


class BuildFailed(Exception):
    """The toolchain refused a guest; ``str(error)`` is what it printed."""


def cache_folder() -> Path:
    """Where built guests are kept: ``$WASI_TRIO_GUESTS``, or ``.guests`` at the root of the repository."""
    return Path(os.environ.get("WASI_TRIO_GUESTS") or ROOT / ".guests")


def build(name: str) -> Path:
    """The path of a guest's component, built if this content of it has not been built yet.

    Blocks for as long as the toolchain takes, or another process that is building the same guest. Raises
    BuildFailed with the tool's output.
    """
    packages = WIT / GUESTS[name]
    cache = cache_folder()
    target = cache / f"{name}-{_digest(HERE / name, packages)}.wasm"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                built = _componentize(HERE / name, packages, Path(scratch))
                built.replace(target)
    return target


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".wit"))


def _digest(guest: Path, packages: Path) -> str:
    """A name for everything that the component is made of, the tool and this module's way of calling it included."""
    digest = hashlib.sha256(importlib.metadata.version("componentize-py").encode())
    for base, files in (
        (guest, _sources(guest)),
        (packages, _sources(packages)),
        (Path(__file__).parent, [Path(__file__)]),
    ):
        for file in files:
            digest.update(f"\0{file.relative_to(base)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _componentize(guest: Path, packages: Path, scratch: Path) -> Path:
    """Run componentize-py on ``app.py`` for the world ``guest`` of ``guest.wit``."""
    wit = scratch / "wit"
    shutil.copytree(packages, wit / "deps")
    shutil.copy(guest / "guest.wit", wit)
    app = scratch / "app"
    app.mkdir()
    for module in guest.glob("*.py"):
        shutil.copy(module, app)
    output = scratch / "guest.wasm"
    # -p keeps the packages of the Python that runs this out of the guest
    command = [*TOOL, "-d", str(wit), "-w", "guest", "componentize", "app", "-p", str(app), "-o", str(output)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode or not output.exists():
        raise BuildFailed(
            f"componentize-py could not build {guest.name} (status {result.returncode}):\n{result.stdout}"
        )
    return output


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in GUESTS]
    if unknown:
        print(f"no such guest: {', '.join(unknown)} (there are: {', '.join(GUESTS)})", file=sys.stderr)
        return 2
    for name in names or GUESTS:
        try:
            print(build(name))
        except BuildFailed as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
