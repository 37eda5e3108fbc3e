"""Socket options from guests, with checks and the range that all systems accept."""

from __future__ import annotations

from wasi_trio.wasi.sockets._errors import Code, SocketError
from wasi_trio.wasi.sockets._transports import Option, Transport

SECOND = 1_000_000_000
#: Linux has the smallest ranges: 16 and 8 bits
MAX_SECONDS = 32_767
MAX_PROBES = 127
_MAX_VALUE = 2**31 - 1

TIMES = (Option.KEEP_ALIVE_IDLE, Option.KEEP_ALIVE_INTERVAL)


def get_option(transport: Transport, option: Option) -> int:
    """Return the value of an option. Times are in nanoseconds."""
    value = transport.get(option)
    return value * SECOND if option in TIMES else value


def set_option(transport: Transport, option: Option, value: int) -> None:
    """Set an option. Raises SocketError for 0, unless the option is a switch."""
    if option is not Option.KEEP_ALIVE and value == 0:
        raise SocketError(Code.INVALID_ARGUMENT)
    if option in TIMES:
        value = min(-(-value // SECOND), MAX_SECONDS)
    elif option is Option.KEEP_ALIVE_COUNT:
        value = min(value, MAX_PROBES)
    transport.set(option, min(value, _MAX_VALUE))


def copy_options(source: Transport, target: Transport, options: tuple[Option, ...]) -> None:
    """Copy options from one socket to another."""
    for option in options:
        target.set(option, source.get(option))
