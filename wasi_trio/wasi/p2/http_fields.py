"""The resource ``fields`` of wasi:http/types 0.2."""

from __future__ import annotations

from wasi_trio.component.errors import Trap
from wasi_trio.component.values import Err, Ok, Variant
from wasi_trio.wasi.http.fields import FieldError, FieldMap

_DONE: Ok[None] = Ok(None)


class Fields(FieldMap):
    """Headers or trailers. Those of a message are immutable and may be behind several handles at once."""

    __slots__ = ()

    @staticmethod
    def from_list(entries: list[tuple[str, bytes]]) -> Ok[Fields] | Err[Variant]:
        fields = Fields()
        try:
            for name, value in entries:
                fields.add(name, value)
        except FieldError as error:
            return _refused(error)
        return Ok(fields)

    def get(self, name: str) -> list[bytes]:
        return self.values(name)

    def has(self, name: str) -> bool:
        return self.contains(name)

    def set(self, name: str, value: list[bytes]) -> Ok[None] | Err[Variant]:
        try:
            self.replace(name, value)
        except FieldError as error:
            return _refused(error)
        return _DONE

    def delete(self, name: str) -> Ok[None] | Err[Variant]:
        try:
            self.remove(name)
        except FieldError as error:
            return _refused(error)
        return _DONE

    def append(self, name: str, value: bytes) -> Ok[None] | Err[Variant]:
        try:
            self.add(name, value)
        except FieldError as error:
            return _refused(error)
        return _DONE

    def entries(self) -> list[tuple[str, bytes]]:
        return self.items()

    def clone(self) -> Fields:
        copy = Fields()
        try:
            self.copy_into(copy)
        except FieldError as error:
            raise Trap(f"fields: {error}") from error
        return copy


def _refused(error: FieldError) -> Err[Variant]:
    """The ``header-error``. That of 0.2 has no case for fields that grew too large, so that is a trap."""
    if error.reason == "size-exceeded":
        raise Trap(f"fields may hold {FieldMap.max_size} bytes") from error
    return Err(Variant(error.reason))
