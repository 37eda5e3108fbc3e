"""The ``fields`` resource, as far as WASI 0.2 and 0.3 share it."""

from __future__ import annotations

from typing import Self

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http._fields import FieldError, FieldMap

_DONE: Ok[None] = Ok(None)


class GuestFields(FieldMap):
    """Headers or trailers. Those of a message are immutable, and several handles may refer to them."""

    __slots__ = ()

    @classmethod
    def from_list(cls, entries: list[tuple[str, bytes]]) -> Ok[Self] | Err[Variant]:
        fields = cls()
        try:
            for name, value in entries:
                fields.add(name, value)
        except FieldError as error:
            return cls._refused(error)
        return Ok(fields)

    def get(self, name: str) -> list[bytes]:
        return self.values(name)

    def has(self, name: str) -> bool:
        return self.contains(name)

    def set(self, name: str, value: list[bytes]) -> Ok[None] | Err[Variant]:
        try:
            self.replace(name, value)
        except FieldError as error:
            return self._refused(error)
        return _DONE

    def delete(self, name: str) -> Ok[None] | Err[Variant]:
        try:
            self.remove(name)
        except FieldError as error:
            return self._refused(error)
        return _DONE

    def append(self, name: str, value: bytes) -> Ok[None] | Err[Variant]:
        try:
            self.add(name, value)
        except FieldError as error:
            return self._refused(error)
        return _DONE

    def clone(self) -> Self:
        copy = type(self)()
        try:
            self.copy_into(copy)
        except FieldError as error:
            raise Trap(f"fields: {error}") from error
        return copy

    @classmethod
    def _refused(cls, error: FieldError) -> Err[Variant]:
        """Return the ``header-error`` of an error."""
        return Err(Variant(error.reason))
