from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_trio.wasi.http._fields import FIELD_OVERHEAD, FORBIDDEN, FieldError, FieldMap, is_token, parse_content_length


def refusal(change, *args):
    with pytest.raises(FieldError) as caught:
        change(*args)
    return caught.value.reason


def test_names_compare_without_case_and_keep_their_first_spelling():
    fields = FieldMap()
    fields.add("X-One", b"1")
    fields.add("Other", b"o")
    fields.add("x-one", b"2")
    assert fields.values("X-ONE") == [b"1", b"2"]
    assert fields.contains("x-ONE")
    assert not fields.contains("x-on")
    assert fields.items() == [("X-One", b"1"), ("Other", b"o"), ("X-One", b"2")]
    copy = FieldMap()
    fields.copy_into(copy)
    copy.add("X-ONE", b"3")
    assert copy.items() == [*fields.items(), ("X-One", b"3")]
    for change in (
        lambda: fields.replace("x-ONE", [b"4"]),
        lambda: (fields.remove("X-One"), fields.add("x-ONE", b"4")),
    ):
        change()
        fields.add("X-One", b"5")
        assert [entry for entry in fields.items() if entry[0] != "Other"] == [("x-ONE", b"4"), ("x-ONE", b"5")]


def test_replaced_values_keep_the_position_of_the_first():
    fields = FieldMap()
    for name, value in [("a", b"1"), ("b", b"2"), ("A", b"3"), ("c", b"4")]:
        fields.add(name, value)
    fields.replace("b", [b"x", b"y"])
    fields.replace("a", [b"z"])
    fields.replace("d", [b"w"])
    assert fields.items() == [("a", b"z"), ("b", b"x"), ("b", b"y"), ("c", b"4"), ("d", b"w")]
    fields.replace("B", [])
    assert fields.items() == [("a", b"z"), ("c", b"4"), ("d", b"w")]


def test_remove_gives_the_values():
    fields = FieldMap()
    fields.add("a", b"1")
    fields.add("b", b"2")
    fields.add("A", b"3")
    assert fields.remove("a") == [b"1", b"3"]
    assert fields.remove("a") == []
    assert fields.items() == [("b", b"2")]


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "naïve", "a\r\nb", "a\0", "(", "\x7f", "ſ"])
def test_a_name_is_a_token(name):
    assert not is_token(name)
    fields = FieldMap()
    assert refusal(fields.add, name, b"") == "invalid-syntax"
    assert refusal(fields.replace, name, [b""]) == "invalid-syntax"
    assert refusal(fields.remove, name) == "invalid-syntax"
    assert fields.values(name) == []
    assert not fields.contains(name)


@pytest.mark.parametrize("value", [b"a\r", b"\n", b"\0", b"a\r\nb: c", b"\x7f", b"\x01", b"\x0b"])
def test_a_value_has_no_control_characters(value):
    fields = FieldMap()
    fields.add("a", b"kept")
    assert refusal(fields.add, "a", value) == "invalid-syntax"
    assert refusal(fields.replace, "a", [b"fine", value]) == "invalid-syntax"
    assert fields.items() == [("a", b"kept")]


@pytest.mark.parametrize("value", [b"", b"a b\tc", bytes(range(0x20, 0x7F)), bytes(range(0x80, 0x100))])
def test_a_value_has_visible_characters_blanks_and_obs_text(value):
    fields = FieldMap()
    fields.add("a", value)
    assert fields.values("a") == [value]


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_fields_of_the_connection_are_forbidden(name):
    fields = FieldMap()
    assert refusal(fields.add, name.upper(), b"x") == "forbidden"
    assert refusal(fields.replace, name, [b"x"]) == "forbidden"
    assert refusal(fields.remove, name) == "forbidden"
    received = FieldMap.received([(name.title(), b"x"), ("ok", b"y")])
    assert received.items() == [("ok", b"y")]


def test_received_fields_are_immutable():
    fields = FieldMap.received([("a", b"1")])
    assert refusal(fields.add, "b", b"") == "immutable"
    assert refusal(fields.replace, "b", [b""]) == "immutable"
    assert refusal(fields.remove, "a") == "immutable"
    copy = FieldMap()
    fields.copy_into(copy)
    copy.add("b", b"2")
    assert fields.items() == [("a", b"1")]
    assert copy.items() == [("a", b"1"), ("b", b"2")]


@pytest.mark.parametrize(
    "value", [b"", b"+5", b"-5", b" 5", b"5 ", b"1_0", b"0x1", "٣".encode(), b"18446744073709551616"]
)
def test_a_content_length_is_digits_of_a_u64(value):
    with pytest.raises(ValueError, match="content-length"):
        parse_content_length(value)
    assert refusal(FieldMap().add, "Content-Length", value) == "invalid-syntax"


def test_content_length():
    fields = FieldMap()
    assert fields.content_length() is None
    fields.add("Content-Length", b"18446744073709551615")
    assert fields.content_length() == 2**64 - 1
    fields.replace("content-length", [b"5", b"05"])
    assert fields.content_length() == 5
    fields.add("content-length", b"6")
    assert refusal(fields.content_length) == "invalid-syntax"
    assert refusal(FieldMap.received([("content-length", b"x")]).content_length) == "invalid-syntax"


def test_whitespace_around_a_value_does_not_go_out():
    fields = FieldMap()
    fields.add("a", b" \t b c\t")
    assert fields.values("a") == [b" \t b c\t"]
    assert fields.for_wire() == [("a", b"b c")]


def test_size_is_bounded_and_changes_that_break_it_leave_no_trace(monkeypatch):
    large = FieldMap()
    large.add("a", b"1" * 200)
    monkeypatch.setattr(FieldMap, "max_size", 3 * (FIELD_OVERHEAD + 2))
    fields = FieldMap()
    for _ in range(3):
        fields.add("a", b"1")
    before = fields.items()
    assert refusal(fields.add, "a", b"1") == "size-exceeded"
    assert refusal(fields.replace, "a", [b"1"] * 4) == "size-exceeded"
    assert fields.items() == before
    fields.remove("a")
    assert fields.size == 0
    fields.replace("a", [b"1"] * 3)
    assert refusal(fields.add, "", b"") == "invalid-syntax"
    assert refusal(large.copy_into, FieldMap()) == "size-exceeded"


names = st.sampled_from(["a", "A", "b", "B", "c"])
values = st.binary(max_size=3).map(lambda raw: raw.hex().encode())
changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), names, values),
        st.tuples(st.just("replace"), names, st.lists(values, max_size=3)),
        st.tuples(st.just("remove"), names),
    )
)


@given(changes)
def test_size_always_matches_the_fields(steps):
    fields = FieldMap()
    for method, *args in steps:
        getattr(fields, method)(*args)
    assert fields.size == sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields.items())
