"""Reading of files that a user names: never waiting for a writer, and never more than a bound."""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from typing import Any

#: The maximum size of a component or of a file of samples.
MAX_SIZE = 512 << 20
#: The maximum size of a configuration, a header file, a WIT file or a certificate.
MAX_TEXT = 16 << 20
_CHUNK = 1 << 20


def read_file(path: str | os.PathLike[str], most: int = MAX_SIZE) -> bytes:
    """Return the content of a file. Raises OSError, also for more than ``most`` bytes.

    A pipe must have a writer, as that of a shell's ``<(...)`` has. Opening any other named pipe would wait for one.
    """
    if not os.fspath(path):
        raise OSError(errno.ENOENT, "the name is empty")
    descriptor = _open(path)
    with open(descriptor, "rb", buffering=0) as file:
        os.set_blocking(descriptor, True)
        about = os.fstat(descriptor)
        if about.st_size > most:
            raise _too_large(most)
        content = file.readall() if about.st_size else _read_stream(file, most)
        if stat.S_ISFIFO(about.st_mode) and not content:
            raise OSError(errno.ENODATA, "it is a pipe, and nothing writes to it")
        return content


def check_regular(path: str) -> None:
    """Raise OSError for a path that is no readable regular file. For files that other libraries open."""
    descriptor = _open(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
    finally:
        os.close(descriptor)


def _open(path: str | os.PathLike[str]) -> int:
    """Open anything but a directory, without a wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return descriptor


def _read_stream(file: FileIO, most: int) -> bytes:
    """Read a pipe, a device, or a file whose size is unknown."""
    chunks = []
    size = 0
    while chunk := file.read(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            raise _too_large(most)
    return b"".join(chunks)


def _too_large(most: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB")


def parse_json(content: bytes) -> Any:
    """Parse JSON in UTF-8. Raises ValueError, whose message follows the name of the file."""
    import json  # imported late, because few commands read JSON or TOML

    text = _decoded(content).removeprefix("\ufeff")
    if not text.strip():
        raise ValueError("is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} (at line {error.lineno}, column {error.colno})") from None
    except ValueError:  # the interpreter's limit
        raise ValueError("has a number with too many digits") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def parse_toml(content: bytes) -> dict[str, Any]:
    """Parse TOML. Raises ValueError, whose message follows the name of the file."""
    import tomllib

    text = _decoded(content)
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"is not TOML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (at byte {error.start})") from None
