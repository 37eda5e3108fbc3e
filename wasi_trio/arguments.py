"""What the command line's option values mean. Every parser raises ValueError with a message of one line."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from pathlib import Path

_duration = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|ms|us|[\u00b5\u03bc]s|ns)?", re.ASCII).fullmatch
#: how many of a unit make a second; divided by, because 500 / 1000 is exact where 500 * 1e-3 is not
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "\u00b5s": 10**6, "\u03bcs": 10**6, "ns": 10**9}
_token = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch
_value = re.compile(r"[\t\x20-\x7e]*").fullmatch


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
    """Seconds from a number with the unit s, ms, us or ns, or without one: seconds."""
    match = _duration(text.strip())
    seconds = float(match[1]) / _PER_SECOND[match[2] or "s"] if match else math.inf
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is not a duration such as 1s, 500ms or 2.5")
    return seconds


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


def parse_directory(text: str) -> tuple[str, str]:
    """``HOST::GUEST``, or ``HOST`` for the same path on both sides."""
    host, colons, guest = text.partition("::")
    if not host or (colons and not guest):
        raise ValueError(f"{text!r} is not of the form HOST::GUEST")
    return host, guest if colons else host


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
