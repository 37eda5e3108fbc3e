"""The options for profiling guests: the values of ``--profile``."""

from __future__ import annotations

from typing import NamedTuple

#: The file to which wasmtime writes a profile.
FILE = "wasmtime-guest-profile.json"
#: Interval between samples in seconds.
INTERVAL = 0.010
#: Minimum interval between samples in seconds, because the thread that requests samples competes with guests.
MIN_INTERVAL = 0.001
#: Maximum length in bytes of a file name, which leaves room for the part that distinguishes instances.
MAX_NAME_BYTES = 150


class GuestProfile(NamedTuple):
    """Samples the running guest every ``interval`` seconds and writes the samples to ``path``.

    With ``numbered``, each instance has a file whose name is derived from ``path``. Otherwise one file is written.
    """

    path: str = FILE
    interval: float = INTERVAL
    numbered: bool = True


class NativeProfile(NamedTuple):
    """Makes wasmtime describe its code to ``perf``. ``name`` is ``perfmap`` or ``jitdump``."""

    name: str


Profiling = GuestProfile | NativeProfile


def single(profiling: Profiling | None) -> Profiling | None:
    """Return the options for a single instance, whose profile is written to exactly the given path."""
    return profiling._replace(numbered=False) if isinstance(profiling, GuestProfile) else profiling
