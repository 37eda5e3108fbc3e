"""Strategies for WIT types: real components return their values unchanged."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import find, given, settings
from hypothesis import strategies as st

from tests.bindgen.support import HERE, Written, assembled
from tests.component.abi.test_abi_round_trip import same as strictly_same
from tests.component.abi.type_text import echo
from tests.component.abi.world import Guest, Slots
from tests.guests import wat
from wasi_trio import Err, Ok, Some, Variant
from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component.wit import WitError, parse
from wasi_trio.runtime._component import Component
from wasi_trio.testing import LoadError, component, exports
from wasi_trio.testing.strategies import NoStrategy, arguments, from_wit, same

MATH = str(HERE / "math.wat")
INTEGERS = [f"{sign}{bits}" for sign in "su" for bits in (8, 16, 32, 64)]
SPELLED = [
    "bool",
    *INTEGERS,
    "f32",
    "f64",
    "char",
    "string",
    "list<u8>",
    "list<u16>",
    "list<string>",
    "tuple<u8, f64, char>",
    "option<bool>",
    "option<option<u8>>",
    "result<u8, string>",
    "result",
    "result<_, string>",
    "result<list<s16>>",
    "map<char, list<bool>>",
    "list<tuple<option<string>, result<f32, list<bool>>>>",
]
WIT = """
package test:shapes@1.2.3;

interface types {
    record point { x: s32, y: f64, %from: string }
    record nested { p: point, many: list<point>, maybe: option<point> }
    variant figure { nothing, circle(u32), segment(tuple<point, point>), odd-one(option<option<u8>>) }
    enum sign { negative, zero, positive }
    flags axes { x, y, z-axis }
    type alias = list<figure>;
    type table = map<string, list<sign>>;
    type all = tuple<nested, figure, sign, axes, alias, table>;
    resource thing;
    record holder { name: string, inner: list<option<thing>> }
    record piped { %in: result<tuple<u8, stream<u8>>, future<u8>> }
    scale: func(p: point, by-how-much: f64) -> point;
    lend: func(t: borrow<thing>, n: u8) -> u8;
    count: func(of: holder) -> u8;
}

interface other { use types.{point}; enum sign { up, down } }

world shapes { record own-type { a: u8 } export types; export run: func(how: own-type) -> u8; }
"""
NAMED = ["point", "nested", "figure", "types.sign", "axes", "alias", "table", "all"]


def declared(name: str) -> t.ValType:
    """Return a type of the WIT above, or a type in WIT notation."""
    text = WIT if name in NAMED else f"package test:shapes; interface types {{ type it = {name}; }}"
    types = parse(text).interface("test:shapes/types").types
    found = types[name.removeprefix("types.") if name in NAMED else "it"]
    assert not isinstance(found, t.ResourceType)
    return found


@pytest.mark.parametrize("name", [*SPELLED, *NAMED])
def test_a_component_gives_back_the_same(name: str) -> None:
    source = None if name in SPELLED else WIT
    identity = echo(t.Tuple((declared(name),) * 17))

    @settings(max_examples=40, deadline=None)
    @given(from_wit(name, source, nan=False), from_wit(name, source))
    def holds(value: Any, may_be_nan: Any) -> None:
        async def run() -> None:
            async with exports(identity) as app:
                returned = await app.call("echo", (value,) * 17)
                assert returned == (value,) * 17
                assert strictly_same(returned, (value,) * 17), "in the very classes"
                assert same(await app.call("echo", (may_be_nan,) * 17), (may_be_nan,) * 17)

        trio.run(run)

    holds()


@pytest.mark.parametrize("name", ["list<u8, 4>", "list<string, 3>", "tuple<list<tuple<f32, char>, 2>, bool>"])
def test_lists_of_fixed_length(name: str) -> None:
    """Values pass through a memory without an engine, because no engine admits these types."""
    type_ = declared(name)

    @given(from_wit(name))
    def holds(value: Any) -> None:
        guest = Guest()
        flats = abi.lower_values((type_,), StringEncoding.UTF8, 16)(guest.cx, (value,))
        lifted = abi.lift_values((type_,), StringEncoding.UTF8, 16)(guest.cx, Slots(flats))
        assert strictly_same(lifted, (value,))

    holds()


def test_values_are_all_that_there_are() -> None:
    for name in INTEGERS:
        bits, least = int(name[1:]), 0 if name[0] == "u" else -(2 ** (int(name[1:]) - 1))
        for bound in (least, least + 2**bits - 1):
            assert find(from_wit(name), lambda value, bound=bound: value == bound) == bound  # type: ignore[misc]
    for name in ("f32", "f64"):
        assert find(from_wit(name), math.isinf)
        assert math.isnan(find(from_wit(name), math.isnan))
        assert find(from_wit(name), lambda value: math.copysign(1, value) < 0) <= 0
    assert find(from_wit("char"), lambda value: value > "\uffff") > "\uffff"
    assert find(from_wit("option<option<u8>>"), lambda value: value == Some(None)) == Some(None)
    assert find(from_wit("result"), lambda value: isinstance(value, Err)) == Err()
    assert find(from_wit("axes", WIT), lambda value: len(value) == 3) == {"x", "y", "z-axis"}
    assert find(from_wit("figure", WIT), lambda value: value.case == "nothing") == Variant("nothing")


@given(from_wit("string"), from_wit("char"), from_wit("f32"))
def test_values_are_no_others(text: str, character: str, number: float) -> None:
    assert not any("\ud800" <= c <= "\udfff" for c in text + character)
    assert len(character) == 1
    if not math.isnan(number):
        assert number == t_f32(number)


def t_f32(number: float) -> float:
    import struct

    value: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return value


def test_same() -> None:
    nan = math.nan
    assert same([(nan, {"a": Ok(nan)})], [(-nan, {"a": Ok(nan)})])
    assert not same(Ok(1), Err(1))
    assert not same([1.0], (1.0,))
    assert not same({"a": nan}, {"b": nan})
    assert not same([nan], [nan, nan])
    assert not same(nan, 0.0)


# ---- types without values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("thing", "test:shapes/types@1.2.3.thing is a resource: a strategy cannot make one"),
        ("holder", "test:shapes/types@1.2.3.holder.inner[] is a handle (thing): a strategy cannot make one"),
        ("piped", "test:shapes/types@1.2.3.piped.in.ok.1 is a stream (stream<u8>): a strategy cannot make one"),
    ],
)
def test_types_without_values(name: str, message: str) -> None:
    with pytest.raises(NoStrategy) as caught:
        from_wit(name, WIT)
    assert str(caught.value) == message


def test_parameters_without_values() -> None:
    with pytest.raises(NoStrategy, match=r"^test:shapes/types@1\.2\.3\.lend\(t\) is a handle \(borrow<thing>\)"):
        arguments(WIT, "lend")
    with pytest.raises(NoStrategy, match=r"count\(of\)\.inner\[\] is a handle"):
        arguments(WIT, "count")
    things = st.sampled_from(["one", "another"])
    assert find(arguments(WIT, "lend", {"t": things}), lambda given: given[1] == 255)[0] in ("one", "another")


def test_a_type_that_is_too_large() -> None:
    """Types share parts, so a short WIT can describe values of any size."""
    lines = "".join(f"type t{n + 1} = tuple<t{n}, t{n}>;" for n in range(40))
    with pytest.raises(NoStrategy, match=r"t40 has more than 10000 parts"):
        from_wit("t40", f"package a:b; interface c {{ type t0 = u8; {lines} }}")


# ---- names and sources -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "test:shapes/types@1.2.3.axes",
        "test:shapes/types@1.2.3/axes",
        "test:shapes/types.axes",
        "test:shapes/types/axes",
        "types.axes",
        "types/axes",
        "axes",
    ],
)
def test_long_and_short_names(name: str) -> None:
    assert find(from_wit(name, WIT), lambda value: "z-axis" in value) <= {"x", "y", "z-axis"}


def test_names_that_there_are_not() -> None:
    with pytest.raises(ValueError, match=r"^the WIT has no type axis; it has axes, "):
        from_wit("axis", WIT)
    with pytest.raises(ValueError, match=r"^the WIT has no function scales; it has scale"):
        arguments(WIT, "scales")
    with pytest.raises(ValueError, match=r"several types sign: test:shapes/other@1\.2\.3\.sign, test:shapes/types@1"):
        from_wit("sign", WIT)
    with pytest.raises(ValueError, match=r"scale has no parameter q; it has p, by-how-much$"):
        arguments(WIT, "scale", {"q": st.none()})
    with pytest.raises(WitError, match="unknown type `nothing`"):
        from_wit("list<nothing>")
    with pytest.raises(ValueError, match=r"^cannot read .*nowhere\.wit"):
        from_wit("x", "nowhere.wit")
    with pytest.raises(LoadError, match=r"^cannot read nowhere\.wasm"):
        from_wit("x", "nowhere.wasm")
    with pytest.raises(ValueError, match="is neither WIT, nor a component, nor bindings"):
        from_wit("x", int)


def test_a_type_of_one_interface_that_another_uses() -> None:
    assert find(from_wit("other.point", WIT), lambda value: True)._fields == ("x", "y", "from_")


def test_parameters_of_the_world_and_of_any_spelling() -> None:
    assert find(arguments(WIT, "run"), lambda value: True)[0]._fields == ("a",)
    replaced = arguments(WIT, "types.scale", {"by_how_much": st.just(2.0)})
    assert find(replaced, lambda value: True)[1] == 2.0


def test_files_and_folders_of_wit(tmp_path: Path) -> None:
    path = tmp_path / "shapes.wit"
    path.write_text(WIT)
    for source in (path, str(path), tmp_path):
        assert find(from_wit("axes", source), lambda value: len(value) == 3) == {"x", "y", "z-axis"}


def test_components() -> None:
    for source in (MATH, Path(MATH), Path(MATH).read_text(), assembled("math.wat")):
        assert find(from_wit("acme:math/math.point", source), lambda value: value.x < 0)._fields == ("x", "y")
        assert len(find(arguments(source, "math.add"), lambda value: True)) == 2
        assert len(find(arguments(source, "twice"), lambda value: True)) == 1


async def test_what_runs_in_the_harness() -> None:
    async with component(wat.source("hello")) as app:
        assert find(from_wit("wasi:http/types.DNS-error-payload", app), lambda value: True)._fields == (
            "rcode",
            "info_code",
        )
        with pytest.raises(NoStrategy, match=r"incoming-handler.*handle.request. is a handle"):
            arguments(app, "incoming-handler.handle")


@pytest.fixture
def bindings(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path)
    yield written
    written.forget()


async def test_bindings(bindings: Written) -> None:
    """Values have the classes of the bindings, and the client accepts and returns them."""
    made = bindings(HERE / "math.wit")
    module = bindings.part("made.exported.acme_math_math")
    for source in (made, made.Client, module, module.MathClient, module.INTERFACE):
        figure = find(from_wit("figure", source), lambda value: isinstance(value, module.Figure_Segment))
        assert figure == Variant("segment", figure.value)
        assert [type(point) for point in figure.value] == [module.Point] * 2
    assert type(find(from_wit("sign", made), lambda value: True)) is module.Sign
    assert set(map(type, find(from_wit("axes", made), lambda value: bool(value)))) == {module.Axes}
    assert len(find(arguments(made, "twice"), lambda value: True)) == 1
    async with exports(made.Client, assembled("math.wat")) as app:
        for source in (app, app.math):
            for given_values in drawn(arguments(source, "math.same")):
                returned = await app.math.same(*given_values)
                assert returned == given_values
                assert [type(value) for value in returned[:2]] == [type(value) for value in given_values[:2]]


def drawn(strategy: st.SearchStrategy[Any]) -> list[Any]:
    """Return some values of a strategy, for code that hypothesis does not call."""
    values: list[Any] = []

    @settings(max_examples=20, deadline=None, database=None)
    @given(strategy)
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    return values


# ---- with pytest-trio ------------------------------------------------------------------------------------


def test_a_component_is_compiled_outside_of_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one example takes seconds, and hypothesis reports an unreliable deadline."""
    compiled: list[bytes] = []
    original = Component.compile.__func__  # type: ignore[attr-defined]

    def counting(cls: type[Component], engine: Any, data: bytes, *arguments: Any, **options: Any) -> Component:
        compiled.append(data)
        made: Component = original(cls, engine, data, *arguments, **options)
        return made

    monkeypatch.setattr(Component, "compile", classmethod(counting))
    source = Path(MATH).read_text() + ";; one that no other test has\n(; 3 ;)"
    source = source.replace('"twice"', '"thrice"')

    @given(arguments(source, "thrice"))
    def draws(given_values: tuple[int]) -> None:
        assert len(compiled) == 1, "before the first example"

        async def run() -> None:
            async with exports(source) as app:
                assert await app.call("thrice", *given_values) == given_values[0] * 2 % 2**32

        trio.run(run)

    assert compiled == []
    draws()
    assert len(compiled) == 1


async def test_calls_without_bindings() -> None:
    async with exports(MATH) as app:
        assert await app.call("math.add", 1, 2) == await app.call("acme:math/math@1.0.0.add", 1, 2) == 3
        assert await app.call("twice", 4) == (await app.call("halve", 16)).value == 8
        with pytest.raises(ValueError, match=r"does not export math\.sub; it has acme:math/math@1\.0\.0\.\["):
            await app.call("math.sub")
        with pytest.raises(ValueError, match=r"does not export nothing; it has twice, acme:math"):
            await app.call("nothing")


def test_without_hypothesis() -> None:
    """Only the strategies require hypothesis."""
    code = """
import sys
sys.modules["hypothesis"] = None
import wasi_trio.testing
from wasi_trio.testing import exports, component
try:
    from wasi_trio.testing import strategies
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "wasi_trio.testing.strategies requires hypothesis, which is not installed: pip install 'wasi-trio[testing]'\n"
    )
