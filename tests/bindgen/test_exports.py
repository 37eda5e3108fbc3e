"""Clients with a real guest."""

from __future__ import annotations

import pytest
import wasmtime

from tests.bindgen.support import HERE, Written, assembled, running
from wasi_trio import Err, HostError, LinkError, Ok
from wasi_trio.bindings import drop


@pytest.fixture(params=["math.wit", "math.wasm"])
def made(request: pytest.FixtureRequest, bindings: Written) -> object:
    """The bindings of the WIT, and of the component."""
    path = HERE / request.param
    if request.param.endswith(".wasm"):
        path = bindings.folder / request.param
        path.write_bytes(assembled("math.wat"))
    return bindings(path)


async def test_values(made, bindings: Written) -> None:
    math = bindings.part("made.exported.acme_math_math")
    async with running(assembled("math.wat")) as instance:
        app = made.Client(instance)
        assert await app.math.add(1, 2) == 3
        assert await app.twice(21) == 42
        mirrored = await app.math.mirror(math.Point(3, -4))
        assert type(mirrored) is math.Point
        assert mirrored == math.Point(x=-3, y=4)
        points = await app.math.points(2)
        assert points == [math.Point(0, 1), math.Point(2, 3)]
        assert {type(point) for point in points} == {math.Point}
        assert await app.math.halve(8) == Ok(4)
        odd = await app.math.halve(7)
        assert odd == Err(math.Sign.POSITIVE)
        assert type(odd.value) is math.Sign


@pytest.mark.parametrize("which", ["nothing", "circle", "segment"])
async def test_variants_enums_and_flags(made, bindings: Written, which: str) -> None:
    math = bindings.part("made.exported.acme_math_math")
    figures = {
        "nothing": math.Figure_Nothing(),
        "circle": math.Figure_Circle(5),
        "segment": math.Figure_Segment((math.Point(1, 2), math.Point(3, 4))),
    }
    async with running(assembled("math.wat")) as instance:
        app = made.Client(instance)
        figure, sign, axes = await app.math.same(figures[which], math.Sign.ZERO, {math.Axes.Y})
        assert figure == figures[which]
        assert type(figure) is type(figures[which])
        assert sign is math.Sign.ZERO
        assert axes == {math.Axes.Y}
        assert {type(axis) for axis in axes} == {math.Axes}
        match figure:
            case math.Figure_Circle(radius):
                assert radius == 5
            case math.Figure_Segment((start, end)):
                assert type(start) is type(end) is math.Point
            case _:
                assert repr(figure) == "Figure_Nothing()"


async def test_untyped_values_are_accepted(made) -> None:
    async with running(assembled("math.wat")) as instance:
        app = made.Client(instance)
        figure, sign, axes = await app.math.same(("circle", 3), "negative", ["x"])
        assert (figure.case, figure.value, sign, axes) == ("circle", 3, "negative", {"x"})


async def test_resources(made, bindings: Written) -> None:
    math = bindings.part("made.exported.acme_math_math")
    async with running(assembled("math.wat")) as instance:
        app = made.Client(instance)
        async with await app.math.Counter(5) as counter:
            assert type(counter) is math.Counter
            assert [await counter.next(), await counter.next()] == [6, 7]
            assert await app.math.Counter.live() == 1
        assert await app.math.Counter.live() == 0
        with pytest.raises(HostError, match="transferred earlier"):
            await counter.next()
        with pytest.raises(HostError, match="dropped earlier"):
            await drop(counter)
        other = await app.math.Counter(1)
        await drop(other)
        assert await app.math.Counter.live() == 0


async def test_a_component_that_exports_something_else(bindings: Written) -> None:
    made = bindings(
        """package acme:math@1.3.0;
        interface math { add: func(a: u32, b: u64) -> u32; }
        world other { export math; }"""
    )
    async with running(assembled("math.wat")) as instance:
        with pytest.raises(LinkError) as caught:
            made.Client(instance)
    assert caught.value.mismatched == ("acme:math/math@1.3.0 add: parameter b: component has u32, host has u64",)


async def test_a_component_that_lacks_an_export(bindings: Written) -> None:
    made = bindings("package acme:math@1.0.0; interface math { sub: func(); } world other { export math; }")
    async with running(assembled("math.wat")) as instance:
        with pytest.raises(LinkError, match=r"^the component does not export acme:math/math@1\.0\.0 sub$") as caught:
            made.Client(instance)
    assert caught.value.missing == ("acme:math/math@1.0.0 sub",)


LATER = """(component
  (component $Later
    (core module $Memory (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
    (core instance $memory (instantiate $Memory))
    (type $point' (record (field "x" s32) (field "y" s32)))
    (export $point "point" (type $point'))
    (type $clock' (resource (rep i32)))
    (export $clock "clock" (type $clock'))
    (core func $return (canon task.return (result $point)))
    (core func $return-clock (canon task.return (result (own $clock'))))
    (core func $new (canon resource.new $clock'))
    (core module $Main
      (import "" "return" (func $return (param i32 i32)))
      (import "" "return-clock" (func $return-clock (param i32)))
      (import "" "new" (func $new (param i32) (result i32)))
      (func (export "swap") (param i32 i32) (result i32)
        (call $return (local.get 1) (local.get 0))
        (i32.const 0))
      (func (export "start") (result i32) (call $return-clock (call $new (i32.const 7))) (i32.const 0))
      (func (export "rep") (param i32) (result i32) (local.get 0))
      (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 0)))
    (core instance $main (instantiate $Main (with "" (instance
      (export "return" (func $return)) (export "return-clock" (func $return-clock)) (export "new" (func $new))))))
    (func (export "swap") async (param "p" $point) (result $point)
      (canon lift (core func $main "swap") async (callback (core func $main "callback"))))
    (func $start async (result (own $clock'))
      (canon lift (core func $main "start") async (callback (core func $main "callback"))))
    (export "start" (func $start) (func async (result (own $clock))))
    (func $rep (param "self" (borrow $clock')) (result u32) (canon lift (core func $main "rep")))
    (export "[method]clock.rep" (func $rep) (func (param "self" (borrow $clock)) (result u32))))
  (instance $later (instantiate $Later))
  (export "a:b/later" (instance $later)))"""


async def test_results_of_async_functions(bindings: Written) -> None:
    """The guest returns them with a built-in, which lifts them."""
    made = bindings(
        """package a:b;
        interface later {
            record point { x: s32, y: s32 }
            resource clock { rep: func() -> u32; }
            swap: async func(p: point) -> point;
            start: async func() -> clock;
        }
        world w { export later; }"""
    )
    later = bindings.part("made.exported.a_b_later")
    async with running(bytes(wasmtime.wat2wasm(LATER))) as instance:
        app = made.Client(instance)
        swapped = await app.later.swap(later.Point(1, 2))
        assert swapped == later.Point(2, 1)
        assert type(swapped) is later.Point
        async with await app.later.start() as clock:
            assert type(clock) is later.Clock
            assert await clock.rep_() == 7
        assert clock.rep is None
