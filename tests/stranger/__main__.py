"""``python -m tests.stranger``: the way of a user from nothing to a property test that passes, and its times.

It makes an environment, installs this checkout in it as pip installs a release, and runs the lines of docs/testing.md.
It needs the package index that pip is configured for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.blocks import ROOT
from tests.stranger import suite


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.1f} s", flush=True)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wasi_trio-stranger-") as name, timed("all of it"):
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        # Of the current environment and of this checkout nothing is found.
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST"))}
        # Nor is any code that was compiled before.
        inside = outside | {"HOME": name, "XDG_CACHE_HOME": name}
        with timed("environment"):
            subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        with timed("pip install wasi-trio[testing]"):
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, f"wasi-trio[testing] @ {ROOT.as_uri()}"], check=True, env=outside)
        suite.write(folder)
        print(f"{suite.count()} lines of the user's own", flush=True)
        with timed("the property test"):
            done = subprocess.run([python, "-m", "pytest", "-q"], cwd=folder, env=inside, check=False)
    return done.returncode


sys.exit(main())
