"""The options of sockets as guests set them: checked, and brought into the range that every system takes."""

from __future__ import annotations

from wasi_trio.wasi.sockets._errors import Code, SocketError
from wasi_trio.wasi.sockets._transports import Option, Transport

SECOND = 1_000_000_000
#: Linux has the least of these: it keeps them in 16 bits and in 8
MOST_SECONDS = 32_767
MOST_PROBES = 127
_MOST = 2**31 - 1

TIMES = (Option.KEEP_ALIVE_IDLE, Option.KEEP_ALIVE_INTERVAL)


def get_option(transport: Transport, option: Option) -> int:
    """An option's value; times are in nanoseconds."""
    value = transport.get(option)
    return value * SECOND if option in TIMES else value


def set_option(transport: Transport, option: Option, value: int) -> None:
    """Set an option; raises SocketError for 0, which none but a switch can be."""
    if option is not Option.KEEP_ALIVE and value == 0:
        raise SocketError(Code.INVALID_ARGUMENT)
    if option in TIMES:
        value = min(-(-value // SECOND), MOST_SECONDS)
    elif option is Option.KEEP_ALIVE_COUNT:
        value = min(value, MOST_PROBES)
    transport.set(option, min(value, _MOST))


def copy_options(source: Transport, target: Transport, options: tuple[Option, ...]) -> None:
    """Give one socket the options of another."""
    for option in options:
        target.set(option, source.get(option))
