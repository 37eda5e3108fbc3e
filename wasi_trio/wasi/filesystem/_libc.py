"""System calls that Python's ``os`` lacks, called with ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

#: special values of nanoseconds: the current time, and no change (``utimensat``)
UTIME_NOW, UTIME_OMIT = (-1, -2) if sys.platform == "darwin" else ((1 << 30) - 1, (1 << 30) - 2)
_AT_SYMLINK_NOFOLLOW = 0x20 if sys.platform == "darwin" else 0x100

#: the number of the system call, on all architectures
_SYS_OPENAT2 = 437
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08


class _How(ctypes.Structure):
    """``struct open_how`` of Linux."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


_HOW_SIZE = ctypes.sizeof(_How)

_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t)
_libc.futimens.argtypes = (ctypes.c_int, ctypes.POINTER(_Timespec))
_libc.utimensat.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_Timespec), ctypes.c_int)


def _fail() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def openat2(root: int, path: bytes, flags: int, mode: int, *, one_mount: bool) -> int:
    """Open a path that stays beneath the directory ``root`` and, with ``one_mount``, on its mount.

    Linux resolves each component under ``RESOLVE_BENEATH``. EXDEV means that the path leaves ``root`` or the mount.
    EAGAIN means that a concurrent rename prevented the check.
    """
    fd: int = _syscall(_SYS_OPENAT2, root, path, _how(flags, mode, one_mount), _HOW_SIZE)
    if fd < 0:
        raise _fail()
    return fd


@functools.lru_cache(maxsize=256)
def _how(flags: int, mode: int, one_mount: bool) -> Any:
    """Return a pointer to the structure. The kernel only reads it, so calls can share it."""
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS
    if one_mount:
        resolve |= _RESOLVE_NO_XDEV
    return ctypes.pointer(_How(flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, resolve))


def has_openat2() -> bool:
    """Return whether ``openat2`` is usable. The seccomp rules of a container may forbid it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        os.close(openat2(root, b".", os.O_PATH | os.O_DIRECTORY, 0, one_mount=True))
    except OSError:
        return False
    finally:
        os.close(root)
    return True


def set_times(fd: int, access: tuple[int, int], modification: tuple[int, int], name: bytes | None = None) -> None:
    """Set the timestamps of ``fd``, or of ``name`` in the directory ``fd`` without following a link.

    A timestamp is a pair of seconds and nanoseconds.
    """
    times = (_Timespec * 2)(_Timespec(*access), _Timespec(*modification))
    outcome = _libc.futimens(fd, times) if name is None else _libc.utimensat(fd, name, times, _AT_SYMLINK_NOFOLLOW)
    if outcome:
        raise _fail()


def filesystem_magic(fd: int) -> int | None:
    """Return Linux's number for the kind of filesystem of ``fd`` (``statfs``), or None on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    # The kind is the first member of the structure, and this buffer exceeds its size on every architecture.
    buffer = (ctypes.c_long * 64)()
    if _libc.fstatfs(fd, buffer):
        raise _fail()
    return int(buffer[0]) & 0xFFFF_FFFF
