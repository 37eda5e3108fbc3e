"""The resources of wasi:http/types 0.3 that need no streams: ``fields`` and ``request-options``."""

from __future__ import annotations

import pytest

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http._fields import FORBIDDEN, MAX_SIZE
from wasi_trio.wasi.http._request_options import RequestOptions as Timeouts
from wasi_trio.wasi.p3._http_fields import Fields
from wasi_trio.wasi.p3._http_options import RequestOptions


def made(*entries: tuple[str, bytes]) -> Fields:
    outcome = Fields.from_list(list(entries))
    assert isinstance(outcome, Ok)
    return outcome.value


def test_fields_keep_case_and_order() -> None:
    fields = made(("X-One", b"1"), ("b", b""), ("x-one", b"2"))
    assert fields.copy_all() == [("X-One", b"1"), ("b", b""), ("X-One", b"2")]
    assert fields.get("X-ONE") == [b"1", b"2"]
    assert fields.get("b") == [b""]
    assert fields.get("c") == fields.get("not a name") == []
    assert fields.has("B")
    assert not fields.has("not a name")


def test_fields_change() -> None:
    fields = Fields()
    assert fields.append("a", b"1") == fields.append("A", b"2") == Ok()
    assert fields.set("b", [b"3", b"4"]) == Ok()
    assert fields.get_and_delete("a") == Ok([b"1", b"2"])
    assert fields.get_and_delete("a") == Ok([])
    assert fields.delete("b") == fields.delete("b") == Ok()
    assert fields.copy_all() == []


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_forbidden_fields(name: str) -> None:
    forbidden = Err(Variant("forbidden"))
    fields = Fields()
    assert fields.append(name.title(), b"") == fields.set(name, []) == fields.delete(name) == forbidden
    assert fields.get_and_delete(name) == Fields.from_list([(name, b"")]) == forbidden
    assert Fields.received([(name, b"")]).copy_all() == []


@pytest.mark.parametrize("entry", [("", b""), ("a b", b""), ("a", b"\n"), ("a", b"\0"), ("content-length", b"-1")])
def test_malformed_fields(entry: tuple[str, bytes]) -> None:
    malformed = Err(Variant("invalid-syntax"))
    assert Fields.from_list([entry]) == Fields().append(*entry) == Fields().set(entry[0], [entry[1]]) == malformed


def test_the_fields_of_a_message_are_immutable() -> None:
    fields = made(("a", b"1"))
    fields.immutable = True
    immutable = Err(Variant("immutable"))
    assert fields.append("a", b"") == fields.set("a", []) == fields.delete("a") == immutable
    assert fields.get_and_delete("a") == immutable
    assert fields.get("a") == [b"1"]
    copy = fields.clone()
    assert copy.append("a", b"2") == Ok()
    assert (copy.get("a"), fields.get("a")) == ([b"1", b"2"], [b"1"])


def test_fields_have_a_size() -> None:
    exceeded = Err(Variant("size-exceeded"))
    fields = made(("a", bytes([0x20]) * 100_000))
    assert fields.append("b", bytes([0x20]) * 100_000) == exceeded
    assert fields.set("b", [bytes([0x20]) * 100_000]) == exceeded
    assert Fields.from_list([("a", b"")] * MAX_SIZE) == exceeded
    assert not fields.has("b")
    with pytest.raises(Trap, match="size-exceeded"):
        Fields.received([("a", bytes(MAX_SIZE))]).clone()


def test_request_options() -> None:
    options = RequestOptions()
    assert options.get_connect_timeout() is options.get_first_byte_timeout() is None
    assert options.get_between_bytes_timeout() is None
    assert options.timeouts() == Timeouts()
    assert options.set_connect_timeout(1_000_000_000) == options.set_first_byte_timeout(0) == Ok()
    assert options.set_between_bytes_timeout(500_000_000) == Ok()
    assert options.timeouts() == Timeouts(1.0, 0.0, 0.5)
    options.immutable = True
    immutable = Err(Variant("immutable"))
    assert options.set_connect_timeout(None) == options.set_first_byte_timeout(None) == immutable
    assert options.set_between_bytes_timeout(None) == immutable
    copy = options.clone()
    assert copy.timeouts() == options.timeouts()
    assert copy.set_connect_timeout(None) == copy.set_first_byte_timeout(7) == Ok()
    assert copy.set_between_bytes_timeout(None) == Ok()
    assert (copy.get_connect_timeout(), copy.get_first_byte_timeout()) == (None, 7)
    assert (options.get_connect_timeout(), options.get_first_byte_timeout()) == (1_000_000_000, 0)
    assert (copy.get_between_bytes_timeout(), options.get_between_bytes_timeout()) == (None, 500_000_000)
