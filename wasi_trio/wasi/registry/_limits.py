"""Limits on fetching a component."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on fetching one component.

    ``seconds`` bounds the whole fetch, and ``idle`` the seconds without a byte. ``manifest`` and ``component`` bound
    the bytes of each.
    """

    seconds: float = 300.0
    idle: float = 30.0
    manifest: int = 4 << 20
    component: int = 512 << 20


#: the default limits
LIMITS = Limits()
