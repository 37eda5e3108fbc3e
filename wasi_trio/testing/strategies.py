"""Hypothesis strategies for values of WIT types: arguments and results of components.

::

    @given(strategies.arguments("math.wasm", "math.add"))
    async def test_sums(numbers):
        async with exports("math.wasm") as app:
            assert await app.call("math.add", *numbers) == sum(numbers) % 2**32

This module requires hypothesis: ``pip install wasi-trio[testing]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from wasi_trio.component import _types as t
from wasi_trio.component._features import USUAL
from wasi_trio.component._typed import plain_cases
from wasi_trio.component._types import ResourceType, ValType
from wasi_trio.component._values import Err, Ok, Some, Variant, record_class, snake_case
from wasi_trio.component.abi._checks import INTEGER_RANGES
from wasi_trio.component.wit import parse, render
from wasi_trio.testing import _cache as cache
from wasi_trio.testing._sources import Named
from wasi_trio.testing._wit_names import WitSource, names_of

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as error:
    raise ImportError(
        "wasi_trio.testing.strategies requires hypothesis, which is not installed: pip install 'wasi-trio[testing]'"
    ) from error

__all__ = ["NoStrategy", "WitSource", "arguments", "from_wit", "same"]

#: Maximum number of parts of a type. A part counts once for each of its occurrences, because a value may have as many.
MAX_PARTS = 10_000

_CHARACTERS = st.characters(exclude_categories=["Cs"])


class NoStrategy(Exception):
    """A strategy cannot make values of a type, because it contains a handle, a stream or a future."""


def from_wit(
    type: str, source: WitSource | None = None, *, nan: bool = True, features: Collection[str] = ()
) -> SearchStrategy[Any]:
    """Return a strategy for a type: ``from_wit("acme:shop/catalog.product", "wit/")``, or ``from_wit("list<u8>")``.

    * ``source`` defines the named types. A name may omit its package or interface if it stays unique:
      ``catalog.product``, or ``product``.
    * ``nan`` may be False: then no value is NaN.
    * ``features`` names features of WebAssembly to enable for the component beside the usual ones.

    Raises NoStrategy, ValueError for an unknown name, LoadError, and WitError.
    """
    maker = _Maker(nan)
    if source is None:
        wit = parse(f"package a:b; interface c {{ type found = {type}; }}", "the type")
        return maker.strategy(wit.interface("a:b/c").types["found"], type)
    names = names_of(source)
    full, found = names.type(type)
    return _after_compiling(maker.strategy(found, full), names.component, features)


def arguments(
    source: WitSource,
    function: str,
    replace: Mapping[str, SearchStrategy[Any]] | None = None,
    *,
    nan: bool = True,
    features: Collection[str] = (),
) -> SearchStrategy[tuple[Any, ...]]:
    """Return a strategy for a function's arguments as a tuple: ``arguments("math.wasm", "math.add")``.

    ``replace`` maps names of parameters to strategies. Use it if the function accepts only some values, or if a
    parameter is a handle. The other parameters are those of ``from_wit``.

    The component is compiled when hypothesis draws the first arguments, outside of its deadline. Raises NoStrategy,
    ValueError, LoadError and WitError.
    """
    names = names_of(source)
    full, found = names.function(function)
    replaced = {snake_case(name): strategy for name, strategy in (replace or {}).items()}
    unknown = replaced.keys() - {snake_case(name) for name, _ in found.params}
    if unknown:
        parameters = ", ".join(name for name, _ in found.params) or "none"
        raise ValueError(f"{full} has no parameter {', '.join(sorted(unknown))}; it has {parameters}")
    maker = _Maker(nan)
    made = [
        replaced[snake_case(name)] if snake_case(name) in replaced else maker.strategy(type_, f"{full}({name})")
        for name, type_ in found.params
    ]
    return _after_compiling(st.tuples(*made), names.component, features)


def _after_compiling(
    strategy: SearchStrategy[Any], component: Named | None, features: Collection[str]
) -> SearchStrategy[Any]:
    """Return a strategy that compiles a component before it draws its first value."""
    if component is None:
        return strategy

    def compiled() -> SearchStrategy[Any]:
        cache.compiled(component.data, component.name, USUAL | frozenset(features))
        return strategy

    return st.deferred(compiled)


def same(one: object, other: object) -> bool:
    """Return whether two values are equal. Unlike ``==``, it treats NaN as equal to NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return (
            isinstance(one, tuple) == isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (Ok, Err)) and isinstance(other, (Ok, Err)):
        return isinstance(one, Ok) == isinstance(other, Ok) and same(one.value, other.value)
    return one == other


class _Maker:
    """Makes strategies. All occurrences of a type share one."""

    def __init__(self, nan: bool) -> None:
        self._nan = nan
        self._made: dict[int, SearchStrategy[Any]] = {}

    def strategy(self, type_: ValType | ResourceType, path: str) -> SearchStrategy[Any]:
        """Return a strategy for a type. ``path`` is its name in errors. Raises NoStrategy."""
        if isinstance(type_, ResourceType):
            raise NoStrategy(f"{path} is a resource: a strategy cannot make one")
        if _parts(type_, {}) > MAX_PARTS:
            raise NoStrategy(f"{path} has more than {MAX_PARTS} parts")
        return self._of(type_, path)

    def _of(self, type_: ValType, path: str) -> SearchStrategy[Any]:
        made = self._made.get(id(type_))
        if made is None:
            made = self._made[id(type_)] = self._make(type_, path)
        return made

    def _maybe(self, type_: ValType | None, path: str) -> SearchStrategy[Any]:
        return st.none() if type_ is None else self._of(type_, path)

    def _make(self, type_: ValType, path: str) -> SearchStrategy[Any]:
        match type_:
            case t.BOOL:
                return st.booleans()
            case t.F32 | t.F64:
                # One NaN is enough, because the Component Model does not preserve the bits of a NaN.
                numbers = st.floats(allow_nan=False, width=32 if type_ == t.F32 else 64)
                return numbers | st.just(math.nan) if self._nan else numbers
            case t.CHAR:
                return _CHARACTERS
            case t.STRING:
                return st.text(_CHARACTERS)
            case t.Primitive(name) if name in INTEGER_RANGES:
                return st.integers(*INTEGER_RANGES[name])
            case t.List(element, length):
                minimum = length or 0
                if element == t.U8:
                    return st.binary(min_size=minimum, max_size=length)
                return st.lists(self._of(element, f"{path}[]"), min_size=minimum, max_size=length)
            case t.Map(key, value):
                return st.dictionaries(self._of(key, f"{path}[]"), self._of(value, f"{path}[]"))
            case t.Tuple(types):
                return st.tuples(*(self._of(of, f"{path}.{number}") for number, of in enumerate(types)))
            case t.Record(fields, class_):
                made: Callable[..., Any] = class_ or record_class(tuple(name for name, _ in fields))
                values = st.tuples(*(self._of(of, f"{path}.{name}") for name, of in fields))
                return values.map(lambda items: made(*items))
            case t.Variant(cases):
                return self._variant(type_, [self._maybe(of, f"{path}.{name}") for name, of in cases])
            case t.Enum():
                return st.sampled_from(plain_cases(type_))
            case t.Flags(names, class_):
                labels = names if class_ is None else tuple(map(class_, names))
                return st.frozensets(st.sampled_from(labels)) if labels else st.just(frozenset())
            case t.Option(t.Option() as inner):
                return st.none() | self._of(inner, path).map(Some)
            case t.Option(inner):
                return st.none() | self._of(inner, path)
            case t.Result(ok, err):
                return self._maybe(ok, f"{path}.ok").map(Ok) | self._maybe(err, f"{path}.err").map(Err)
        raise NoStrategy(f"{path} is {_described(type_)}: a strategy cannot make one")

    def _variant(self, type_: t.Variant, payloads: list[SearchStrategy[Any]]) -> SearchStrategy[Any]:
        classes: tuple[type[Any], ...] = type_.python_classes or (Variant,) * len(type_.cases)
        return st.one_of(
            *(
                payload.map(_case(class_, name))
                for class_, (name, _), payload in zip(classes, type_.cases, payloads, strict=True)
            )
        )


def _case(class_: type[Any], name: str) -> Callable[[Any], Any]:
    return lambda value: tuple.__new__(class_, (name, value))


def _parts(type_: ValType, known: dict[int, int]) -> int:
    """Return the number of parts of a type, with each part counted once for each of its occurrences."""
    count = known.get(id(type_))
    if count is None:
        count = known[id(type_)] = 1 + sum(_parts(child, known) for child in t.children(type_))
    return count


def _described(type_: ValType) -> str:
    kinds: dict[type[Any], str] = {t.Own: "a handle", t.Borrow: "a handle", t.Stream: "a stream", t.Future: "a future"}
    return f"{kinds.get(type(type_), 'another type')} ({render(type_)})"
