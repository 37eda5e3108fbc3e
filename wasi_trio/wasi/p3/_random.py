"""wasi:random 0.3: ``random``, ``insecure`` and ``insecure-seed``, all based on ``random`` of the options."""

from __future__ import annotations

from wasi_trio.wasi._context import WasiContext

#: maximum bytes of one call, which take a few milliseconds, because these calls cannot wait
LIMIT = 1 << 20


class Random:
    """The interface wasi:random/random."""

    def __init__(self, context: WasiContext) -> None:
        self._bytes = context.options.random

    def get_random_bytes(self, max_len: int) -> bytes:
        """Return at most ``LIMIT`` bytes. The caller must repeat the call for more, as the WIT says."""
        return self._bytes(min(max_len, LIMIT))

    def get_random_u64(self) -> int:
        return int.from_bytes(self._bytes(8), "little")


class Insecure:
    """The interface wasi:random/insecure. Its bytes have the quality of ``random``."""

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
