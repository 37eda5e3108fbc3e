"""Divides the address space among linear memories if the process has a limit (RLIMIT_AS, ``ulimit -v``).

wasmtime reserves 4 GiB of addresses for each memory, and uses them only as the guest grows. In return, its code needs
no bounds checks. With a limit, each memory gets a share of the address space, and code is compiled with checks.
"""

from __future__ import annotations

import resource

#: wasmtime's preferred reservation in bytes for a memory: all 32-bit addresses.
FULL_RESERVATION = 1 << 32
#: Bytes of guard around each memory, in place of wasmtime's default, if the address space is limited.
SMALL_GUARD = 64 << 10
#: Number of shares of the limit, one for each memory, and the minimum share in bytes.
_SHARES = 16
_MIN_RESERVATION = 64 << 20
_PAGE = 64 << 10
#: The minimum limit in bytes.
MIN_LIMIT = _SHARES * _MIN_RESERVATION


class AddressSpaceError(Exception):
    """The address space is too small to run guests. The message is one line."""


def limit() -> int | None:
    """Return the process's limit of address space in bytes, or None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def reservation() -> int:
    """Return the bytes of addresses to reserve for each linear memory, which is also its maximum size."""
    most = limit()
    if most is None:
        return FULL_RESERVATION
    return min(FULL_RESERVATION, max(_MIN_RESERVATION, most // _SHARES // _PAGE * _PAGE))


def check() -> str | None:
    """Return a sentence on the effect of the limit on guests, or None if it has none. Raises AddressSpaceError."""
    most = limit()
    if most is None or reservation() == FULL_RESERVATION:
        return None
    if most < MIN_LIMIT:
        raise AddressSpaceError(
            f"the address space is limited to {most >> 20} MiB (RLIMIT_AS, ulimit -v), but guests require at least"
            f" {MIN_LIMIT >> 20} MiB; to limit memory, use a cgroup (MemoryMax=) and --max-memory-size"
        )
    return (
        f"the address space is limited to {most >> 20} MiB (RLIMIT_AS, ulimit -v): each guest memory has at most"
        f" {reservation() >> 20} MiB, at most {_SHARES} memories fit at once, and guests run more slowly"
    )
