"""Whether a message says what a script expects: it has to contain it, as with the runner the scripts were made for."""

from __future__ import annotations

#: what that runner's engine puts before the reason of a trap
_PREFIX = "wasm trap: "

#: Its engine words some faults in one way where the host called and in another where a component did. There is one
#: piece of code and one wording for both here: what a script expects, and what is said instead.
_SAME = {
    "list content out-of-bounds": "realloc return: beyond end of memory",
    "string content out-of-bounds": "string pointer/length out of bounds of memory",
    "unaligned pointer": "realloc return: result not aligned",
}


def says(message: str, expected: str) -> bool:
    """Whether ``message`` reports the fault that a script calls ``expected``."""
    expected = expected.removeprefix(_PREFIX)
    return expected in message or (expected in _SAME and _SAME[expected] in message)
