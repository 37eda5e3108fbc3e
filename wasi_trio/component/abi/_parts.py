"""Emits the steps that check a host's value and split it into its parts."""

from __future__ import annotations

from collections.abc import Callable

from wasi_trio.component._types import BOOL, U8, Borrow, Enum, List, Option, Own, Record, Result, Tuple, ValType
from wasi_trio.component._types import Variant as VariantType
from wasi_trio.component._values import Err, Ok, Some, Variant, record_class
from wasi_trio.component.abi import _checks as checks
from wasi_trio.component.abi import _layout as layout
from wasi_trio.component.abi._codegen import Source
from wasi_trio.component.abi._frames import MAX_BRANCHES


class Parts:
    """Methods take the name of the local variable that holds a value, and return names of variables for its parts."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def keep(self, expression: str) -> str:
        name = self.source.temporary()
        self.source.line(f"{name} = {expression}")
        return name

    def refuse(self, type_: ValType, value: str, detail: str = "") -> None:
        mismatch, name = self.source.use(checks.mismatch), self.source.constant(type_, "type")
        self.source.line(f"raise {mismatch}({name}, {value}{f', {detail!r}' if detail else ''})")

    def check_bool(self, value: str) -> None:
        with self.source.block(f"if {value} is not True and {value} is not False:"):
            self.refuse(BOOL, value)

    def rep(self, type_: Own | Borrow, value: str) -> str:
        """Return the expression for a resource's representation in a handle table."""
        source = self.source
        if type_.resource.owner is not None:
            take = checks.take_guest_rep if isinstance(type_, Own) else checks.guest_rep
            return f"{source.use(take)}({value}, {source.constant(type_, 'type')})"
        if type_.resource.python_class is not None:
            class_ = source.constant(type_.resource.python_class, "class")
            # The first test replaces an abstract class's own, which is slow.
            with source.block(f"if {class_} not in {value}.__class__.__mro__ and not isinstance({value}, {class_}):"):
                self.refuse(type_, value)
        return value

    def fields(self, type_: Record | Tuple, value: str) -> list[str]:
        """Return local variables with the values of a record's or a tuple's fields."""
        source = self.source
        if isinstance(type_, Tuple):
            return self.items(type_, value, len(type_.types))
        attributes = record_class(tuple(name for name, _ in type_.fields))._fields  # type: ignore[attr-defined]
        names = [source.temporary("a") for _ in attributes]
        with source.block("try:"):
            for name, attribute in zip(names, attributes, strict=True):
                source.line(f"{name} = {value}.{attribute}")
        with source.block("except AttributeError as error:"):
            missing = source.use(checks.missing_field)
            source.line(f"raise {missing}({source.constant(type_, 'type')}, {value}, error) from error")
        return names

    def items(self, type_: Tuple | List, value: str, count: int) -> list[str]:
        """Return local variables with the items of a tuple or of a fixed-length list."""
        source = self.source
        names = [source.temporary("a") for _ in range(count)]
        if isinstance(type_, Tuple):
            with source.block(f"if {value}.__class__ is not tuple or len({value}) != {count}:"):
                source.line(
                    f"{value} = {source.use(checks.as_fields)}({value}, {source.constant(type_, 'type')}, {count})"
                )
        else:
            check = checks.as_buffer if type_.element == U8 else checks.as_items
            source.line(f"{value} = {source.use(check)}({value}, {source.constant(type_, 'type')}, {count})")
        if names:
            source.line(f"{', '.join(names)}, = {value}")
        return names

    def variant(
        self,
        type_: VariantType | Enum | Option | Result,
        value: str,
        payload: Callable[[ValType, str], None],
        table: Callable[[tuple[ValType | None, ...], str, str], None],
        names: list[str],
    ) -> str:
        """Return the discriminant of a variant's value.

        ``payload`` writes the code that lowers one case's payload, and ``table`` the code that selects it by case.
        Both set the variables ``names``. A variable that they do not set is zero.
        """
        source, cases = self.source, layout.cases(type_)
        case = source.temporary("d")
        if names:
            source.line(f"{' = '.join(names)} = 0")
        match type_:
            case Option(inner):
                with source.block(f"if {value} is None:"):
                    source.line(f"{case} = 0")
                with source.block("else:"):
                    source.line(f"{case} = 1")
                    if isinstance(inner, Option):
                        with source.block(f"if {value}.__class__ is not {source.use(Some)}:"):
                            self.refuse(type_, value, "None or Some(value) is required")
                        value = self.keep(f"{value}[0]")
                    payload(inner, value)
                return case
            case Enum(names_):
                numbers = source.constant({name: i for i, name in enumerate(names_)}, "cases")
                self.find_case(type_, case, numbers, value, value)
                return case
            case Result():
                x = source.temporary("x")
                for keyword, class_, number in (("if", Ok, 0), ("elif", Err, 1)):
                    with source.block(f"{keyword} {value}.__class__ is {source.use(class_)}:"):
                        source.line(f"{case} = {number}")
                        source.line(f"{x} = {value}.value")
                with source.block("else:"):
                    as_result = source.use(checks.as_result)
                    source.line(f"{case}, {x} = {as_result}({value}, {source.constant(type_, 'type')})")
            case _:
                x, name = source.temporary("x"), source.temporary("c")
                with source.block(f"if {value}.__class__ is {source.use(Variant)}:"):
                    source.line(f"{name}, {x} = {value}")
                with source.block("else:"):
                    as_case = source.use(checks.as_case)
                    source.line(f"{name}, {x} = {as_case}({value}, {source.constant(type_, 'type')})")
                numbers = source.constant({name: i for i, (name, _) in enumerate(cases)}, "cases")
                self.find_case(type_, case, numbers, name, value)
        payloads = [i for i, (_, t) in enumerate(cases) if t is not None]
        keyword = "if"
        if len(payloads) > MAX_BRANCHES:
            with source.block(f"if {case} in {source.constant(frozenset(payloads), 'with_payload')}:"):
                table(tuple(t for _, t in cases), case, x)
            keyword = "elif"
        else:
            for i in payloads:
                t = cases[i][1]
                assert t is not None
                with source.block(f"{keyword} {case} == {i}:"):
                    payload(t, x)
                keyword = "elif"
        if len(payloads) < len(cases):
            with source.block(f"{keyword} {x} is not None:"):
                case_names = source.constant(tuple(name for name, _ in cases), "names")
                unwanted, type_name = source.use(checks.payload_unwanted), source.constant(type_, "type")
                source.line(f"raise {unwanted}({type_name}, {case_names}[{case}], {x})")
        return case

    def find_case(self, type_: ValType, case: str, numbers: str, name: str, value: str) -> None:
        source = self.source
        with source.block("try:"):
            source.line(f"{case} = {numbers}[{name}]")
        with source.block("except (KeyError, TypeError):"):
            source.line(
                f"raise {source.use(checks.no_case)}({source.constant(type_, 'type')}, {name}, {value}) from None"
            )
