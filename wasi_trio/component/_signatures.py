"""Types as WIT text, and the comparison of a function's declared type with the host's.

Function types match if they are equal: the Component Model has no subtyping between value types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from wasi_trio.component import _types as t
from wasi_trio.component._names import FunctionKind, parse_function_name
from wasi_trio.component._types import FuncType, ResourceType, ValType
from wasi_trio.component.wit._lexer import KEYWORDS

NameOfResource = Callable[[ResourceType], str]
NameOfType = Callable[[ValType], "str | None"]
SameResource = Callable[[ResourceType, ResourceType], bool]


def _own_name(resource: ResourceType) -> str:
    return resource.name


def _no_name(type_: ValType) -> str | None:
    return None


def render(type_: ValType, name_of_resource: NameOfResource = _own_name, name_of_type: NameOfType = _no_name) -> str:
    """Return a type as WIT text.

    WIT has no anonymous records, variants, enums and flags. If ``name_of_type`` has no name for one, the text is its
    definition without the name: ``record { a: u32 }``.
    """
    return _Writer(name_of_resource, name_of_type).type(type_)


def render_definition(
    name: str,
    type_: ValType | ResourceType,
    name_of_resource: NameOfResource = _own_name,
    name_of_type: NameOfType = _no_name,
) -> str:
    """Return the WIT definition of a type with this name: ``record name { a: u32 }``, ``type name = list<u8>;``."""
    if isinstance(type_, ResourceType):
        return f"resource {escape(name)};"
    writer = _Writer(name_of_resource, name_of_type)
    keyword, members = writer.body(type_)
    if members:
        return f"{keyword} {escape(name)} {members}"
    return f"type {escape(name)} = {writer.spelled(type_)};"


def render_func(
    name: str,
    type_: FuncType,
    name_of_resource: NameOfResource = _own_name,
    name_of_type: NameOfType = _no_name,
) -> str:
    """Return a function as WIT text, in the form for an interface or, for a resource's function, for its braces.

    ``name`` is the name in binaries: ``[method]fields.get`` yields ``get: func(...) -> ...;``. Raises
    MalformedComponent if it is not a function's name.
    """
    kind, _, plain = parse_function_name(name)
    writer = _Writer(name_of_resource, name_of_type)
    given = type_.params[1:] if kind is FunctionKind.METHOD else type_.params
    params = ", ".join(f"{escape(param)}: {writer.type(of)}" for param, of in given)
    result = "" if type_.result is None else f" -> {writer.type(type_.result)}"
    if kind is FunctionKind.CONSTRUCTOR:
        return f"constructor({params}){'' if isinstance(type_.result, t.Own) else result};"
    static = "static " if kind is FunctionKind.STATIC else ""
    is_async = "async " if type_.is_async else ""
    return f"{escape(plain)}: {static}{is_async}func({params}){result};"


def escape(name: str) -> str:
    """Return a name in WIT notation, with a ``%`` if it is a keyword."""
    return f"%{name}" if name in KEYWORDS else name


class _Writer:
    """Writes types as text. Beyond ``depth`` levels or ``width`` members it writes an ellipsis. None means no limit."""

    def __init__(
        self,
        name_of_resource: NameOfResource = _own_name,
        name_of_type: NameOfType = _no_name,
        depth: int | None = None,
        width: int | None = None,
    ) -> None:
        self.name_of_resource = name_of_resource
        self.name_of_type = name_of_type
        self.depth = depth
        self.width = width

    def type(self, type_: ValType) -> str:
        name = self.name_of_type(type_)
        if name is not None:
            return escape(name)
        if self.depth is None:
            return self.spelled(type_)
        if self.depth == 0:
            return "…"
        self.depth -= 1
        text = self.spelled(type_)
        self.depth += 1
        return text

    def spelled(self, type_: ValType) -> str:
        match type_:
            case t.Primitive(name):
                return name
            case t.List(element, length):
                return f"list<{self.type(element)}{'' if length is None else f', {length}'}>"
            case t.Tuple(types):
                return f"tuple<{self.members([self.type(item) for item in self.cut(types)], types)}>"
            case t.Option(inner):
                return f"option<{self.type(inner)}>"
            case t.Result(None, None):
                return "result"
            case t.Result(None, err) if err is not None:
                return f"result<_, {self.type(err)}>"
            case t.Result(ok, None) if ok is not None:
                return f"result<{self.type(ok)}>"
            case t.Result(ok, err) if ok is not None and err is not None:
                return f"result<{self.type(ok)}, {self.type(err)}>"
            case t.Map(key, value):
                return f"map<{self.type(key)}, {self.type(value)}>"
            case t.Own(resource):
                return escape(self.name_of_resource(resource))
            case t.Borrow(resource):
                return f"borrow<{escape(self.name_of_resource(resource))}>"
            case t.Stream(element):
                return "stream" if element is None else f"stream<{self.type(element)}>"
            case t.Future(element):
                return "future" if element is None else f"future<{self.type(element)}>"
            case _:
                return " ".join(self.body(type_))

    def body(self, type_: ValType) -> tuple[str, str]:
        """Return the keyword and the braces of a type that WIT defines by name, otherwise two empty strings."""
        match type_:
            case t.Record(fields):
                lines = [f"{escape(name)}: {self.type(of)}" for name, of in self.cut(fields)]
                return "record", f"{{ {self.members(lines, fields)} }}"
            case t.Variant(cases):
                lines = [escape(name) + (f"({self.type(of)})" if of else "") for name, of in self.cut(cases)]
                return "variant", f"{{ {self.members(lines, cases)} }}"
            case t.Enum(names):
                return "enum", f"{{ {self.members([escape(name) for name in self.cut(names)], names)} }}"
            case t.Flags(names):
                return "flags", f"{{ {self.members([escape(name) for name in self.cut(names)], names)} }}"
            case _:
                return "", ""

    def cut(self, members: Sequence[Any]) -> Sequence[Any]:
        return members if self.width is None else members[: self.width]

    def members(self, written: list[str], all_: Sequence[Any]) -> str:
        return ", ".join(written if len(written) == len(all_) else [*written, "…"])


# ---- the check -------------------------------------------------------------------------------------------

#: The parts of a type, one level down: the label of each, and its type or None.
_Parts = list[tuple[str, "ValType | None"]]
_LONGEST_NAME = 64
_LONGEST_TYPE = 160


def mismatch(declared: FuncType, host: FuncType, same_resource: SameResource) -> str | None:
    """Return the first difference between a component's declaration of a function and the host's function, or None.

    ``same_resource(component's, host's)`` compares two resource types. The result is a line like
    ``parameter len: component has u32, host has u64``. It is short even if the component's type is enormous.
    """
    if declared.is_async != host.is_async:
        words = {False: "func", True: "async func"}
        return _line([], words[declared.is_async], words[host.is_async])
    theirs: _Parts = [(f"parameter {_short(name)}", of) for name, of in declared.params]
    ours: _Parts = [(f"parameter {_short(name)}", of) for name, of in host.params]
    difference = _compare_parts([], theirs, ours, same_resource)
    return difference or _compare(["result"], declared.result, host.result, same_resource)


def _compare(where: list[str], declared: ValType | None, host: ValType | None, same: SameResource) -> str | None:
    """Return the first difference of two types. The search is no deeper than the host's type."""
    if declared is None and host is None:
        return None
    if declared is None or host is None or type(declared) is not type(host):
        return _line(where, _brief(declared), _brief(host))
    match declared, host:
        case (t.Own(theirs), t.Own(ours)) | (t.Borrow(theirs), t.Borrow(ours)):
            if same(theirs, ours):
                return None
            another = "another resource of that name" if theirs.name == ours.name else _brief(host)
            return _line(where, _brief(declared), another)
        case (t.Primitive(), t.Primitive()) if declared != host:
            return _line(where, _brief(declared), _brief(host))
        case (t.List(_, length), t.List(_, host_length)) if length != host_length:
            return _line(where, _brief(declared), _brief(host))
        case _:
            return _compare_parts(where, _parts(declared), _parts(host), same)


def _compare_parts(where: list[str], declared: _Parts, host: _Parts, same: SameResource) -> str | None:
    for (label, _), (host_label, _) in zip_longest(declared, host, fillvalue=("nothing there", None)):
        if label != host_label:
            return _line(where, label, host_label)
    for (label, part), (_, host_part) in zip(declared, host, strict=True):
        difference = _compare([*where, label], part, host_part, same)
        if difference is not None:
            return difference
    return None


def _parts(type_: ValType) -> _Parts:
    match type_:
        case t.Record(fields):
            return [(f"field {_short(name)}", of) for name, of in fields]
        case t.Variant(cases):
            return [(f"case {_short(name)}", of) for name, of in cases]
        case t.Enum(names):
            return [(f"case {_short(name)}", None) for name in names]
        case t.Flags(names):
            return [(f"flag {_short(name)}", None) for name in names]
        case t.Tuple(types):
            return [(f"item {number}", of) for number, of in enumerate(types, 1)]
        case t.List(element) | t.Stream(element) | t.Future(element):
            return [("element", element)]
        case t.Option(inner):
            return [("some", inner)]
        case t.Result(ok, err):
            return [("ok", ok), ("err", err)]
        case t.Map(key, value):
            return [("key", key), ("value", value)]
        case _:
            return []


def _line(where: list[str], declared: str, host: str) -> str:
    return f"{', '.join(where)}{': ' if where else ''}component has {declared}, host has {host}"


def _brief(type_: ValType | None) -> str:
    if type_ is None:
        return "nothing"
    return _short(_Writer(depth=3, width=3).type(type_), _LONGEST_TYPE)


def _short(text: str, longest: int = _LONGEST_NAME) -> str:
    return text if len(text) <= longest else text[:longest] + "…"
