"""Compares messages with the text that scripts expect. As in the scripts' own runner, they must contain the text."""

from __future__ import annotations

#: The prefix of the reason of a trap in that runner's engine.
_PREFIX = "wasm trap: "

#: That engine uses two wordings for some faults: one for calls by the host and one for calls by a component. wasi_trio
#: has one wording for both. The keys are the expected texts, and the values are wasi_trio's.
_SAME = {
    "list content out-of-bounds": "realloc return: beyond end of memory",
    "string content out-of-bounds": "string pointer/length out of bounds of memory",
    "unaligned pointer": "realloc return: result not aligned",
}


def says(message: str, expected: str) -> bool:
    """Return whether ``message`` reports the fault that a script expects."""
    expected = expected.removeprefix(_PREFIX)
    return expected in message or (expected in _SAME and _SAME[expected] in message)
