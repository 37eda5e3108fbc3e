"""What the command line's option values mean. Every parser raises ValueError with a message of one line."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wasi_trio.component import _features as features
from wasi_trio.lazy import Pattern
from wasi_trio.runtime._profile_options import (
    FILE,
    INTERVAL,
    LONGEST_NAME,
    SHORTEST,
    GuestProfile,
    NativeProfile,
    Profiling,
)
from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._references import is_reference, parse_reference

T = TypeVar("T")

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_DURATION = Pattern(rf"{_NUMBER}\s*(h|ms|m|s|us|[\u00b5\u03bc]s|ns)?", re.ASCII)
#: several numbers, each with a smaller unit than the one before
_SUM = Pattern(rf"(?:{_NUMBER}\s*h\s*)?(?:{_NUMBER}\s*m\s*)?(?:{_NUMBER}\s*s\s*)?(?:{_NUMBER}\s*ms)?", re.ASCII)
#: how many of a unit make a second; divided by, because 500 / 1000 is exact where 500 * 1e-3 is not
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "\u00b5s": 10**6, "\u03bcs": 10**6, "ns": 10**9}
#: how many seconds make a larger unit
_SECONDS = {"h": 3600, "m": 60}
_SIZE = Pattern(r"(\d+)\s*([KMG])?(?:(?<=[KMG])iB)?", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_token = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch
_value = re.compile(r"[\t\x20-\x7e]*").fullmatch


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket, by its path."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A socket that the process was started with, by its file descriptor."""

    descriptor: int

    def __str__(self) -> str:
        return f"fd://{self.descriptor}"


#: where a server may listen; an IP address goes with its port
ListenAddress = tuple[str, int] | UnixAddress | InheritedSocket


def parse_listen_address(text: str) -> ListenAddress:
    """``IP:PORT`` as of :func:`parse_address`, ``unix:PATH`` or ``fd://NUMBER``."""
    if text.startswith("unix:") and len(text) > 5 and "\0" not in text:
        return UnixAddress(text[5:])
    number = text.removeprefix("fd://")
    if number != text and number.isascii() and number.isdigit() and int(number) < 1 << 31:
        return InheritedSocket(int(number))
    try:
        return parse_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address of the form IP:PORT, unix:PATH or fd://NUMBER") from None


def parse_address(text: str) -> tuple[str, int]:
    """``IP:PORT``, with the brackets of a URL around an IPv6 address; ``localhost`` is 127.0.0.1."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address of the form IP:PORT")
    if host == "localhost":
        return "127.0.0.1", int(port)
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    if address is None or (address.version == 6) is not bracketed:
        raise ValueError(f"{text!r} is not an address of the form IP:PORT")
    return str(address), int(port)


def parse_duration(text: str) -> float:
    """Seconds from a number with the unit h, m, s, ms, us or ns, or without one: seconds; or a sum such as 1h30m."""
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
    """As :func:`parse_duration`, but more than 0."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError(f"{text!r} has to be longer than 0")
    return seconds


def parse_count(text: str) -> int:
    """A whole number from 1 on."""
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18 or int(digits) == 0:
        raise ValueError(f"{text!r} is not a whole number of 1 or more")
    return int(digits)


def parse_size(text: str) -> int:
    """Bytes, from 1 on, from a number of them or with the unit KiB, MiB or GiB."""
    match = _SIZE.fullmatch(text.strip())
    number = int(match[1]) * _BYTES[(match[2] or "").upper()] if match and len(match[1]) <= 18 else 0
    if number == 0:
        raise ValueError(f"{text!r} is not a size in bytes such as 1048576, 64MiB or 2GiB")
    return number


def parse_switch(text: str) -> bool:
    """``true`` or ``false``, or another of the words for them."""
    switch = _SWITCH.get(text.strip().lower())
    if switch is None:
        raise ValueError(f"{text!r} is not true or false")
    return switch


def parse_features(text: str) -> tuple[tuple[str, bool], ...]:
    """``NAME[=y|n],...``: features of WebAssembly, and whether each is admitted."""
    return features.parse(text)


def or_none(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """A parser of limits that takes ``none`` for there being none."""

    def parse_or_none(text: str) -> T | None:
        return None if text.strip().lower() == "none" else parse(text)

    return parse_or_none


def parse_path(text: str) -> str:
    """A file's path, which is not empty."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not a file's path")
    return text


def parse_component(text: str) -> str:
    """The path of a component's file, or a reference to a component in a registry."""
    if is_reference(text):
        try:
            parse_reference(text)
        except RegistryError as error:
            raise ValueError(str(error)) from None
        return text
    return parse_path(text)


def parse_access_log(text: str) -> str:
    """``text``, ``json``, or a format with atoms."""
    if text not in ("text", "json"):
        check_access_format(text)
        if not re.search(r"%\([^)]+\)", text):
            raise ValueError(f"{text!r} is neither text nor json, nor has it an atom such as %(r)s")
    return text


def check_access_format(text: str) -> None:
    """That lines can be made with a format, whatever its atoms are."""
    try:
        text % _Atoms()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text!r} is no format: {error}") from None


class _Atoms(dict[str, Any]):
    """A value for each atom, of the type that it has in a line: two are numbers."""

    def __missing__(self, name: str) -> Any:
        return 0 if name in ("T", "D") else "-"


def parse_log_format(text: str) -> str:
    """``text`` or ``json``."""
    if text not in ("text", "json"):
        raise ValueError(f"{text!r} is neither text nor json")
    return text


def parse_text(text: str) -> str:
    """Text that a guest can be given: anything in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not text in UTF-8") from None
    return text


def parse_variable(text: str) -> tuple[str, str] | None:
    """``NAME=VALUE``, or ``NAME`` for the value that the variable has here; None where it has none."""
    name, equals, value = parse_text(text).partition("=")
    if not name:
        raise ValueError(f"{text!r} is not of the form NAME or NAME=VALUE")
    if equals:
        return name, value
    inherited = os.environ.get(name)
    return None if inherited is None else (name, _text_of(name, inherited))


def _text_of(name: str, value: str) -> str:
    try:
        return parse_text(value)
    except ValueError:
        raise ValueError(f"the value that {name} has here is not text in UTF-8") from None


def parse_profile(text: str) -> Profiling:
    """``guest[,PATH[,INTERVAL]]``, ``perfmap`` or ``jitdump``. The folder of PATH has to be there."""
    kind, *rest = text.split(",")
    if kind in ("perfmap", "jitdump") and not rest:
        if not sys.platform.startswith("linux"):
            raise ValueError(f"{kind} is for perf, which only Linux has")
        folder = "/tmp" if kind == "perfmap" else "."
        if not _takes_files(folder):  # wasmtime ends the process then
            raise ValueError(f"{kind} cannot be written: no file can be made in {os.path.abspath(folder)}")
        return NativeProfile(kind)
    if kind in ("vtune", "pulley"):
        raise ValueError(f"{kind} is not available here: guest, perfmap and jitdump are")
    if kind != "guest" or len(rest) > 2:
        raise ValueError(f"{text!r} is not of the form guest[,PATH[,INTERVAL]], perfmap or jitdump")
    path, interval = FILE, INTERVAL
    if rest:
        path = parse_path(rest[0])
    if len(rest) == 2:
        interval = parse_duration(rest[1])
        if interval < SHORTEST:
            raise ValueError(f"{rest[1]!r} is shorter than {SHORTEST * 1000:g}ms, which samples are at least apart")
    return GuestProfile(_writable(path), interval)


def _writable(path: str) -> str:
    """The path of a file that could be written, and others beside it whose names begin so."""
    folder = os.path.dirname(path) or "."
    if len(os.fsencode(os.path.basename(path))) > LONGEST_NAME:
        raise ValueError(f"the name of {path[:40]!r}... is longer than {LONGEST_NAME} bytes")
    if os.path.isdir(path):
        raise ValueError(f"{path!r} is a directory, and has to be a file's path")
    if not os.path.isdir(folder):
        raise ValueError(f"there is no directory {folder!r} for {path!r}")
    if os.path.exists(path) and not os.path.isfile(path):  # such as /dev/null, in whose place a file would be put
        raise ValueError(f"{path!r} is no regular file")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise ValueError(f"{path!r} cannot be written")
    if not _takes_files(folder):
        raise ValueError(f"{path!r} cannot be written: no file can be made in its directory")
    return path


def _takes_files(folder: str) -> bool:
    """Whether a file can be made in a directory. Its permissions alone do not say that."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of the host's, by its absolute path, and what a guest calls it."""

    host: str
    guest: str
    read_only: bool = False


def parse_directory(text: str) -> Directory:
    """``HOST::GUEST``, or ``HOST`` for the same path on both sides; ``::ro`` after both keeps it unchanged."""
    host, *rest = text.split("::")
    if not host or "\0" in text or len(rest) > 2 or "" in rest or rest[1:] not in ([], ["ro"]):
        raise ValueError(f"{text!r} is not of the form HOST::GUEST or HOST::GUEST::ro")
    try:
        os.close(os.open(host, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK))
    except OSError as error:
        raise ValueError(f"cannot open {host!r} as a directory: {error.strerror}") from None
    return Directory(os.path.abspath(host), parse_text(rest[0] if rest else host), len(rest) == 2)


def parse_headers(text: str) -> list[tuple[bytes, bytes]]:
    """``name: value``, or ``@FILE`` with one on each line that is not blank. Names come out in lower case."""
    if not text.startswith("@"):
        return [_parse_header(text)]
    path = text[1:]
    try:
        content = Path(path).read_text("utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path!r}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"cannot read {path!r}: it is not text in UTF-8") from None
    # Only line feeds and CR LF end a line: splitlines() would also cut at characters that no header may have.
    lines = [line.removesuffix("\r") for line in content.split("\n")]
    return [_parse_header(line) for line in lines if line.strip()]


def _parse_header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    name = name.strip()
    value = value.strip(" \t")
    if not colon:
        raise ValueError(f"{text!r} is not of the form 'name: value'")
    if _token(name) is None:
        raise ValueError(f"{text!r} has a name that is no header's")
    if _value(value) is None:
        raise ValueError(f"{text!r} has a value with characters that are not visible ASCII")
    return name.lower().encode(), value.encode()
