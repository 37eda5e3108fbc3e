"""What compiling a component may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CompileLimits:
    """What it may take to check and compile one component, which is done in a process of its own then.

    ``seconds`` is the time that passes, ``memory`` is in bytes (counted on Linux alone); None is no limit. A guest of
    componentize-py, which has a Python interpreter in it, takes 9 seconds of a processor and 350 MiB.
    """

    seconds: float | None = 120.0
    memory: int | None = 2 << 30
