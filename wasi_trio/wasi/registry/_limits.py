"""What fetching a component may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What fetching one component may take: seconds in all and without a byte, and bytes of what is fetched."""

    seconds: float = 300.0
    idle: float = 30.0
    manifest: int = 4 << 20
    component: int = 512 << 20


#: for whoever says nothing else
LIMITS = Limits()
