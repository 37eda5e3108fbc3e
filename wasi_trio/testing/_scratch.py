"""A directory for one test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: where Linux keeps files in memory
_IN_MEMORY = "/dev/shm"


@contextmanager
def scratch_directory(files: Mapping[str, str | bytes] | None = None) -> Iterator[Path]:
    """A directory that is gone when the block ends, with these files in it: a relative path and what it holds for each.

    It is in memory where the system has a place for that (Linux), else on disk where temporary files are. It is a real
    directory in any case, so that what a guest does to it goes the way that it goes in production.
    """
    place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(prefix="wasi_trio-", dir=place) as name:
        folder = Path(name)
        for path, content in (files or {}).items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        yield folder
