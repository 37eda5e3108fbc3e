"""wasi:random 0.2: ``random``, ``insecure`` and ``insecure-seed``, all based on ``random`` of the options."""

from __future__ import annotations

import trio

from wasi_trio.component._errors import Trap
from wasi_trio.wasi._context import WasiContext

#: maximum bytes of one call; more traps
LIMIT = 64 << 20
#: bytes generated between checkpoints, which takes a few milliseconds
CHUNK = 1 << 20


class Random:
    """The interface wasi:random/random."""

    def __init__(self, context: WasiContext) -> None:
        self._bytes = context.options.random

    async def get_random_bytes(self, len: int) -> bytes:
        """Return random bytes. Raises Trap above ``LIMIT``. Runs checkpoints only for large requests."""
        if len <= CHUNK:
            return self._bytes(len)
        if len > LIMIT:
            raise Trap(f"request for {len} random bytes: the limit is {LIMIT}")
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
    """The interface wasi:random/insecure. Its bytes have the quality of ``random``."""

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
