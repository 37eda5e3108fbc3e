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
    # WASI has no code for a lack of descriptors. This is its code for the most similar shortage.
    "EMFILE": "insufficient-memory",
    "ENFILE": "insufficient-memory",
}
#: error codes by errno, for 0.2 and 0.3 (types.wit names the errno of each); no system defines all of them
CODES = {getattr(errno, name): code for name, code in _NAMES.items() if hasattr(errno, name)}


def failure(number: int) -> OSError:
    """Return the OSError for an errno."""
    return OSError(number, os.strerror(number))


def code_of(error: OSError) -> str | None:
    """Return the ``error-code`` of an error in both versions, or None."""
    return None if error.errno is None else CODES.get(error.errno)
