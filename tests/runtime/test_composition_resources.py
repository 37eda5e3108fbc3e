"""Resources that one component of a composition implements and another uses."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.runtime.compositions import counters
from tests.runtime.conftest import Start
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._values import GuestResource


class Clock:
    """Ticks at once."""

    def __init__(self) -> None:
        self.ticks: list[int] = []

    def tick(self, n: int) -> None:
        self.ticks.append(n)


class SlowClock(Clock):
    """Ticks when the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.called = trio.Event()
        self.open = trio.Event()

    async def tick(self, n: int) -> None:  # type: ignore[override]
        self.called.set()
        await self.open.wait()
        self.ticks.append(n)


async def run(start: Start, body: str, argument: int = 4, clock: Any = None, **wat: str) -> Any:
    async with start(counters(body, **wat), {"test:host/clock": clock or Clock()}) as instance:
        return await instance.call("run", None, argument)


async def test_a_borrow_is_the_rep_to_what_implements_it(start: Start) -> None:
    assert await run(start, "(call $get (call $make (local.get $n)))") == 40
    assert await run(start, "(call $twice (call $make (local.get $n)) (call $make (i32.const 1)))") == 50
    assert (
        await run(start, "(local.set $a (call $make (local.get $n))) (call $twice (local.get $a) (local.get $a))") == 80
    )


async def test_an_own_is_transferred(start: Start) -> None:
    assert await run(start, "(call $spend (call $make (local.get $n)))") == 41


async def test_dropping_runs_the_other_components_destructor(start: Start) -> None:
    body = """
      (call $drop (call $make (local.get $n)))
      (call $drop (call $make (i32.const 2)))
      (drop (call $make (i32.const 100)))
      (drop (call $spend (call $make (i32.const 5))))
      (call $dropped)"""
    assert await run(start, body) == 40 + 20 + 50


async def test_a_destructor_may_call_the_host(start: Start) -> None:
    clock = Clock()
    body = "(call $drop (call $make (local.get $n))) (call $dropped)"
    assert await run(start, body, clock=clock, dtor="(call $tick (local.get $rep))") == 40
    assert clock.ticks == [40]


async def test_another_components_destructor_may_wait(start: Start) -> None:
    clock = SlowClock()
    answers = []
    wat = counters("(call $drop (call $make (local.get $n))) (call $dropped)", dtor="(call $tick (local.get $rep))")
    async with start(wat, {"test:host/clock": clock}) as instance, trio.open_nursery() as nursery:

        async def call() -> None:
            answers.append(await instance.call("run", None, 4))

        nursery.start_soon(call)
        await clock.called.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        clock.open.set()
    assert answers == [40]
    assert clock.ticks == [40]


async def test_a_destructor_that_traps(start: Start) -> None:
    async with start(
        counters("(call $drop (call $make (local.get $n))) (i32.const 0)", dtor="unreachable"),
        {"test:host/clock": Clock()},
    ) as instance:
        with pytest.raises(Trap, match="unreachable"):
            await instance.call("run", None, 4)
        with pytest.raises(Trap, match="cannot enter component instance"):
            await instance.call("provider", "dropped")


async def test_a_borrow_through_a_call_that_waits(start: Start) -> None:
    clock = SlowClock()
    answers = []
    body = """
      (local.set $a (call $make (local.get $n)))
      (local.set $b (call $get (local.get $a)))
      (call $drop (local.get $a))
      (i32.add (local.get $b) (call $dropped))"""
    wat = counters(body, provider="(call $tick (i32.const 1))")
    async with start(wat, {"test:host/clock": clock}) as instance, trio.open_nursery() as nursery:

        async def call() -> None:
            answers.append(await instance.call("run", None, 4))

        nursery.start_soon(call)
        await clock.called.wait()
        clock.open.set()
    assert answers == [80]


A_COUNTER = "(local.set $a (call $make (i32.const 1)))"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(call $get (i32.const 0))", "unknown handle index 0"),
        ("(call $get (i32.const 1))", "unknown handle index 1"),
        ("(call $get (i32.const -1))", "unknown handle index 4294967295"),
        # A rep of the provider is not a handle of the consumer.
        ("(drop (call $make (i32.const 1))) (call $get (i32.const 10))", "unknown handle index 10"),
        (f"{A_COUNTER} (call $drop (local.get $a)) (call $get (local.get $a))", "unknown"),
        (f"{A_COUNTER} (call $drop (local.get $a)) (call $drop (local.get $a)) (i32.const 0)", "unknown"),
        (f"{A_COUNTER} (drop (call $spend (local.get $a))) (call $spend (local.get $a))", "unknown"),
    ],
)
async def test_wrong_handles(start: Start, body: str, message: str) -> None:
    with pytest.raises(Trap, match=message):
        await run(start, body)


async def test_the_host_owns_a_guests_resource(start: Start) -> None:
    """The root component exports the provider, so the host can own counters too."""
    async with start(counters("(i32.const 0)"), {"test:host/clock": Clock()}) as instance:
        one = await instance.call("provider", "make", 1)
        two = await instance.call("provider", "make", 2)
        assert isinstance(one, GuestResource)
        assert await instance.call("provider", "get", one) == 10
        assert await instance.call("provider", "twice", one, two) == 30
        assert await instance.call("provider", "twice", one, one) == 20
        assert await instance.call("provider", "spend", one) == 11
        assert await instance.call("provider", "dropped") == 10


@pytest.mark.parametrize("function", ["get", "spend"])
async def test_the_host_cannot_use_a_transferred_resource(start: Start, function: str) -> None:
    async with start(counters("(i32.const 0)"), {"test:host/clock": Clock()}) as instance:
        one = await instance.call("provider", "make", 1)
        assert await instance.call("provider", "spend", one) == 11
        with pytest.raises(HostError, match="transferred"):
            await instance.call("provider", function, one)


TWO_KINDS = """(component
  (component $Provider
    (type $a' (resource (rep i32)))
    (core func $new (canon resource.new $a'))
    (core module $M
      (import "" "new" (func $new (param i32) (result i32)))
      (func (export "make") (result i32) (call $new (i32.const 7)))
      (func (export "get") (param i32) (result i32) (local.get 0)))
    (core instance $m (instantiate $M (with "" (instance (export "new" (func $new))))))
    (export $a "a" (type $a'))
    (func (export "make") (result (own $a)) (canon lift (core func $m "make")))
    (func (export "get") (param "a" (borrow $a)) (result u32) (canon lift (core func $m "get"))))
  ;; the same component twice: each instance has a type of its own
  (instance $one (instantiate $Provider))
  (instance $two (instantiate $Provider))
  (component $Consumer
    (import "one" (instance $one
      (export "a" (type $a (sub resource)))
      (export "make" (func (result (own $a))))
      (export "get" (func (param "a" (borrow $a)) (result u32)))))
    (import "two" (instance $two
      (export "a" (type $a (sub resource)))
      (export "make" (func (result (own $a))))
      (export "get" (func (param "a" (borrow $a)) (result u32)))))
    (core func $make1 (canon lower (func $one "make")))
    (core func $get1 (canon lower (func $one "get")))
    (core func $get2 (canon lower (func $two "get")))
    (core module $M
      (import "" "make1" (func $make1 (result i32)))
      (import "" "get1" (func $get1 (param i32) (result i32)))
      (import "" "get2" (func $get2 (param i32) (result i32)))
      (func (export "right") (result i32) (call $get1 (call $make1)))
      (func (export "wrong") (result i32) (call $get2 (call $make1))))
    (core instance $m (instantiate $M (with "" (instance
      (export "make1" (func $make1)) (export "get1" (func $get1)) (export "get2" (func $get2))))))
    (func (export "right") (result u32) (canon lift (core func $m "right")))
    (func (export "wrong") (result u32) (canon lift (core func $m "wrong"))))
  (instance $c (instantiate $Consumer (with "one" (instance $one)) (with "two" (instance $two))))
  (export "right" (func $c "right"))
  (export "wrong" (func $c "wrong")))
"""


async def test_each_instance_of_a_component_has_its_own_resource_type(start: Start) -> None:
    async with start(TWO_KINDS) as instance:
        assert await instance.call("right") == 7
        with pytest.raises(Trap, match="wrong type"):
            await instance.call("wrong")


KEEPS_BORROW = """(component
  (component $Provider
    (type $a' (resource (rep i32)))
    (core func $new (canon resource.new $a'))
    (core module $M
      (import "" "new" (func $new (param i32) (result i32)))
      (func (export "make") (result i32) (call $new (i32.const 7))))
    (core instance $m (instantiate $M (with "" (instance (export "new" (func $new))))))
    (export $a "a" (type $a'))
    (func (export "make") (result (own $a)) (canon lift (core func $m "make"))))
  (instance $provider (instantiate $Provider))
  ;; knows the type, does not implement it, and is lent one
  (component $Borrower
    (import "a" (type $a (sub resource)))
    (core func $drop (canon resource.drop $a))
    (core module $M
      (import "" "drop" (func $drop (param i32)))
      (func (export "keep") (param i32))
      (func (export "let-go") (param i32) (call $drop (local.get 0)))
      (func (export "let-go-twice") (param i32) (call $drop (local.get 0)) (call $drop (local.get 0))))
    (core instance $m (instantiate $M (with "" (instance (export "drop" (func $drop))))))
    (func (export "keep") (param "a" (borrow $a)) (canon lift (core func $m "keep")))
    (func (export "let-go") (param "a" (borrow $a)) (canon lift (core func $m "let-go")))
    (func (export "let-go-twice") (param "a" (borrow $a)) (canon lift (core func $m "let-go-twice"))))
  (alias export $provider "a" (type $a))
  (instance $borrower (instantiate $Borrower (with "a" (type $a))))
  (component $Consumer
    (import "a" (type $a (sub resource)))
    (import "make" (func $make (result (own $a))))
    (import "keep" (func $keep (param "a" (borrow $a))))
    (import "let-go" (func $let-go (param "a" (borrow $a))))
    (import "let-go-twice" (func $let-go-twice (param "a" (borrow $a))))
    (core func $make' (canon lower (func $make)))
    (core func $keep' (canon lower (func $keep)))
    (core func $let-go' (canon lower (func $let-go)))
    (core func $let-go-twice' (canon lower (func $let-go-twice)))
    (core func $drop (canon resource.drop $a))
    (core module $M
      (import "" "make" (func $make (result i32)))
      (import "" "keep" (func $keep (param i32)))
      (import "" "let-go" (func $let-go (param i32)))
      (import "" "let-go-twice" (func $let-go-twice (param i32)))
      (import "" "drop" (func $drop (param i32)))
      (func (export "keep") (call $keep (call $make)))
      (func (export "let-go") (local i32)
        (local.set 0 (call $make))
        (call $let-go (local.get 0))
        (call $let-go (local.get 0))
        (call $drop (local.get 0)))
      (func (export "let-go-twice") (call $let-go-twice (call $make))))
    (core instance $m (instantiate $M (with "" (instance
      (export "make" (func $make')) (export "keep" (func $keep')) (export "let-go" (func $let-go'))
      (export "let-go-twice" (func $let-go-twice')) (export "drop" (func $drop))))))
    (func (export "keep") (canon lift (core func $m "keep")))
    (func (export "let-go") (canon lift (core func $m "let-go")))
    (func (export "let-go-twice") (canon lift (core func $m "let-go-twice"))))
  (instance $consumer (instantiate $Consumer
    (with "a" (type $a)) (with "make" (func $provider "make")) (with "keep" (func $borrower "keep"))
    (with "let-go" (func $borrower "let-go")) (with "let-go-twice" (func $borrower "let-go-twice"))))
  (export "consumer" (instance $consumer)))
"""


async def test_a_borrow_must_be_dropped_before_the_call_ends(start: Start) -> None:
    async with start(KEEPS_BORROW) as instance:
        await instance.call("consumer", "let-go")
        await instance.call("consumer", "let-go")
        with pytest.raises(Trap, match="borrow handles still remain at the end of the call"):
            await instance.call("consumer", "keep")
    async with start(KEEPS_BORROW) as instance:
        with pytest.raises(Trap, match="unknown handle index"):
            await instance.call("consumer", "let-go-twice")


async def test_cancelling_in_a_destructor(start: Start) -> None:
    clock = SlowClock()
    wat = counters("(call $drop (call $make (local.get $n))) (call $dropped)", dtor="(call $tick (local.get $rep))")
    async with start(wat, {"test:host/clock": clock}) as instance:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(instance.call, "run", None, 4)
                await clock.called.wait()
                scope.cancel()
        assert clock.ticks == []
        with pytest.raises(Trap, match="cannot enter component instance"):
            await instance.call("provider", "dropped")
