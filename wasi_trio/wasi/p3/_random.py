"""wasi:random 0.3: ``random``, ``insecure`` and ``insecure-seed``, all from the ``random`` of the options."""

from __future__ import annotations

from wasi_trio.wasi._context import WasiContext

#: the most bytes one call gives: some milliseconds' worth, since these calls may not wait
LIMIT = 1 << 20


class Random:
    """The interface wasi:random/random."""

    def __init__(self, context: WasiContext) -> None:
        self._bytes = context.options.random

    def get_random_bytes(self, max_len: int) -> bytes:
        """At most ``LIMIT`` bytes: whoever wants more has to ask again, as the WIT says."""
        return self._bytes(min(max_len, LIMIT))

    def get_random_u64(self) -> int:
        return int.from_bytes(self._bytes(8), "little")


class Insecure:
    """The interface wasi:random/insecure. Its bytes are as good as those of ``random``."""

    def __init__(self, context: WasiContext) -> None:
        self._random = Random(context)

    def get_insecure_random_bytes(self, max_len: int) -> bytes:
        return self._random.get_random_bytes(max_len)

    def get_insecure_random_u64(self) -> int:
        return self._random.get_random_u64()


class InsecureSeed:
    """The interface wasi:random/insecure-seed."""

    def __init__(self, context: WasiContext) -> None:
        self._context = context

    def get_insecure_seed(self) -> tuple[int, int]:
        return self._context.insecure_seed
