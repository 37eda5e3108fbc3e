"""The resource ``fields`` of wasi:http/types 0.2."""

from __future__ import annotations

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Variant
from wasi_trio.wasi.http._fields import FieldError
from wasi_trio.wasi.http._guest_fields import GuestFields


class Fields(GuestFields):
    """Headers or trailers."""

    __slots__ = ()

    def entries(self) -> list[tuple[str, bytes]]:
        return self.items()

    @classmethod
    def _refused(cls, error: FieldError) -> Err[Variant]:
        """Return the ``header-error``. Oversized fields trap, because that of 0.2 has no case for them."""
        if error.over_budget is not None:
            raise error.over_budget
        if error.reason == "size-exceeded":
            raise Trap(f"fields may hold at most {cls.max_size} bytes") from error
        return Err(Variant(error.reason))
