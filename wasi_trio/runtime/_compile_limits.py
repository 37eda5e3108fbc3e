"""The limits on compiling a component."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CompileLimits:
    """The limits on validating and compiling one component in a separate process.

    ``seconds`` limits the elapsed time, 120 s by default. ``memory`` limits the memory in bytes, 2 GiB by default, and
    is effective only on Linux. None means no limit. A guest of componentize-py, which contains a Python interpreter,
    takes 9 s of processor time and 350 MiB.
    """

    seconds: float | None = 120.0
    memory: int | None = 2 << 30
