"""wasi:random 0.2: ``random``, ``insecure`` and ``insecure-seed``, all from the ``random`` of the options."""

from __future__ import annotations

import trio

from wasi_trio.component._errors import Trap
from wasi_trio.wasi._context import WasiContext

#: the most bytes one call gives; a call for more is a trap
LIMIT = 64 << 20
#: how much is made in one go: some milliseconds' worth
CHUNK = 1 << 20


class Random:
    """The interface wasi:random/random."""

    def __init__(self, context: WasiContext) -> None:
        self._bytes = context.options.random

    async def get_random_bytes(self, len: int) -> bytes:
        """Raises Trap above ``LIMIT``. Lets other tasks run where it would take long, and only there."""
        if len <= CHUNK:
            return self._bytes(len)
        if len > LIMIT:
            raise Trap(f"{len} random bytes asked for: {LIMIT} is the most at once")
        data = bytearray()
        while len:
            size = min(len, CHUNK)
            data += self._bytes(size)
            len -= size
            await trio.lowlevel.checkpoint()
        return bytes(data)

    def get_random_u64(self) -> int:
        return int.from_bytes(self._bytes(8), "little")


class Insecure:
    """The interface wasi:random/insecure. Its bytes are as good as those of ``random``."""

    def __init__(self, context: WasiContext) -> None:
        self._random = Random(context)

    async def get_insecure_random_bytes(self, len: int) -> bytes:
        return await self._random.get_random_bytes(len)

    def get_insecure_random_u64(self) -> int:
        return self._random.get_random_u64()


class InsecureSeed:
    """The interface wasi:random/insecure-seed."""

    def __init__(self, context: WasiContext) -> None:
        self._context = context

    def insecure_seed(self) -> tuple[int, int]:
        return self._context.insecure_seed
