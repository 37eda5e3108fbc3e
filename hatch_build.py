"""The compiled wheel: builds the modules listed in pyproject.toml with mypyc, if ``HATCH_BUILD_HOOKS_ENABLE=1`` is set.

See docs/compiled.md.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledWheel(BuildHookInterface):  # type: ignore[type-arg]
    """Puts an extension module beside each listed module. The sources stay: for tracebacks, and for other Pythons."""

    _folder: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            raise RuntimeError("an editable install runs the sources: unset HATCH_BUILD_HOOKS_ENABLE")
        self._folder = tempfile.mkdtemp(prefix="wasi-trio-compiled-")
        built = Path(self._folder, "built")
        with contextlib.chdir(self.root):
            _compile(self.config["modules"], Path(self._folder), built)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update(
            {str(path): str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
        )

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder)


def _compile(modules: list[str], folder: Path, built: Path) -> None:
    # Neither is there, or wanted, in a build of the pure wheel.
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    files = [name.replace(".", os.sep) + ".py" for name in modules]
    # Only the listed modules must be free of errors: optional packages that others import may be absent.
    options = [f"--cache-dir={folder / 'cache'}", "--follow-imports=silent"]
    extensions = mypycify([*options, *files], target_dir=str(folder / "sources"), group_name="wasi_trio")
    command = build_ext(Distribution({"name": "wasi-trio", "ext_modules": extensions}))
    command.build_lib = str(built)
    command.build_temp = str(folder / "objects")
    command.ensure_finalized()
    command.run()
