"""Lowering: from Python to core values and a guest's memory ("Storing" and "Flat Lowering" of the Canonical ABI).

Each sequence of types has a generated function, as in lifting. The host's values are checked: ``HostError`` names the
WIT type and the Python type that does not fit it. The results of a guest's ``realloc`` are checked too.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wasi_trio.component._context import Context
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._sorts import StringEncoding
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
)
from wasi_trio.component._types import Variant as VariantType
from wasi_trio.component.abi import _checks as checks
from wasi_trio.component.abi import _layout as layout
from wasi_trio.component.abi._codegen import Source, lazy_function
from wasi_trio.component.abi._frames import Hole, Inlining, Slot, struct_of
from wasi_trio.component.abi._lists import BULK_STORERS
from wasi_trio.component.abi._maps import to_pairs
from wasi_trio.component.abi._parts import Parts
from wasi_trio.component.abi._strings import STORERS, require


class MutableFlats(Protocol):
    """The destination of core values, which are unsigned integers of 64 bits."""

    def __setitem__(self, index: int, value: int, /) -> None: ...


LowerResults = Callable[[Context, MutableFlats, int, Any], None]
LowerValues = Callable[[Context, Sequence[Any]], list[int]]
StoreList = Callable[[Context, int, Any], None]


@functools.lru_cache(maxsize=8192)
def lower_results(
    result: ValType | None,
    encoding: StringEncoding,
    *,
    stride: int = 1,
    max_flat: int = layout.MAX_FLAT_RESULTS,
    instance_index: int | None = None,
) -> LowerResults:
    """Return a function ``(cx, flats, retptr, value)`` that lowers the result of a guest's call to the host.

    The function stores core value i in ``flats[stride * i]``. If their number exceeds ``max_flat``, it
    stores the result in memory at ``retptr``, which it ignores otherwise. ``instance_index`` is the destination
    component instance, which gets the bare representation for borrows of its own resources. The function raises
    HostError, and Trap for a bad ``retptr``.
    """

    def build(source: Source) -> None:
        write_results(source, result, encoding, stride, max_flat, instance_index)

    return lazy_function("lower", ("cx", "flats", "retptr", "value"), build)


def write_results(
    source: Source,
    result: ValType | None,
    encoding: StringEncoding,
    stride: int,
    max_flat: int,
    instance_index: int | None,
) -> None:
    """Write the steps of ``lower_results`` into a function with the variables ``cx``, ``flats``, ``retptr``, ``value``.

    Only results in memory require ``retptr``.
    """
    if result is None:
        with source.block("if value is not None:"):
            source.line(f"raise {source.use(_no_result)}(value)")
        return
    lowerer = _Lowerer(source, encoding, instance_index, layout.weight(result))
    if layout.total_flat_length((result,)) <= max_flat:
        for i, raw in enumerate(lowerer.flat(result, "value")):
            source.line(f"flats[{stride * i}] = {raw}")
        return
    source.line(f"retptr &= {2**32 - 1}")
    if (mask := layout.alignment(result) - 1) > 0:
        with source.block(f"if retptr & {mask}:"):
            source.line(f"raise {source.use(Trap)}('unaligned pointer')")
    with source.block(f"if retptr + {layout.size(result)} > cx.memory.size:"):
        message = "pointer out of bounds of memory"
        source.line(f"{source.use(require)}(cx.memory, retptr + {layout.size(result)}, {message!r})")
    lowerer.memory(result, "value", "retptr")


@functools.lru_cache(maxsize=8192)
def lower_values(
    types: tuple[ValType, ...], encoding: StringEncoding, max_flat: int, *, instance_index: int | None = None
) -> LowerValues:
    """Return a function ``(cx, values)`` that returns the core values of a call into a guest (``lower_flat_values``).

    The core values are unsigned integers with the 32 or 64 bits of each value. If their number exceeds ``max_flat``,
    the function stores the values in memory from the guest's ``realloc``, and the only core value is their address.
    """
    whole = Tuple(types)

    def build(source: Source) -> None:
        lowerer = _Lowerer(source, encoding, instance_index, sum(map(layout.weight, types)))
        with source.block(f"if len(values) != {len(types)}:"):
            source.line(f"raise {source.use(_wrong_count)}({len(types)}, values)")
        names = [source.temporary("a") for _ in types]
        if names:
            source.line(f"{', '.join(names)}, = values")
        if layout.total_flat_length(types) <= max_flat:
            raws = [raw for t, name in zip(types, names, strict=True) for raw in lowerer.flat_part(t, name)]
            source.line(f"return [{', '.join(raws)}]")
            return
        source.line(f"p = cx.allocate({layout.alignment(whole)}, {layout.size(whole)})")
        lowerer.memory(whole, names, "p")
        source.line("return [p]")

    return lazy_function("lower", ("cx", "values"), build)


@functools.lru_cache(maxsize=8192)
def store_list(element: ValType, encoding: StringEncoding, *, instance_index: int | None = None) -> StoreList:
    """Return a function ``(cx, pointer, values)`` that stores elements in a range known to be valid and aligned.

    ``values`` must have the length of the range. It is a buffer of bytes for ``u8``, otherwise a list or tuple.
    """
    bulk = BULK_STORERS.get(element)
    if bulk is not None:
        return bulk
    size = layout.size(element)

    def build(source: Source) -> None:
        lowerer = _Lowerer(source, encoding, instance_index, layout.weight(element))
        # Pairing values with a range bounds the writes even if the list grows meanwhile.
        with source.block(f"for q, x in zip(range(p, p + {size} * len(values), {size}), values):"):
            lowerer.memory(element, "x", "q")

    return lazy_function("lower list", ("cx", "p", "values"), build)


@functools.lru_cache(maxsize=8192)
def _list_lowerer(type_: List, encoding: StringEncoding, instance_index: int | None) -> Callable[..., tuple[int, int]]:
    """Return a function ``(cx, value)`` that stores a list in new memory and returns its address and length."""
    element = type_.element
    size, alignment = layout.size(element), layout.alignment(element)
    limit = layout.MAX_BYTE_LENGTH // size
    if element == U8:

        def lower_bytes(cx: Context, value: Any) -> tuple[int, int]:
            data = value if value.__class__ is bytes else checks.as_buffer(value, type_, limit)
            length = len(data)
            if length > limit:
                data = checks.as_buffer(value, type_, limit)
            pointer = cx.allocate(1, length)
            cx.memory.view[pointer : pointer + length] = data
            return pointer, length

        return lower_bytes
    store = store_list(element, encoding, instance_index=instance_index)

    def lower_list(cx: Context, value: Any) -> tuple[int, int]:
        values = checks.as_items(value, type_, limit)
        length = len(values)
        pointer = cx.allocate(alignment, length * size)
        store(cx, pointer, values)
        return pointer, length

    return lower_list


@functools.lru_cache(maxsize=8192)
def _memory_lowerer(type_: ValType, encoding: StringEncoding, instance_index: int | None) -> Callable[..., None]:
    """Return a function ``(cx, pointer, value)`` for one type that is not lowered inline."""

    def build(source: Source) -> None:
        _Lowerer(source, encoding, instance_index, layout.weight(type_)).memory(type_, "x", "p")

    return lazy_function("lower", ("cx", "p", "x"), build)


@functools.lru_cache(maxsize=8192)
def _flat_lowerer(
    type_: ValType, count: int, encoding: StringEncoding, instance_index: int | None
) -> Callable[..., tuple[int, ...]]:
    """Return a function ``(cx, value)`` that returns ``count`` core values: those of the type, then zeros."""

    def build(source: Source) -> None:
        raws = _Lowerer(source, encoding, instance_index, layout.weight(type_)).flat(type_, "x")
        raws += ["0"] * (count - len(raws))
        source.line(f"return {', '.join(raws)},")

    return lazy_function("lower", ("cx", "x"), build)


def _no_result(value: object) -> HostError:
    return HostError(f"a function without a result returned a Python {type(value).__name__}")


def _wrong_count(expected: int, values: Sequence[Any]) -> HostError:
    return HostError(f"{expected} arguments are required, {len(values)} were given")


class _Frame:
    """The values of one frame found so far, and the information that is needed to write them."""

    def __init__(self, pointer: str) -> None:
        self.pointer = pointer
        self.values: list[str] = []
        #: The type and variable of each value that only ``struct`` checks, for the error if it refuses the value.
        self.unchecked: list[tuple[Primitive, str]] = []


class _Lowerer(Parts):
    """Writes the steps that lower values into one function.

    Methods take the name of the local variable that holds the value, and add the statements that check it.
    """

    def __init__(self, source: Source, encoding: StringEncoding, instance_index: int | None, root_weight: int) -> None:
        super().__init__(source)
        self.encoding = encoding
        self.instance_index = instance_index
        self.inlining = Inlining(root_weight)

    # ---- to core values ----

    def flat_part(self, type_: ValType, value: str) -> list[str]:
        if not self.inlining.separate(type_):
            return self.flat(type_, value)
        count = layout.flat_length(type_)
        function = _flat_lowerer(type_, count, self.encoding, self.instance_index)
        names = [self.source.temporary("f") for _ in range(count)]
        self.source.line(f"{', '.join(names)}, = {self.source.constant(function, 'lower')}(cx, {value})")
        return names

    def flat(self, type_: ValType, value: str) -> list[str]:
        """Return the expressions of the core values. The caller must evaluate each once."""
        source = self.source
        match type_:
            case Primitive("f32" | "f64"):
                return [
                    self.keep(f"{source.use(checks.f32_bits if type_.name == 'f32' else checks.f64_bits)}({value})")
                ]
            case Primitive(name) if name in checks.INTEGER_RANGES:
                low, high = checks.INTEGER_RANGES[name]
                with source.block(f"if {value}.__class__ is not int or not {low} <= {value} <= {high}:"):
                    source.line(f"{value} = {source.use(checks.as_integer)}({value}, {source.constant(type_, name)})")
                return [value if low == 0 else f"{value} & {2 ** (64 if name == 's64' else 32) - 1}"]
            case Primitive("bool"):
                self.check_bool(value)
                return [f"(1 if {value} else 0)"]
            case Record() | Tuple():
                parts = zip(layout.fields(type_), self.fields(type_, value), strict=True)
                return [raw for t, name in parts for raw in self.flat_part(t, name)]
            case List(element, int(length)):
                names = self.items(type_, value, length)
                return [raw for name in names for raw in self.flat_part(element, name)]
            case VariantType() | Enum() | Option() | Result():
                return self.flat_variant(type_, value)
            case _:
                return self.leaf(type_, value)

    def flat_variant(self, type_: VariantType | Enum | Option | Result, value: str) -> list[str]:
        source = self.source
        count = layout.flat_length(type_) - 1
        names = [source.temporary("f") for _ in range(count)]

        def payload(t: ValType, x: str) -> None:
            raws = self.flat_part(t, x)
            source.line(f"{', '.join(names[: len(raws)])}, = {', '.join(raws)},")

        def table(types: tuple[ValType | None, ...], case: str, x: str) -> None:
            functions = tuple(t and _flat_lowerer(t, count, self.encoding, self.instance_index) for t in types)
            source.line(f"{', '.join(names)}, = {source.constant(functions, 'lowers')}[{case}](cx, {x})")

        return [self.variant(type_, value, payload, table, names), *names]

    # ---- to memory ----

    def memory(self, type_: ValType, value: str | list[str], pointer: str) -> None:
        """Write a value to the address in the variable ``pointer``. A tuple may come as one variable for each item."""
        self.at(type_, value, pointer, 0)

    def at(self, type_: ValType, value: str | list[str], pointer: str, offset: int) -> None:
        frame = _Frame(pointer)
        if isinstance(value, str):
            self.frame(type_, value, frame, offset)
        else:
            assert isinstance(type_, Tuple)
            self.frame_fields(type_, value, frame, offset)
        parts = self.inlining.frame(type_, offset)
        values = iter(frame.values)
        run: list[Slot] = []
        run_values: list[str] = []
        writes: list[str] = []
        for part in [*parts, Hole(0)]:
            if isinstance(part, Slot):
                run.append(part)
                run_values.append(next(values))
            elif run:
                # A run's padding is zeroed. A hole must not be, because it already has its value.
                pack = self.source.constant(struct_of(run, run[0].offset).pack_into, "pack")
                place = _plus(pointer, run[0].offset)
                writes.append(f"{pack}(cx.memory.view, {place}, {', '.join(run_values)})")
                run, run_values = [], []
        if not frame.unchecked:
            for write in writes:
                self.source.line(write)
            return
        errors = self.source.constant((struct.error, OverflowError), "errors")
        with self.source.block("try:"):
            for write in writes:
                self.source.line(write)
        with self.source.block(f"except {errors} as error:"):
            types = self.source.constant(tuple(t for t, _ in frame.unchecked), "types")
            names = ", ".join(name for _, name in frame.unchecked)
            self.source.line(f"raise {self.source.use(checks.number_error)}({types}, ({names},), error) from None")

    def frame(self, type_: ValType, value: str, frame: _Frame, offset: int) -> None:
        """Add a value's slots to ``frame`` in order, and write its holes."""
        source = self.source
        match type_:
            case Primitive("bool"):
                self.check_bool(value)
                frame.values.append(value)
            case Primitive() if layout.number_code(type_) is not None:
                frame.values.append(value)
                frame.unchecked.append((type_, value))
            case Record() | Tuple():
                self.frame_fields(type_, self.fields(type_, value), frame, offset)
            case List(element, int(length)):
                store = store_list(element, self.encoding, instance_index=self.instance_index)
                check = checks.as_buffer if element == U8 else checks.as_items
                checked = f"{source.use(check)}({value}, {source.constant(type_, 'type')}, {length})"
                source.line(f"{source.constant(store, 'store')}(cx, {_plus(frame.pointer, offset)}, {checked})")
            case VariantType() | Enum() | Option() | Result():
                self.frame_variant(type_, value, frame, offset)
            case _:
                frame.values += self.leaf(type_, value)

    def frame_fields(self, type_: Record | Tuple, names: list[str], frame: _Frame, offset: int) -> None:
        for t, name, start in zip(layout.fields(type_), names, layout.offsets(type_), strict=True):
            if self.inlining.separate(t):
                self.separate(t, name, frame.pointer, offset + start)
            else:
                self.frame(t, name, frame, offset + start)

    def frame_variant(
        self, type_: VariantType | Enum | Option | Result, value: str, frame: _Frame, offset: int
    ) -> None:
        source = self.source
        start = offset + layout.payload_offset(type_)
        only = self.inlining.only_payload(type_)
        names: list[str] = []
        if only is not None:
            names = [source.temporary("f") for part in self.inlining.frame(only) if isinstance(part, Slot)]

        def payload(t: ValType, x: str) -> None:
            if only is not None:
                inner = _Frame(frame.pointer)
                self.frame(t, x, inner, start)
                if names:
                    source.line(f"{', '.join(names)}, = {', '.join(inner.values)},")
                # If the case is absent, these are zeros, which pass the check.
                by_value = dict(zip(inner.values, names, strict=True))
                frame.unchecked += [(t, by_value.get(name, name)) for t, name in inner.unchecked]
            elif self.inlining.separate(t):
                self.separate(t, x, frame.pointer, start)
            else:
                self.at(t, x, frame.pointer, start)

        def table(types: tuple[ValType | None, ...], case: str, x: str) -> None:
            functions = tuple(t and _memory_lowerer(t, self.encoding, self.instance_index) for t in types)
            source.line(f"{source.constant(functions, 'lowers')}[{case}](cx, {_plus(frame.pointer, start)}, {x})")

        frame.values += [self.variant(type_, value, payload, table, names), *names]

    def separate(self, type_: ValType, value: str, pointer: str, offset: int) -> None:
        function = _memory_lowerer(type_, self.encoding, self.instance_index)
        self.source.line(f"{self.source.constant(function, 'lower')}(cx, {_plus(pointer, offset)}, {value})")

    # ---- to either ----

    def leaf(self, type_: ValType, value: str) -> list[str]:
        """Return the core values, known to be in range, of a type that has one or two."""
        source = self.source
        match type_:
            case Primitive("char"):
                return [self.keep(f"{source.use(checks.char_bits)}({value})")]
            case Primitive("string"):
                return self.pair(f"{source.use(STORERS[self.encoding])}(cx, {value})")
            case Primitive("error-context"):
                return [self.keep(f"cx.lower_error_context({value})")]
            case List():
                lower = _list_lowerer(type_, self.encoding, self.instance_index)
                return self.pair(f"{source.constant(lower, 'lower')}(cx, {value})")
            case Map(key, item):
                lower = _list_lowerer(List(Tuple((key, item))), self.encoding, self.instance_index)
                pairs = f"{source.use(to_pairs)}({value}, {source.constant(type_, 'type')})"
                return self.pair(f"{source.constant(lower, 'lower')}(cx, {pairs})")
            case Flags(names):
                bits = source.constant({name: 1 << i for i, name in enumerate(names)}, "bits")
                return [self.keep(f"{source.use(checks.flag_bits)}({value}, {source.constant(type_, 'type')}, {bits})")]
            case Own(resource):
                rep = self.rep(type_, value)
                return [self.keep(f"cx.lower_own({rep}, {source.constant(resource, 'resource')})")]
            case Borrow(resource):
                rep = self.rep(type_, value)
                if resource.owner is not None and resource.owner == self.instance_index:
                    return [self.keep(rep)]
                return [self.keep(f"cx.lower_borrow({rep}, {source.constant(resource, 'resource')})")]
            case Stream(element):
                return [self.keep(f"cx.lower_stream({value}, {source.constant(element, 'element')})")]
            case Future(element):
                return [self.keep(f"cx.lower_future({value}, {source.constant(element, 'element')})")]
            case _:
                raise AssertionError(type_)

    def pair(self, expression: str) -> list[str]:
        pointer, length = self.source.temporary("p"), self.source.temporary("n")
        self.source.line(f"{pointer}, {length} = {expression}")
        return [pointer, length]


def _plus(pointer: str, offset: int) -> str:
    return f"{pointer} + {offset}" if offset else pointer
