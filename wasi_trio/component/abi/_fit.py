"""Checks that a host's values fit their types before anything is lowered.

Lowering checks values too, but by then it has moved handles into the guest's table, or the value has waited for a guest
that cannot go on without it. The generated functions raise the same errors as lowering.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wasi_trio.component._types import (
    U8,
    Borrow,
    Enum,
    Flags,
    Future,
    List,
    Map,
    Option,
    Own,
    Primitive,
    Record,
    Result,
    Stream,
    Tuple,
    ValType,
    contains,
)
from wasi_trio.component._types import Variant as VariantType
from wasi_trio.component.abi import _checks as checks
from wasi_trio.component.abi import _layout as layout
from wasi_trio.component.abi._codegen import Source, lazy_function
from wasi_trio.component.abi._frames import Inlining
from wasi_trio.component.abi._maps import to_pairs
from wasi_trio.component.abi._parts import Parts
from wasi_trio.component.abi._strings import encode

Fit = Callable[[Any], None]
_TRANSFERS = (Own, Borrow, Stream, Future)


@functools.lru_cache(maxsize=8192)
def fit(type_: ValType) -> Fit:
    """Return a function that raises HostError for a value that does not fit the type."""

    def build(source: Source) -> None:
        _Fitter(source, layout.weight(type_)).check(type_, "x")

    return lazy_function("check", ("x",), build)


def fit_arguments(types: tuple[ValType, ...], instance_index: int) -> Callable[[Sequence[Any]], None] | None:
    """Return a function that checks the arguments of a call, or None if lowering alone is enough.

    Lowering is not enough if an argument may be found wrong after a handle has been transferred. A wrong number of
    arguments passes: lowering finds that first.
    """
    first = next((i for i, type_ in enumerate(types) if _transfers(type_, instance_index)), None)
    if first is None or (first == len(types) - 1 and isinstance(types[first], _TRANSFERS)):
        return None
    return _fit_arguments(types)


@functools.lru_cache(maxsize=1024)
def _fit_arguments(types: tuple[ValType, ...]) -> Callable[[Sequence[Any]], None]:
    def build(source: Source) -> None:
        fitter = _Fitter(source, sum(map(layout.weight, types)))
        names = [source.temporary("a") for _ in types]
        with source.block(f"if len(values) != {len(types)}:"):
            source.line("return")
        source.line(f"{', '.join(names)}, = values")
        for type_, name in zip(types, names, strict=True):
            fitter.part(type_, name)

    return lazy_function("check", ("values",), build)


def _transfers(type_: ValType, instance_index: int) -> bool:
    """Return whether lowering a value may add a handle for something that the host holds."""
    if isinstance(type_, Borrow):
        return type_.resource.owner is None or type_.resource.owner != instance_index
    return contains(type_, _TRANSFERS)


class _Fitter(Parts):
    """Writes the checks of values into one function.

    Methods take the name of the local variable that holds the value.
    """

    def __init__(self, source: Source, root_weight: int) -> None:
        super().__init__(source)
        self.inlining = Inlining(root_weight)

    def part(self, type_: ValType, value: str) -> None:
        if self.inlining.separate(type_):
            self.source.line(f"{self.source.constant(fit(type_), 'fit')}({value})")
        else:
            self.check(type_, value)

    def check(self, type_: ValType, value: str) -> None:
        source = self.source
        match type_:
            case Primitive("bool"):
                self.check_bool(value)
            case Primitive("f32" | "f64"):
                bits = checks.f32_bits if type_.name == "f32" else checks.f64_bits
                source.line(f"{source.use(bits)}({value})")
            case Primitive("char"):
                source.line(f"{source.use(checks.char_bits)}({value})")
            case Primitive("string"):
                source.line(f"{source.use(encode)}({value}, 'utf-8')")
            case Primitive("error-context"):
                source.line(f"{source.use(checks.check_error_context)}({value})")
            case Primitive(name):
                low, high = checks.INTEGER_RANGES[name]
                with source.block(f"if {value}.__class__ is not int or not {low} <= {value} <= {high}:"):
                    source.line(f"{source.use(checks.as_integer)}({value}, {source.constant(type_, name)})")
            case Record() | Tuple():
                for t, name in zip(layout.fields(type_), self.fields(type_, value), strict=True):
                    self.part(t, name)
            case List(element, length):
                limit = layout.MAX_BYTE_LENGTH // layout.size(element) if length is None else length
                check = source.use(checks.as_buffer if element == U8 else checks.as_items)
                checked = f"{check}({value}, {source.constant(type_, 'type')}, {limit})"
                if element == U8:
                    source.line(checked)
                else:
                    self.each(element, checked)
            case Map(key, item):
                pairs = f"{source.use(to_pairs)}({value}, {source.constant(type_, 'type')})"
                self.each(Tuple((key, item)), pairs)
            case Flags(names):
                bits_of = source.constant({name: 1 << i for i, name in enumerate(names)}, "bits")
                source.line(f"{source.use(checks.flag_bits)}({value}, {source.constant(type_, 'type')}, {bits_of})")
            case VariantType() | Enum() | Option() | Result():
                self.variant(type_, value, self.part, self.table, [])
            case Own(resource) | Borrow(resource):
                if resource.owner is None:
                    self.rep(type_, value)
                else:
                    source.line(f"{source.use(checks.guest_rep)}({value}, {source.constant(type_, 'type')})")
            case Stream() | Future():
                kind = "stream" if isinstance(type_, Stream) else "future"
                source.line(f"{source.use(checks.check_end)}({value}, {kind!r})")

    def each(self, element: ValType, values: str) -> None:
        item = self.source.temporary("x")
        with self.source.block(f"for {item} in {values}:"):
            self.part(element, item)

    def table(self, types: tuple[ValType | None, ...], case: str, value: str) -> None:
        functions = tuple(type_ and fit(type_) for type_ in types)
        self.source.line(f"{self.source.constant(functions, 'fits')}[{case}]({value})")
