"""Lifting: from core values and a guest's memory to Python ("Loading" and "Flat Lifting" of the Canonical ABI).

Each sequence of types has a generated function with only the steps that these types need. All guest values are
checked. A value that breaks a rule raises ``Trap``.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._typed import converter, plain_cases
from wasi_trio.component._types import (
    BOOL,
    CHAR,
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
from wasi_trio.component._values import Err, GuestResource, Ok, Some, Variant, record_class
from wasi_trio.component.abi import _layout as layout
from wasi_trio.component.abi._budget import ALWAYS, WHEN_LARGE, cost, needs_budget
from wasi_trio.component.abi._codegen import Source, lazy_function
from wasi_trio.component.abi._frames import MAX_BRANCHES, Inlining, Slot, struct_of
from wasi_trio.component.abi._lists import bytes_loader
from wasi_trio.component.abi._maps import from_pairs
from wasi_trio.component.abi._strings import require, string_loader


class Flats(Protocol):
    """Core values as unsigned integers. Bits above a value's own width are undefined."""

    def __getitem__(self, index: int, /) -> int: ...


Lift = Callable[[Context, Flats], tuple[Any, ...]]
LoadList = Callable[[Context, int, int], Any]


@functools.lru_cache(maxsize=8192)
def lift_values(
    types: tuple[ValType, ...], encoding: StringEncoding, max_flat: int, *, stride: int = 1, track_lends: bool = True
) -> Lift:
    """Return a function that lifts parameters or results of these types (``lift_flat_values``).

    The function takes core value i from ``flats[stride * i]``. If the number of core values exceeds ``max_flat``, it
    loads the values from memory at ``flats[0]``. With ``track_lends`` it counts each borrowed handle as lent and
    appends it to ``cx.lenders``; the caller must end these lends (see ``_layout.needs_lends``). It raises Trap.
    """

    def build(source: Source) -> None:
        source.line(f"return {write_lift(source, types, encoding, max_flat, stride, track_lends)}")

    return lazy_function("lift", ("cx", "flats"), build)


def write_lift(
    source: Source,
    types: tuple[ValType, ...],
    encoding: StringEncoding,
    max_flat: int,
    stride: int,
    track_lends: bool,
) -> str:
    """Write the steps of ``lift_values`` into a function with the variables ``cx`` and ``flats``.

    Return the expression of the tuple of values. The function must evaluate it once, before any other statement.
    """
    lifter = _Lifter(source, encoding, track_lends, WHEN_LARGE, sum(map(layout.weight, types)))
    if needs_budget(types):
        source.line("cx.fuel = cx.admits")
    if layout.total_flat_length(types) <= max_flat:
        raws = [f"flats[{stride * i}]" for i in range(layout.total_flat_length(types))]
        return lifter.sequence(types, raws)
    whole = Tuple(types)
    source.line(f"p = flats[0] & {2**32 - 1}")
    if (mask := layout.alignment(whole) - 1) > 0:
        with source.block(f"if p & {mask}:"):
            source.line(f"raise {source.use(Trap)}('unaligned pointer')")
    with source.block(f"if p + {layout.size(whole)} > cx.memory.size:"):
        source.line(f"{source.use(require)}(cx.memory, p + {layout.size(whole)}, 'pointer out of bounds of memory')")
    return lifter.memory(whole, "p")


@functools.lru_cache(maxsize=8192)
def load_list(element: ValType, encoding: StringEncoding, *, track_lends: bool = True) -> LoadList:
    """Return a function ``(cx, pointer, count)`` that loads a range known to be valid and aligned.

    The function returns bytes for ``u8`` and a list for other elements. It raises Trap for invalid elements.
    """
    load = _list_loader(element, encoding, track_lends, checked=False)

    def build(source: Source) -> None:
        source.line("cx.fuel = cx.admits")
        source.line(f"return {source.constant(load, 'load')}(cx, p, n)")

    return lazy_function("load list", ("cx", "p", "n"), build)


@functools.lru_cache(maxsize=8192)
def _list_loader(element: ValType, encoding: StringEncoding, track_lends: bool, checked: bool) -> LoadList:
    """Return the loader for a list inside a call. It charges the call's budget, and checks the range if ``checked``."""
    size, alignment = layout.size(element), layout.alignment(element)

    def build(source: Source) -> None:
        source.line(f"e = p + {f'{size} * ' if size > 1 else ''}n")
        source.line("m = cx.memory")
        if checked:
            trap = source.use(Trap)
            with source.block(f"if n > {layout.MAX_BYTE_LENGTH // size}:"):
                source.line(f"raise {trap}(f'list of {{n}} elements is longer than the Canonical ABI admits')")
            if alignment > 1:
                with source.block(f"if p & {alignment - 1}:"):
                    source.line(f"raise {trap}('unaligned pointer to a list')")
            with source.block("if e > m.size:"):
                source.line(f"{source.use(require)}(m, e, 'list pointer/length out of bounds of memory')")
        if element == U8:
            source.line("cx.spend(n + 40)")
            source.line("return m.view[p:e].tobytes()")
            return
        source.line(f"cx.fuel = fuel = cx.fuel - n * {8 + cost(element)} - 64")
        with source.block("if fuel < 0:"):
            source.line("cx.spend(0)")
        if (code := layout.number_code(element)) is not None:
            source.line(f"return m.view[p:e].cast({code!r}).tolist()")
        elif element == BOOL:
            source.line("return list(map(bool, m.view[p:e]))")
        elif element == CHAR:
            # Python's UTF-32 codec rejects exactly the values that a char cannot have.
            with source.block("try:"):
                source.line("return list(str(m.view[p:e], 'utf-32-le'))")
            with source.block("except UnicodeDecodeError:"):
                source.line(f"raise {source.use(Trap)}({_BAD_CHAR!r}) from None")
        else:
            lifter = _Lifter(source, encoding, track_lends, ALWAYS, layout.weight(element))
            lifter.elements(element, size)

    return lazy_function("lift list", ("cx", "p", "n"), build)


@functools.lru_cache(maxsize=8192)
def _memory_lifter(type_: ValType, encoding: StringEncoding, track_lends: bool, charge_from: int) -> Callable[..., Any]:
    """Return a function ``(cx, pointer)`` for one type that is not lifted inline."""

    def build(source: Source) -> None:
        lifter = _Lifter(source, encoding, track_lends, charge_from, layout.weight(type_))
        source.line(f"return {lifter.memory(type_, 'p')}")

    return lazy_function("lift", ("cx", "p"), build)


@functools.lru_cache(maxsize=8192)
def _flat_lifter(
    type_: ValType, count: int, encoding: StringEncoding, track_lends: bool, charge_from: int
) -> Callable[..., Any]:
    """Return a function ``(cx, f0, f1, ...)`` of ``count`` core values, which may be more than the type needs."""

    def build(source: Source) -> None:
        lifter = _Lifter(source, encoding, track_lends, charge_from, layout.weight(type_))
        source.line(f"return {lifter.flat(type_, [f'f{i}' for i in range(layout.flat_length(type_))])}")

    return lazy_function("lift", ("cx", *(f"f{i}" for i in range(count))), build)


_BAD_CHAR = "invalid `char` bit pattern"


def _lift_char(point: int) -> str:
    if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        raise Trap(_BAD_CHAR)
    return chr(point)


_WIDTHS = {"B": 8, "H": 16, "I": 32, "Q": 64, "b": 8, "h": 16, "i": 32, "q": 64}

# Core values are integers, so floats are converted through their bits.
_UNPACK_FLOAT = {"f": struct.Struct("<f").unpack, "d": struct.Struct("<d").unpack}
_PACK_BITS = {"f": struct.Struct("<I").pack, "d": struct.Struct("<Q").pack}


class _Lifter:
    """Writes the steps that lift values into one function.

    Each method adds the statements that a value needs, and returns the expression of the value. The caller must
    evaluate the expression once, before any statement that is added later.
    """

    def __init__(
        self, source: Source, encoding: StringEncoding, track_lends: bool, charge_from: int, root_weight: int
    ) -> None:
        self.source = source
        self.encoding = encoding
        self.track_lends = track_lends
        self.charge_from = charge_from
        self.inlining = Inlining(root_weight)

    # ---- from core values ----

    def sequence(self, types: Sequence[ValType], raws: list[str]) -> str:
        """Return a tuple of values, lifted from the core values of all of them."""
        values, start = [], 0
        for t in types:
            count = layout.flat_length(t)
            values.append(self.flat_part(t, raws[start : start + count]))
            start += count
        return _tuple(values)

    def flat_part(self, type_: ValType, raws: list[str]) -> str:
        if not self.inlining.separate(type_):
            return self.flat(type_, raws)
        function = _flat_lifter(type_, len(raws), self.encoding, self.track_lends, self.charge_from)
        return self.keep(f"{self.source.constant(function, 'lift')}(cx, {', '.join(raws)})")

    def flat(self, type_: ValType, raws: list[str]) -> str:
        codes = layout.leaf_codes(type_)
        if codes is not None:
            if type_ == BOOL or isinstance(type_, Flags):
                codes = "I"
            return self.leaf(type_, [self.decode(raw, code) for raw, code in zip(raws, codes, strict=True)])
        match type_:
            case Record() | Tuple():
                return self.record(type_, self.sequence(layout.fields(type_), raws))
            case List(element, int(length)):
                items = self.sequence((element,) * length, raws)
                return f"bytes({items})" if element == U8 else f"list({items})"
            case VariantType() | Enum() | Option() | Result():
                payloads = raws[1:]

                def payload(t: ValType) -> str:
                    return self.flat_part(t, payloads[: layout.flat_length(t)])

                def table(types: tuple[ValType | None, ...]) -> str:
                    functions = tuple(
                        t and _flat_lifter(t, len(payloads), self.encoding, self.track_lends, self.charge_from)
                        for t in types
                    )
                    return f"{self.source.constant(functions, 'lifts')}[{{}}](cx, {', '.join(payloads)})"

                return self.variant(type_, self.decode(raws[0], "I"), payload, table)
            case _:
                raise AssertionError(type_)

    def decode(self, raw: str, code: str) -> str:
        """Return the expression that turns a core value's bits into the number that ``struct`` reads from memory."""
        if code == "Q":
            return raw
        if code in "fd":
            bits = raw if code == "d" else f"{raw} & {2**32 - 1}"
            unpack = self.source.constant(_UNPACK_FLOAT[code], f"unpack_{code}")
            pack = self.source.constant(_PACK_BITS[code], f"bits_{code}")
            return f"{unpack}({pack}({bits}))[0]"
        width = _WIDTHS[code]
        masked = raw if width == 64 else f"({raw} & {2**width - 1})"
        return masked if code.isupper() else f"(({masked} ^ {2 ** (width - 1)}) - {2 ** (width - 1)})"

    # ---- from memory ----

    def memory(self, type_: ValType, pointer: str) -> str:
        """Return a value lifted from the address in the local variable ``pointer``."""
        return self.at(type_, pointer, 0)

    def at(self, type_: ValType, pointer: str, offset: int) -> str:
        slots = [part for part in self.inlining.frame(type_, offset) if isinstance(part, Slot)]
        if len(slots) == 1 and slots[0].code == "B":
            value = self.keep(f"cx.memory.view[{_plus(pointer, slots[0].offset)}]")
            return self.frame(type_, iter([value]), pointer, offset)
        names = [self.source.temporary("s") for _ in slots]
        if slots:
            layout_ = struct_of(slots, slots[0].offset)
            unpack = self.source.constant(layout_.unpack_from, "unpack")
            at = _plus(pointer, slots[0].offset)
            self.source.line(f"{', '.join(names)}, = {unpack}(cx.memory.view, {at})")
        return self.frame(type_, iter(names), pointer, offset)

    def elements(self, element: ValType, size: int) -> None:
        """Write the rest of a list loader, over ``[p, e)`` in memory ``m``."""
        source = self.source
        parts = self.inlining.frame(element)
        slots = [part for part in parts if isinstance(part, Slot)]
        if len(slots) < len(parts):
            source.line("values = []")
            with source.block(f"for q in range(p, e, {size}):"):
                source.line(f"values.append({self.memory(element, 'q')})")
            source.line("return values")
            return
        chunks = source.constant(struct_of(slots, 0, size).iter_unpack, "chunks") + "(m.view[p:e])"
        if isinstance(element, Record | Tuple) and all(layout.number_code(t) for t in layout.fields(element)):
            if isinstance(element, Tuple):
                source.line(f"return list({chunks})")
            else:
                source.line(f"return [{self.record(element, 'r')} for r in {chunks}]")
            return
        names = [source.temporary("s") for _ in slots]
        written = len(source.lines)
        with source.block(f"for {', '.join(names)}, in {chunks}:"):
            value = self.frame(element, iter(names), "", 0)
            source.line(f"values.append({value})")
        if len(source.lines) == written + 2:
            del source.lines[written:]
            source.line(f"return [{value} for {', '.join(names)}, in {chunks}]")
        else:
            source.lines.insert(written, "    values = []")
            source.line("return values")

    def frame(self, type_: ValType, names: Iterator[str], pointer: str, offset: int) -> str:
        """Return a value whose frame is in local variables, in the order of its slots."""
        codes = layout.leaf_codes(type_)
        if codes is not None:
            return self.leaf(type_, [next(names) for _ in codes])
        match type_:
            case Record() | Tuple():
                values = [
                    self.frame_part(t, names, pointer, offset + start)
                    for t, start in zip(layout.fields(type_), layout.offsets(type_), strict=True)
                ]
                return self.record(type_, _tuple(values))
            case List(element, int(length)):
                load = _list_loader(element, self.encoding, self.track_lends, checked=False)
                return self.keep(f"{self.source.constant(load, 'load')}(cx, {_plus(pointer, offset)}, {length})")
            case VariantType() | Enum() | Option() | Result():
                in_frame = self.inlining.only_payload(type_) is not None
                start = offset + layout.payload_offset(type_)

                def payload(t: ValType) -> str:
                    if in_frame:
                        return self.frame(t, names, pointer, start)
                    return self.memory_part(t, pointer, start)

                def table(types: tuple[ValType | None, ...]) -> str:
                    functions = tuple(
                        t and _memory_lifter(t, self.encoding, self.track_lends, self.charge_from) for t in types
                    )
                    return f"{self.source.constant(functions, 'lifts')}[{{}}](cx, {_plus(pointer, start)})"

                return self.variant(type_, next(names), payload, table)
            case _:
                raise AssertionError(type_)

    def frame_part(self, type_: ValType, names: Iterator[str], pointer: str, offset: int) -> str:
        if self.inlining.separate(type_):
            return self.separate(type_, pointer, offset)
        return self.frame(type_, names, pointer, offset)

    def memory_part(self, type_: ValType, pointer: str, offset: int) -> str:
        if self.inlining.separate(type_):
            return self.separate(type_, pointer, offset)
        return self.at(type_, pointer, offset)

    def separate(self, type_: ValType, pointer: str, offset: int) -> str:
        function = _memory_lifter(type_, self.encoding, self.track_lends, self.charge_from)
        return self.keep(f"{self.source.constant(function, 'lift')}(cx, {_plus(pointer, offset)})")

    # ---- from either ----

    def keep(self, expression: str) -> str:
        """Evaluate the expression here, so that traps and handles keep the order of the values."""
        name = self.source.temporary()
        self.source.line(f"{name} = {expression}")
        return name

    def leaf(self, type_: ValType, slots: list[str]) -> str:
        """Return a value from its one or two decoded core values."""
        source, first = self.source, slots[0]
        match type_:
            case Primitive("bool"):
                return f"({first} != 0)"
            case Primitive("char"):
                return self.keep(f"{source.constant(_lift_char, 'char')}({first})")
            case Primitive("string"):
                load = source.use(string_loader(self.encoding, self.charge_from))
                return self.keep(f"{load}(cx, {', '.join(slots)})")
            case Primitive("error-context"):
                return self.keep(f"cx.lift_error_context({first})")
            case Primitive():
                return first
            case List(element):
                return self.list(element, slots)
            case Map(key, value):
                return f"{source.use(from_pairs)}({self.list(Tuple((key, value)), slots)})"
            case Flags(names):
                sets = _flag_sets(names, type_.python_class)  # type: ignore[arg-type]  # classes are hashable
                return f"{source.constant(sets, 'flags')}({first} & {2 ** len(names) - 1})"
            case Own(resource, class_):
                rep = f"cx.handles.lift_own({first}, {source.constant(resource, 'resource')})"
                if class_ is not None:
                    made = f"{source.constant(class_, 'Resource')}({source.constant(resource, 'resource')}, {rep}, cx)"
                    return self.keep(made)
                return self.keep(self.resource(type_, rep))
            case Borrow(resource):
                name = source.constant(resource, "resource")
                if self.track_lends:
                    return self.keep(self.resource(type_, f"cx.lend({first}, {name})"))
                return self.keep(self.resource(type_, f"cx.handles.resource({first}, {name}).rep"))
            case Stream(maybe, typed):
                return self.readable(f"cx.lift_stream({first}, {source.constant(maybe, 'element')})", typed)
            case Future(maybe, typed):
                return self.readable(f"cx.lift_future({first}, {source.constant(maybe, 'element')})", typed)
            case _:
                raise AssertionError(type_)

    def readable(self, expression: str, typed: ValType | None) -> str:
        """Return the readable end of a stream or future, with a converter if its elements have a Python type."""
        end = self.keep(expression)
        if typed is not None:
            self.source.line(f"{end}.converter = {self.source.constant(converter(typed), 'convert')}")
        return end

    def list(self, element: ValType, slots: list[str]) -> str:
        if element == U8:
            return self.keep(f"{self.source.use(bytes_loader(self.charge_from))}(cx, {', '.join(slots)})")
        load = _list_loader(element, self.encoding, self.track_lends, checked=True)
        return self.keep(f"{self.source.constant(load, 'load')}(cx, {', '.join(slots)})")

    def resource(self, type_: Own | Borrow, rep: str) -> str:
        if type_.resource.owner is None:
            return rep
        return f"{self.source.use(GuestResource)}({self.source.constant(type_.resource, 'resource')}, {rep})"

    def record(self, type_: Record | Tuple, values: str) -> str:
        if isinstance(type_, Tuple):
            return values
        class_ = type_.python_class or record_class(tuple(name for name, _ in type_.fields))
        return f"{self.source.constant(tuple.__new__, 'new')}({self.source.constant(class_, 'Record')}, {values})"

    def variant(
        self,
        type_: VariantType | Enum | Option | Result,
        discriminant: str,
        payload: Callable[[ValType], str],
        table: Callable[[tuple[ValType | None, ...]], str],
    ) -> str:
        """Return a value from its discriminant.

        ``payload`` writes the code that lifts one case's payload. ``table`` returns an expression that lifts the
        payload of any case; its braces stand for the discriminant.
        """
        source, cases = self.source, layout.cases(type_)
        result, case = source.temporary("v"), source.temporary("d")
        source.line(f"{case} = {discriminant}")
        kind = type(type_).__name__.lower()
        payloads = [i for i, (_, t) in enumerate(cases) if t is not None]
        keyword = "if"
        if len(payloads) > MAX_BRANCHES:
            assert isinstance(type_, VariantType)
            with_payload = source.constant(frozenset(payloads), "with_payload")
            with source.block(f"if {case} in {with_payload}:"):
                lifted = table(tuple(t for _, t in cases)).format(case)
                names = source.constant(tuple(name for name, _ in cases), "names")
                class_ = source.use(Variant)
                if type_.python_classes is not None:
                    class_ = f"{source.constant(type_.python_classes, 'classes')}[{case}]"
                source.line(f"{result} = {self.make(class_, f'{names}[{case}], {lifted}')}")
            keyword = "elif"
        else:
            for i in payloads:
                name, t = cases[i]
                assert t is not None
                with source.block(f"{keyword} {case} == {i}:"):
                    source.line(f"{result} = {self.wrap(type_, i, name, payload(t))}")
                keyword = "elif"
        match type_:
            case Option():
                with source.block(f"{keyword} {case} == 0:"):
                    source.line(f"{result} = None")
                keyword = "elif"
            case Result():
                for i, (name, t) in enumerate(cases):
                    if t is None:
                        with source.block(f"{keyword} {case} == {i}:"):
                            source.line(f"{result} = {self.wrap(type_, i, name, '')}")
                        keyword = "elif"
            case VariantType() | Enum() if len(payloads) < len(cases):
                with source.block(f"{keyword} {case} < {len(cases)}:"):
                    source.line(f"{result} = {source.constant(plain_cases(type_), 'cases')}[{case}]")
                keyword = "elif"
        with source.block("else:"):
            source.line(f"raise {source.use(Trap)}('invalid variant discriminant ({kind})')")
        return result

    def wrap(self, type_: VariantType | Enum | Option | Result, index: int, case: str, payload: str) -> str:
        match type_:
            case Option(inner):
                return self.make(self.source.use(Some), payload) if isinstance(inner, Option) else payload
            case Result():
                return f"{self.source.use(Ok if case == 'ok' else Err)}({payload})"
            case VariantType(_, classes) if classes is not None:
                return self.make(self.source.constant(classes[index], "Case"), f"{case!r}, {payload}")
            case _:
                return self.make(self.source.use(Variant), f"{case!r}, {payload}")

    def make(self, class_: str, items: str) -> str:
        """Return an instance of a named tuple, created without the cost of its Python constructor."""
        return f"{self.source.constant(tuple.__new__, 'new')}({class_}, ({items},))"


@functools.lru_cache(maxsize=1024)
def _flag_sets(names: tuple[str, ...], class_: Any) -> Callable[[int], frozenset[str]]:
    """Return a function from bit vectors to sets of names. It caches a bounded number of sets."""
    members: tuple[Any, ...] = names if class_ is None else tuple(map(class_, names))

    @functools.lru_cache(maxsize=256)
    def flag_set(bits: int) -> frozenset[str]:
        return frozenset(member for i, member in enumerate(members) if bits >> i & 1)

    return flag_set


def _tuple(values: Sequence[str]) -> str:
    return f"({', '.join(values)},)" if values else "()"


def _plus(pointer: str, offset: int) -> str:
    return f"{pointer} + {offset}" if offset else pointer
