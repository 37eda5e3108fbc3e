"""Parsers of command-line option values. Each parser raises ValueError with a one-line message."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from wasi_trio._files import MAX_TEXT, read_file
from wasi_trio.component import _features as features
from wasi_trio.lazy import Pattern
from wasi_trio.runtime._profile_options import (
    FILE,
    INTERVAL,
    MAX_NAME_BYTES,
    MIN_INTERVAL,
    GuestProfile,
    NativeProfile,
    Profiling,
)
from wasi_trio.wasi._wasmtime_options import check, is_known
from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._references import is_reference, parse_reference

T = TypeVar("T")

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_DURATION = Pattern(rf"{_NUMBER}\s*(h|ms|m|s|us|[\u00b5\u03bc]s|ns)?", re.ASCII)
#: Several numbers, each with a smaller unit than the one before.
_SUM = Pattern(rf"(?:{_NUMBER}\s*h\s*)?(?:{_NUMBER}\s*m\s*)?(?:{_NUMBER}\s*s\s*)?(?:{_NUMBER}\s*ms)?", re.ASCII)
#: Units per second. It is a divisor, because 500 / 1000 is exact and 500 * 1e-3 is not.
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "\u00b5s": 10**6, "\u03bcs": 10**6, "ns": 10**9}
#: Seconds per unit.
_SECONDS = {"h": 3600, "m": 60}
_EXAMPLE = "127.0.0.1:8080"
_SIZE = Pattern(r"(\d+)\s*([KMG])?(?:(?<=[KMG])iB)?", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: The sizes from which the system accepts no limits.
_TOO_LARGE = 1 << 62
#: The maximum number of worker processes. More of them are certainly a mistake.
MAX_WORKERS = 1000
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_token = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch
_value = re.compile(r"[\t\x20-\x7e]*").fullmatch


class UnixAddress(NamedTuple):
    """A Unix socket, identified by its path."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class InheritedSocket(NamedTuple):
    """A socket that the process inherited, identified by its file descriptor."""

    descriptor: int

    def __str__(self) -> str:
        return f"fd://{self.descriptor}"


#: an address that a server can listen on; an IP address has a port
ListenAddress = tuple[str, int] | UnixAddress | InheritedSocket


def parse_listen_address(text: str) -> ListenAddress:
    """Parse ``IP:PORT`` (see :func:`parse_address`), ``unix:PATH`` or ``fd://NUMBER``."""
    if text.startswith("unix:") and len(text) > 5 and "\0" not in text:
        return UnixAddress(text[5:])
    number = text.removeprefix("fd://")
    if number != text and number.isascii() and number.isdigit() and int(number) < 1 << 31:
        return InheritedSocket(int(number))
    try:
        return parse_address(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address of the form IP:PORT (such as {_EXAMPLE}), unix:PATH or fd://NUMBER"
        ) from None


def parse_address(text: str) -> tuple[str, int]:
    """Parse ``IP:PORT``. An IPv6 address requires brackets; ``localhost`` means 127.0.0.1."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address of the form IP:PORT, such as {_EXAMPLE}")
    if host == "localhost":
        return "127.0.0.1", int(port)
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    if address is None or (address.version == 6) is not bracketed:
        raise ValueError(f"{text!r} is not an address of the form IP:PORT, such as {_EXAMPLE}")
    return str(address), int(port)


def parse_duration(text: str) -> float:
    """Parse a number with the unit h, m, s (the default), ms, us or ns, or a sum such as 1h30m. Return seconds."""
    stripped = text.strip()
    match = _DURATION.fullmatch(stripped)
    seconds = math.inf
    if match is not None:
        number, unit = float(match[1]), match[2] or "s"
        seconds = number * _SECONDS[unit] if unit in _SECONDS else number / _PER_SECOND[unit]
    elif stripped and (parts := _SUM.fullmatch(stripped)) is not None:
        hours, minutes, rest, milliseconds = (float(part or 0) for part in parts.groups())
        seconds = 3600 * hours + 60 * minutes + rest + milliseconds / 1000
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is not a duration such as 1s, 500ms, 2.5, 5m or 1h30m")
    return seconds


def parse_limit(text: str) -> float:
    """Parse a duration like :func:`parse_duration`, and reject 0."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError(f"{text!r} must be longer than 0")
    return seconds


def parse_count(text: str) -> int:
    """Parse a whole number of at least 1."""
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18 or int(digits) == 0:
        raise ValueError(f"{text!r} is not a whole number of 1 or more")
    return int(digits)


def parse_workers(text: str) -> int:
    """Parse a number of worker processes."""
    number = parse_count(text)
    if number > MAX_WORKERS:
        raise ValueError(f"{text!r} is more than {MAX_WORKERS} processes")
    return number


def parse_size(text: str) -> int:
    """Parse a size of at least 1 byte, with an optional unit K, M or G (or KiB, MiB, GiB), and return bytes."""
    match = _SIZE.fullmatch(text.strip())
    number = int(match[1]) * _BYTES[(match[2] or "").upper()] if match and len(match[1]) <= 18 else 0
    if not 0 < number < _TOO_LARGE:
        raise ValueError(f"{text!r} is not a size in bytes such as 1048576, 512M or 2GiB")
    return number


def parse_switch(text: str) -> bool:
    """Parse ``true``, ``false`` or one of their synonyms."""
    switch = _SWITCH.get(text.strip().lower())
    if switch is None:
        raise ValueError(f"{text!r} is not true or false")
    return switch


def parse_features(text: str) -> tuple[tuple[str, bool], ...]:
    """Parse ``NAME[=y|n],...`` into names of WebAssembly features and whether each is enabled."""
    parts = text.split(",")
    for part in parts:
        if is_known("W", part):
            check("W", part)
    own = [part for part in parts if not is_known("W", part)]
    return features.parse(",".join(own)) if own else ()


def or_none(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return a parser of limits that also accepts ``none`` for no limit."""

    def parse_or_none(text: str) -> T | None:
        return None if text.strip().lower() == "none" else parse(text)

    return parse_or_none


def parse_path(text: str) -> str:
    """Parse the path of a file, which must not be empty."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not the path of a file")
    return text


def parse_component(text: str) -> str:
    """Parse the path of a component file, or a reference to a component in a registry."""
    if is_reference(text):
        try:
            parse_reference(text)
        except RegistryError as error:
            raise ValueError(str(error)) from None
        return text
    return parse_path(text)


def parse_access_log(text: str) -> str:
    """Parse ``text``, ``json`` or a format with atoms."""
    if text not in ("text", "json"):
        check_access_format(text)
        if not re.search(r"%\([^)]+\)", text):
            raise ValueError(f"{text!r} is not text, json or a format with an atom such as %(r)s")
    return text


def check_access_format(text: str) -> None:
    """Raise ValueError if a format cannot produce lines."""
    try:
        text % _Atoms()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text!r} is not a valid format: {error}") from None


class _Atoms(dict[str, Any]):
    """Sample values for all atoms, with the types of real values: two atoms are numbers."""

    def __missing__(self, name: str) -> Any:
        return 0 if name in ("T", "D") else "-"


def parse_log_format(text: str) -> str:
    """Parse ``text`` or ``json``."""
    if text not in ("text", "json"):
        raise ValueError(f"{text!r} is not text or json")
    return text


def parse_text(text: str) -> str:
    """Parse text for a guest, which must be UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not UTF-8 text") from None
    return text


def parse_variable(text: str) -> tuple[str, str] | None:
    """Parse ``NAME=VALUE`` or ``NAME``, whose value comes from the environment. Return None if it has none."""
    name, equals, value = parse_text(text).partition("=")
    if not name:
        raise ValueError(f"{text!r} is not of the form NAME or NAME=VALUE")
    if equals:
        return name, value
    inherited = os.environ.get(name)
    return None if inherited is None else (name, _parse_inherited(name, inherited))


def _parse_inherited(name: str, value: str) -> str:
    try:
        return parse_text(value)
    except ValueError:
        raise ValueError(f"the environment variable {name} does not hold UTF-8 text") from None


def parse_profile(text: str) -> Profiling:
    """Parse ``guest[,PATH[,INTERVAL]]``, ``perfmap`` or ``jitdump``. The directory of PATH must exist."""
    kind, *rest = text.split(",")
    if kind in ("perfmap", "jitdump") and not rest:
        if not sys.platform.startswith("linux"):
            raise ValueError(f"{kind} is for perf and requires Linux")
        folder = "/tmp" if kind == "perfmap" else "."
        if not _accepts_files(folder):  # wasmtime would end the process
            raise ValueError(f"cannot write {kind}: {os.path.abspath(folder)} does not accept new files")
        return NativeProfile(kind)
    if kind in ("vtune", "pulley"):
        raise ValueError(f"{kind} is not supported; use guest, perfmap or jitdump")
    if kind != "guest" or len(rest) > 2:
        raise ValueError(f"{text!r} is not of the form guest[,PATH[,INTERVAL]], perfmap or jitdump")
    path, interval = FILE, INTERVAL
    if rest:
        path = parse_path(rest[0])
    if len(rest) == 2:
        interval = parse_duration(rest[1])
        if interval < MIN_INTERVAL:
            raise ValueError(f"{rest[1]!r} is shorter than {MIN_INTERVAL * 1000:g}ms, the shortest sampling interval")
    return GuestProfile(_writable_path(path), interval)


def _writable_path(path: str) -> str:
    """Return a path after checks that its file, and files with longer names beside it, can be written."""
    folder = os.path.dirname(path) or "."
    if len(os.fsencode(os.path.basename(path))) > MAX_NAME_BYTES:
        raise ValueError(f"the name of {path[:40]!r}... is longer than {MAX_NAME_BYTES} bytes")
    if os.path.isdir(path):
        raise ValueError(f"{path!r} is a directory; give the path of a file")
    if not os.path.isdir(folder):
        raise ValueError(f"the directory {folder!r} of {path!r} does not exist")
    if os.path.exists(path) and not os.path.isfile(path):  # for example /dev/null, which a file would replace
        raise ValueError(f"{path!r} is not a regular file")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise ValueError(f"cannot write {path!r}")
    if not _accepts_files(folder):
        raise ValueError(f"cannot write {path!r}: its directory does not accept new files")
    return path


def _accepts_files(folder: str) -> bool:
    """Return whether a directory accepts new files. Its permissions alone do not tell."""
    # Imported late, because few command lines name such a directory.
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


class Directory(NamedTuple):
    """A directory of the host, with its absolute path and its name for guests."""

    host: str
    guest: str
    read_only: bool = False


def parse_directory(text: str) -> Directory:
    """Parse ``HOST::GUEST``, or ``HOST`` for the same path on both sides. A final ``::ro`` makes it read-only."""
    host, *rest = text.split("::")
    if not host or "\0" in text or len(rest) > 2 or "" in rest or rest[1:] not in ([], ["ro"]):
        raise ValueError(f"{text!r} is not of the form HOST::GUEST or HOST::GUEST::ro")
    try:
        os.close(os.open(host, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK))
    except OSError as error:
        raise ValueError(f"cannot open {host!r} as a directory: {error.strerror}") from None
    return Directory(os.path.abspath(host), parse_text(rest[0] if rest else host), len(rest) == 2)


def parse_headers(text: str) -> list[tuple[bytes, bytes]]:
    """Parse ``name: value``, or ``@FILE`` with one header on each line.

    Blank lines are ignored, and names become lower case.
    """
    if not text.startswith("@"):
        return [_parse_header(text)]
    path = text[1:]
    try:
        content = read_file(path, MAX_TEXT).decode()
    except OSError as error:
        raise ValueError(f"cannot read {path!r}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"cannot read {path!r}: it is not UTF-8 text") from None
    # Only LF and CR LF end a line. splitlines() would also split at characters that are invalid in headers.
    lines = [line.removesuffix("\r") for line in content.split("\n")]
    return [_parse_header(line) for line in lines if line.strip()]


def _parse_header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    name = name.strip()
    value = value.strip(" \t")
    if not colon:
        raise ValueError(f"{text!r} is not of the form 'name: value'")
    if _token(name) is None:
        raise ValueError(f"{text!r} has an invalid header name")
    if _value(value) is None:
        raise ValueError(f"{text!r} has a value with characters that are not visible ASCII")
    return name.lower().encode(), value.encode()
