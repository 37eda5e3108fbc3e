"""The resource ``fields`` of wasi:http/types 0.3."""

from __future__ import annotations

from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http._fields import FieldError
from wasi_trio.wasi.http._guest_fields import GuestFields


class Fields(GuestFields):
    """Headers or trailers."""

    __slots__ = ()

    def get_and_delete(self, name: str) -> Ok[list[bytes]] | Err[Variant]:
        try:
            return Ok(self.remove(name))
        except FieldError as error:
            return self._refused(error)

    def copy_all(self) -> list[tuple[str, bytes]]:
        return self.items()
