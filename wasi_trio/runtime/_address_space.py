"""Address space for linear memories, where the process has a limit of it (RLIMIT_AS, ``ulimit -v``).

wasmtime sets 4 GiB of addresses aside for each memory, of which nothing is used before the guest grows into it: then
its code needs no bounds checks. With a limit, memories get a share of it instead and code is compiled with checks.
"""

from __future__ import annotations

import resource

#: bytes of addresses for a memory, as wasmtime likes it best: all that 32 bits can name
WHOLE = 1 << 32
#: around each memory, beside wasmtime's default where there is room
SMALL_GUARD = 64 << 10
#: of the limit, the part that one memory may have, and the least that is of use
_SHARES = 16
_LEAST = 64 << 20
_PAGE = 64 << 10
#: the least limit to run under
NEEDED = _SHARES * _LEAST


class AddressSpaceError(Exception):
    """There is too little address space to run guests; the message is one line."""


def limit() -> int | None:
    """Bytes of address space that the process may have; None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def reservation() -> int:
    """Bytes of addresses to set aside for each linear memory, which is also the most that it may have."""
    most = limit()
    if most is None:
        return WHOLE
    return min(WHOLE, max(_LEAST, most // _SHARES // _PAGE * _PAGE))


def check() -> str | None:
    """What the limit means for guests, in a sentence; None without one that matters. Raises AddressSpaceError."""
    most = limit()
    if most is None or reservation() == WHOLE:
        return None
    if most < NEEDED:
        raise AddressSpaceError(
            f"the address space is limited to {most >> 20} MiB (RLIMIT_AS, ulimit -v), and guests need"
            f" {NEEDED >> 20} MiB at least; to bound memory, use a cgroup (MemoryMax=) and --max-memory-size"
        )
    return (
        f"the address space is limited to {most >> 20} MiB (RLIMIT_AS, ulimit -v): a guest's memory ends at"
        f" {reservation() >> 20} MiB, no more than {_SHARES} have room at once, and they run slower"
    )
