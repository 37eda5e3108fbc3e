"""The memory available to the process, as the system reports it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: The default share of that memory for instances.
SHARE = 0.8


def available(root: Path = Path("/")) -> int:
    """Return the bytes available to the process: the machine's memory, or the limit of its control groups (Linux)."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _limit_files(root):
        with suppress(OSError, ValueError):  # no file, or "max"
            limits.append(int(file.read_text()))
    return min(limits)


def _limit_files(root: Path) -> Iterator[Path]:
    """Yield the files that may hold a memory limit of the process's control groups, of version 1 and 2."""
    mounted = root / "sys/fs/cgroup"
    lines: list[str] = []
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base, name = (mounted, "memory.max") if not controllers else (mounted / "memory", "memory.limit_in_bytes")
        # A container often sees the path of the host, while its group is mounted as the root.
        group = base / path.lstrip("/")
        yield base / name
        while group != base:
            yield group / name
            group = group.parent
