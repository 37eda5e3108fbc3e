"""Builds the guest in ``guests/echo_p2`` with componentize-py, once for each version of its source."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

from tests.guests.build import TOOL, WIT, cache_folder

SOURCE = Path(__file__).parent / "guests" / "echo_p2"


def flushing_echo() -> Path:
    """Return the guest that echoes with ``blocking-write-and-flush``. Raises RuntimeError if the build fails."""
    app = (SOURCE / "app.py").read_bytes()
    digest = hashlib.sha256(app + (SOURCE / "guest.wit").read_bytes() + metadata.version("componentize-py").encode())
    target = cache_folder() / f"echo_p2-{digest.hexdigest()[:16]}.wasm"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        scratch = Path(folder)
        shutil.copytree(WIT / "p2", scratch / "wit" / "deps")
        shutil.copy(SOURCE / "guest.wit", scratch / "wit")
        (scratch / "app").mkdir()
        (scratch / "app" / "app.py").write_bytes(app)
        command = [*TOOL, "-d", "wit", "-w", "guest", "componentize", "app", "-p", "app", "-o", "guest.wasm"]
        result = subprocess.run(
            command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"componentize-py could not build {SOURCE.name}:\n{result.stdout}")
        (scratch / "guest.wasm").replace(target)
    return target
