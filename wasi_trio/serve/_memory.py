"""How much memory the process may use, as far as the system says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: the part of it that instances may hold together, unless an operator says otherwise
SHARE = 0.8


def available(root: Path = Path("/")) -> int:
    """Bytes that the process may have: the machine's, or those of the control groups (Linux) that it is in."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _limit_files(root):
        with suppress(OSError, ValueError):  # none there, or "max"
            limits.append(int(file.read_text()))
    return min(limits)


def _limit_files(root: Path) -> Iterator[Path]:
    """The files of control groups, of either version, that may say what the process may have."""
    mounted = root / "sys/fs/cgroup"
    lines: list[str] = []
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base, name = (mounted, "memory.max") if not controllers else (mounted / "memory", "memory.limit_in_bytes")
        # In a container the path is often the one outside, and the group is mounted as the root.
        group = base / path.lstrip("/")
        yield base / name
        while group != base:
            yield group / name
            group = group.parent
