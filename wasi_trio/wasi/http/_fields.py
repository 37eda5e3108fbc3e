"""Header and trailer fields: what WASI admits as one, and the multimap that holds them (RFC 9110, section 5)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import ClassVar, Self

from wasi_trio.component._account import FREE, Account, Charge, OverBudget

#: fields a guest can neither set nor see: they belong to the connection or to the host that owns it
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

#: bytes that one set of fields may hold, each field counted with ``FIELD_OVERHEAD``
MAX_SIZE = 128 << 10
#: what a field counts beyond its name and value, as in RFC 9113, section 6.5.2; so it bounds their number too
FIELD_OVERHEAD = 32

_token = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch
_value = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
_digits = re.compile(rb"[0-9]{1,20}").fullmatch


def is_token(text: str) -> bool:
    """Whether this is a ``token`` (RFC 9110, section 5.6.2): a field's name or a method."""
    return _token(text) is not None


class FieldError(Exception):
    """A change to a set of fields was refused.

    ``reason`` is a case of WASI's ``header-error``: ``invalid-syntax``, ``forbidden``, ``immutable`` or
    (0.3 only) ``size-exceeded``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_content_length(value: bytes) -> int:
    """The length a ``content-length`` value gives; ValueError unless it is ``1*DIGIT`` and fits a u64."""
    if _digits(value) is None or (length := int(value)) >= 1 << 64:
        raise ValueError(f"not a content-length: {value!r}")
    return length


class FieldMap:
    """An ordered multimap of fields. Names compare without case; all values of a field go by its first spelling.

    A change to an immutable map, or one that breaks a rule, raises FieldError and leaves the map as it was. So does one
    for which there is no memory in the account that the map is counted in, if any (``bill``).
    """

    __slots__ = ("_account", "_charge", "_counted", "_entries", "_spellings", "immutable", "size")

    #: the bounds for one map
    max_size: ClassVar[int] = MAX_SIZE
    forbidden: ClassVar[frozenset[str]] = FORBIDDEN

    def __init__(self) -> None:
        self._entries: list[tuple[str, bytes]] = []
        #: how each name that is there was first spelled, by the name in lower case; None where that is to be found out
        self._spellings: dict[str, str] | None = {}
        self.size = 0
        self.immutable = False
        self._account: Account | None = None
        self._charge: Charge | None = None
        #: the size from which it has to be counted anew
        self._counted = sys.maxsize

    def bill(self, account: Account) -> None:
        """Count the map in an account from here on. Raises OverBudget."""
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
        """An immutable map of what a peer sent, without the fields that are not for guests.

        It need not be ``counted`` where there is one for each request that an instance is given.
        """
        fields = cls()
        forbidden = cls.forbidden
        fields._entries = [entry for entry in entries if entry[0].lower() not in forbidden]
        fields.immutable = True
        if counted:
            fields.size = sum([len(value) for _, value in fields._entries]) + 2 * FIELD_OVERHEAD * len(fields._entries)
        return fields

    def items(self) -> list[tuple[str, bytes]]:
        """All fields, in order, as a list that later changes do not touch."""
        return self._entries.copy()

    def for_wire(self) -> list[tuple[str, bytes]]:
        """All fields, in order, with the whitespace around values removed that is no part of them."""
        return [(name, value.strip(b" \t")) for name, value in self._entries]

    def values(self, name: str) -> list[bytes]:
        """The values of one field, in order; none where it is absent."""
        key = name.lower()
        return [value for other, value in self._entries if other.lower() == key]

    def contains(self, name: str) -> bool:
        key = name.lower()
        return any(other.lower() == key for other, _ in self._entries)

    def add(self, name: str, value: bytes) -> None:
        """Append a value to those of a field."""
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
        """Make these the values of a field; they stand where its first value stood. Without values it is removed."""
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
        """Remove a field; its values."""
        key = self._writable(name)
        removed = [value for other, value in self._entries if other.lower() == key]
        if removed:
            self._assign([entry for entry in self._entries if entry[0].lower() != key])
        return removed

    def content_length(self) -> int | None:
        """The length these headers announce; FieldError where it is no number, or several disagree."""
        try:
            lengths = {parse_content_length(value) for value in self.values("content-length")}
        except ValueError:
            raise FieldError("invalid-syntax") from None
        if len(lengths) > 1:
            raise FieldError("invalid-syntax")
        return lengths.pop() if lengths else None

    def copy_into(self, other: FieldMap) -> None:
        """Give another, empty map the fields of this one; FieldError where they are more than it may hold."""
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
        """The map is to have this size."""
        if size > self.max_size:
            raise FieldError("size-exceeded")
        if size > self._counted:
            try:
                self._count(size)
            except OverBudget as error:
                raise FieldError("size-exceeded") from error
        self.size = size
