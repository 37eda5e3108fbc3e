"""Constants in scripts: component values by type, core values by name, and their equality."""

from __future__ import annotations

import math
import struct
from typing import Any

from tests.spec.sexpr import Form, Node, ScriptError, String, Word
from wasi_trio.component import _types as t
from wasi_trio.component._values import Err, Ok, Some, Variant, record_class

_INTEGERS = {"s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"}


def component_value(constant: Form, type_: t.ValType) -> Any:
    """Return wasi_trio's Python value for a constant such as ``(list.const (u8.const 1))``."""
    return _value(constant, constant.items, type_)


def _value(at: Form, items: tuple[Node, ...], type_: t.ValType) -> Any:
    if not items or not isinstance(items[0], Word):
        raise ScriptError(at.line, "a constant is expected")
    head, rest = items[0].text, items[1:]
    match head, type_:
        case _, t.Primitive(name) if head == f"{'str' if name == 'string' else name}.const" and len(rest) == 1:
            return _primitive(at, name, rest[0])
        case "list.const", t.List(element):
            values = [_value(form, form.items, element) for form in _forms(at, rest)]
            return bytes(values) if element == t.U8 and type_.length is None else values
        case "list.const", t.Map(key, value):
            return [component_value(form, t.Tuple((key, value))) for form in _forms(at, rest)]
        case "tuple.const", t.Tuple(types) if len(rest) == len(types):
            return tuple(map(component_value, _forms(at, rest), types))
        case "record.const", t.Record(fields) if len(rest) == len(fields):
            return _record(at, rest, fields)
        case "variant.const", t.Variant(cases):
            case_name = _string(at, rest[:1])
            return Variant(case_name, _payload(at, rest[1:], dict(cases).get(case_name)))
        case "enum.const", t.Enum():
            return _string(at, rest)
        case "flags.const", t.Flags():
            return frozenset(_string(at, (flag,)) for flag in rest)
        case "option.none", t.Option() if not rest:
            return None
        case "option.some", t.Option(some) if len(rest) == 1:
            (form,) = _forms(at, rest)
            value = component_value(form, some)
            return Some(value) if isinstance(some, t.Option) else value
        case "result.ok", t.Result(ok, _):
            return Ok(_payload(at, rest, ok))
        case "result.err", t.Result(_, err):
            return Err(_payload(at, rest, err))
    raise ScriptError(at.line, f"{head} is no constant of type {type_}")


def _primitive(at: Form, name: str, literal: Node) -> Any:
    if name == "string":
        return _string(at, (literal,))
    if name == "char":
        char = _string(at, (literal,))
        if len(char) == 1:
            return char
    elif isinstance(literal, Word):
        if name == "bool" and literal.text in ("true", "false"):
            return literal.text == "true"
        if name in _INTEGERS:
            return integer(literal)
        if name in ("f32", "f64"):
            return floating(literal, name)
    raise ScriptError(at.line, f"not a constant of type {name}")


def _record(at: Form, items: tuple[Node, ...], fields: tuple[tuple[str, t.ValType], ...]) -> Any:
    """Return a record with ``(field "name" u32.const 1)`` for each field, in the type's order."""
    values = []
    for form, (name, type_) in zip(_forms(at, items), fields, strict=True):
        if form.head != "field" or _string(form, form.items[1:2]) != name:
            raise ScriptError(form.line, f'(field "{name}" ...) is expected')
        values.append(_value(form, form.items[2:], type_))
    return record_class(tuple(name for name, _ in fields))(*values)


def _payload(at: Form, items: tuple[Node, ...], type_: t.ValType | None) -> Any:
    if type_ is None and not items:
        return None
    if type_ is None or len(items) != 1:
        raise ScriptError(at.line, "this case has no payload" if type_ is None else "this case has one payload")
    (form,) = _forms(at, items)
    return component_value(form, type_)


def _forms(at: Form, items: tuple[Node, ...]) -> list[Form]:
    forms = [item for item in items if isinstance(item, Form)]
    if len(forms) != len(items):
        raise ScriptError(at.line, "constants in parentheses are expected")
    return forms


def _string(at: Form, items: tuple[Node, ...]) -> str:
    match items:
        case (String(value),):
            return value.decode()
    raise ScriptError(at.line, "a string is expected")


def integer(literal: Word) -> int:
    """Return an integer from a literal: decimal or ``0x``, with or without a sign."""
    try:
        return int(literal.text.replace("_", ""), 0)
    except ValueError:
        raise ScriptError(literal.line, f"{literal.text} is no integer") from None


def floating(literal: Word, name: str) -> float:
    """Return a float from a literal, rounded to the type. Any NaN becomes the canonical one, as in components."""
    text = literal.text.replace("_", "")
    try:
        if "nan" in text:
            return math.nan
        value = float.fromhex(text) if "0x" in text else float(text)
    except ValueError:
        raise ScriptError(literal.line, f"{literal.text} is no number") from None
    if name == "f32":
        (value,) = struct.unpack("<f", struct.pack("<f", value))
    return value


def core_value(constant: Form) -> int | float:
    """Return the value of a core constant such as ``(i32.const -1)``. Integers are signed, as in wasmtime."""
    match constant.items:
        case (Word("i32.const" | "i64.const" as head), Word() as literal):
            bits = int(head[1:3])
            value = integer(literal) & ((1 << bits) - 1)
            return value - (1 << bits) if value >> (bits - 1) else value
        case (Word("f32.const" | "f64.const" as head), Word() as literal):
            return floating(literal, head[:3])
    raise ScriptError(constant.line, f"not a core constant that this runner knows: ({constant.head} ...)")


def same(expected: Any, actual: Any) -> bool:
    """Return whether two component values are the same. Zeros have signs, and all NaNs are equal."""
    match expected:
        case float():
            if not isinstance(actual, float):
                return False
            if math.isnan(expected):
                return math.isnan(actual)
            return struct.pack("<d", expected) == struct.pack("<d", actual)
        case Ok() | Err():
            return type(actual) is type(expected) and same(expected.value, actual.value)
        case list() if isinstance(actual, dict):
            return same(list(dict(expected).items()), list(actual.items()))
        case tuple() | list():
            return type(actual) is type(expected) and len(actual) == len(expected) and all(map(same, expected, actual))
        case _:
            return type(actual) is type(expected) and bool(actual == expected)
