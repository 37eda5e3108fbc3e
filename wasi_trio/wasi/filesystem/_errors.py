"""The ``error-code`` of wasi:filesystem for an OSError."""

from __future__ import annotations

import errno
import os

_NAMES = {
    "EACCES": "access",
    "EALREADY": "already",
    "EBADF": "bad-descriptor",
    "EBUSY": "busy",
    "EDEADLK": "deadlock",
    "EDQUOT": "quota",
    "EEXIST": "exist",
    "EFBIG": "file-too-large",
    "EILSEQ": "illegal-byte-sequence",
    "EINPROGRESS": "in-progress",
    "EINTR": "interrupted",
    "EINVAL": "invalid",
    "EIO": "io",
    "EISDIR": "is-directory",
    "ELOOP": "loop",
    "EMLINK": "too-many-links",
    "EMSGSIZE": "message-size",
    "ENAMETOOLONG": "name-too-long",
    "ENODEV": "no-device",
    "ENOENT": "no-entry",
    "ENOLCK": "no-lock",
    "ENOMEM": "insufficient-memory",
    "ENOSPC": "insufficient-space",
    "ENOTDIR": "not-directory",
    "ENOTEMPTY": "not-empty",
    "ENOTRECOVERABLE": "not-recoverable",
    "ENOTSUP": "unsupported",
    "EOPNOTSUPP": "unsupported",
    "ENOSYS": "unsupported",
    "ENOTTY": "no-tty",
    "ENXIO": "no-such-device",
    "EOVERFLOW": "overflow",
    "EPERM": "not-permitted",
    "EPIPE": "pipe",
    "EROFS": "read-only",
    "ESPIPE": "invalid-seek",
    "ETXTBSY": "text-file-busy",
    "EXDEV": "cross-device",
    # WASI has no word for a lack of descriptors; this is the nearest of its words for a lack of something.
    "EMFILE": "insufficient-memory",
    "ENFILE": "insufficient-memory",
}
#: by errno, as 0.2 and 0.3 both spell them (types.wit says which errno each is like); no system has all of these
CODES = {getattr(errno, name): code for name, code in _NAMES.items() if hasattr(errno, name)}


def failure(number: int) -> OSError:
    """The OSError for an errno."""
    return OSError(number, os.strerror(number))


def code_of(error: OSError) -> str | None:
    """The ``error-code`` that both versions have for it; None if there is none."""
    return None if error.errno is None else CODES.get(error.errno)
