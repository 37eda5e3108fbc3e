"""How guests may be profiled: what ``--profile`` says."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: where wasmtime writes a profile
FILE = "wasmtime-guest-profile.json"
#: seconds between two samples
INTERVAL = 0.010
#: as few seconds as there may be between two samples: the thread that asks for them competes with guests
SHORTEST = 0.001
#: bytes of the name of a file: as long as one may be, less what tells instances apart
LONGEST_NAME = 150


@dataclass(frozen=True, slots=True)
class GuestProfile:
    """Have the guest that runs sampled every ``interval`` seconds, and the samples written to ``path``.

    With ``numbered`` there is a file for each instance, whose name is made of ``path``, else only one.
    """

    path: str = FILE
    interval: float = INTERVAL
    numbered: bool = True


@dataclass(frozen=True, slots=True)
class NativeProfile:
    """Have wasmtime tell ``perf`` of the code that it makes: ``name`` is ``perfmap`` or ``jitdump``."""

    name: str


Profiling = GuestProfile | NativeProfile


def single(profiling: Profiling | None) -> Profiling | None:
    """The same for one instance, whose profile is written to the very path that was given."""
    return replace(profiling, numbered=False) if isinstance(profiling, GuestProfile) else profiling
