"""A directory for one test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: Linux's folder for files in memory.
_IN_MEMORY = "/dev/shm"


@contextmanager
def scratch_directory(files: Mapping[str, str | bytes] | None = None) -> Iterator[Path]:
    """Create a directory that is removed when the block ends. ``files`` maps relative paths to contents.

    The directory is in memory if the system supports that (Linux), otherwise in the folder for temporary files. It is
    always a real directory, so a guest's operations on it take the same path as in production.
    """
    place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(prefix="wasi_trio-", dir=place) as name:
        folder = Path(name)
        for path, content in (files or {}).items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        yield folder
