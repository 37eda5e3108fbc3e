"""Header and trailer fields: the rules of WASI, and the multimap that holds them (RFC 9110, section 5)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import ClassVar, Self

from wasi_trio.component._account import FREE, Account, Charge, OverBudget

#: fields that guests cannot set or see, because they belong to the connection or to the host
FORBIDDEN = frozenset(
    {
        "connection",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    }
)

#: maximum bytes of one set of fields; each field counts ``FIELD_OVERHEAD`` in addition
MAX_SIZE = 128 << 10
#: the overhead of one field, as in RFC 9113, section 6.5.2, which also bounds the number of fields
FIELD_OVERHEAD = 32

_token = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch
_value = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
_digits = re.compile(rb"[0-9]{1,20}").fullmatch


def is_token(text: str) -> bool:
    """Return whether the text is a ``token`` (RFC 9110, section 5.6.2), as field names and methods are."""
    return _token(text) is not None


class FieldError(Exception):
    """A change to a set of fields was refused.

    ``reason`` is a case of the variant ``header-error``: ``invalid-syntax``, ``forbidden``, ``immutable`` or (0.3 only)
    ``size-exceeded``. ``over_budget`` is the cause if the instance may not hold more memory.
    """

    def __init__(self, reason: str, over_budget: OverBudget | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.over_budget = over_budget


def parse_content_length(value: bytes) -> int:
    """Return the length of a ``content-length`` value. Raises ValueError unless it is ``1*DIGIT`` and fits a u64."""
    if _digits(value) is None or (length := int(value)) >= 1 << 64:
        raise ValueError(f"not a content-length: {value!r}")
    return length


class FieldMap:
    """An ordered multimap of fields. Names are case-insensitive. All values of a field share its first spelling.

    A change of an immutable map, or one that violates a rule, raises FieldError and leaves the map unchanged. So does a
    change that exceeds the memory of the map's account (``bill``).
    """

    __slots__ = ("_account", "_charge", "_counted", "_entries", "_spellings", "immutable", "size")

    #: the limits of a map
    max_size: ClassVar[int] = MAX_SIZE
    forbidden: ClassVar[frozenset[str]] = FORBIDDEN

    def __init__(self) -> None:
        self._entries: list[tuple[str, bytes]] = []
        #: the first spelling of each name, by its lower-case form; None if it must be computed
        self._spellings: dict[str, str] | None = {}
        self.size = 0
        self.immutable = False
        self._account: Account | None = None
        self._charge: Charge | None = None
        #: the size from which the map must be charged again
        self._counted = sys.maxsize

    def bill(self, account: Account) -> None:
        """Charge the map to an account. Raises OverBudget."""
        if self._account is None:
            self._account = account
            self._counted = FREE
            if self.size > FREE:
                self._count(self.size)

    def _count(self, size: int) -> None:
        assert self._account is not None
        if self._charge is None:
            self._charge = Charge(self._account, 2 * size)
        else:
            self._charge.resize(2 * size)
        self._counted = 2 * size

    @classmethod
    def received(cls, entries: Iterable[tuple[str, bytes]], *, counted: bool = True) -> Self:
        """Return an immutable map of fields from a peer, without the fields that guests cannot see.

        ``counted`` may be false if an instance receives only one such map for each of its requests.
        """
        fields = cls()
        forbidden = cls.forbidden
        fields._entries = [entry for entry in entries if entry[0].lower() not in forbidden]
        fields._spellings = None
        fields.immutable = True
        if counted:
            fields.size = sum([len(value) for _, value in fields._entries]) + 2 * FIELD_OVERHEAD * len(fields._entries)
        return fields

    def items(self) -> list[tuple[str, bytes]]:
        """Return all fields in order, as a new list."""
        return self._entries.copy()

    def for_wire(self) -> list[tuple[str, bytes]]:
        """Return all fields in order, without the optional whitespace around values."""
        return [(name, value.strip(b" \t")) for name, value in self._entries]

    def values(self, name: str) -> list[bytes]:
        """Return the values of a field in order. The list is empty if the field is absent."""
        key = name.lower()
        return [value for other, value in self._entries if other.lower() == key]

    def contains(self, name: str) -> bool:
        key = name.lower()
        return any(other.lower() == key for other, _ in self._entries)

    def add(self, name: str, value: bytes) -> None:
        """Append a value to a field."""
        key = self._writable(name)
        self._check(key, value)
        if self._spellings is None:
            self._spellings = {}
            for other, _ in self._entries:
                self._spellings.setdefault(other.lower(), other)
        name = self._spellings.get(key, name)
        size = self.size + len(name) + len(value) + FIELD_OVERHEAD
        self._admit(size)
        self._spellings[key] = name
        self._entries.append((name, value))

    def replace(self, name: str, values: list[bytes]) -> None:
        """Set the values of a field, at the position of its first value. An empty list removes the field."""
        key = self._writable(name)
        if FIELD_OVERHEAD * len(values) > self.max_size:
            raise FieldError("size-exceeded")
        for value in values:
            self._check(key, value)
        kept: list[tuple[str, bytes]] = []
        place = None
        for entry in self._entries:
            if entry[0].lower() != key:
                kept.append(entry)
            elif place is None:
                place = len(kept)
        if place is None:
            place = len(kept)
        kept[place:place] = [(name, value) for value in values]
        self._assign(kept)

    def remove(self, name: str) -> list[bytes]:
        """Remove a field and return its values."""
        key = self._writable(name)
        removed = [value for other, value in self._entries if other.lower() == key]
        if removed:
            self._assign([entry for entry in self._entries if entry[0].lower() != key])
        return removed

    def content_length(self) -> int | None:
        """Return the announced length. Raises FieldError if it is not a number, or if several values differ."""
        if self._spellings is not None and "content-length" not in self._spellings:
            return None
        try:
            lengths = {parse_content_length(value) for value in self.values("content-length")}
        except ValueError:
            raise FieldError("invalid-syntax") from None
        if len(lengths) > 1:
            raise FieldError("invalid-syntax")
        return lengths.pop() if lengths else None

    def copy_into(self, other: FieldMap) -> None:
        """Copy the fields into another map, which is empty. Raises FieldError if they exceed its limits."""
        other._assign(self._entries.copy())

    def _writable(self, name: str) -> str:
        if self.immutable:
            raise FieldError("immutable")
        if len(name) > self.max_size:
            raise FieldError("size-exceeded")
        if _token(name) is None:
            raise FieldError("invalid-syntax")
        key = name.lower()
        if key in self.forbidden:
            raise FieldError("forbidden")
        return key

    @classmethod
    def _check(cls, key: str, value: bytes) -> None:
        if len(value) > cls.max_size:
            raise FieldError("size-exceeded")
        if _value(value) is None:
            raise FieldError("invalid-syntax")
        if key == "content-length":
            try:
                parse_content_length(value)
            except ValueError:
                raise FieldError("invalid-syntax") from None

    def _assign(self, entries: list[tuple[str, bytes]]) -> None:
        size = sum(len(name) + len(value) for name, value in entries) + FIELD_OVERHEAD * len(entries)
        self._admit(size)
        self._entries = entries
        self._spellings = None

    def _admit(self, size: int) -> None:
        """Accept a new size, or raise FieldError."""
        if size > self.max_size:
            raise FieldError("size-exceeded")
        if size > self._counted:
            try:
                self._count(size)
            except OverBudget as error:
                raise FieldError("size-exceeded", error) from error
        self.size = size
