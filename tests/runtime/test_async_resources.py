"""Resources in asynchronous calls between components: lent during a call, and transferred when the call starts."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.runtime.async_guests import component, running
from wasi_trio.component._errors import HostError, Trap

_TAIL = "(memory $mem) (realloc $realloc)"

#: A counter's rep is the number with which it was created. ``look`` and ``spend`` wait that many seconds and return it.
PROVIDER = component(
    """
    (func (export "dropped") (result i32) (call $note.count))
    (func (export "make") (param i32) (result i32)
      (call $return.own (call $new (local.get 0)))
      (i32.const 0))
    (func (export "make-slowly") (param i32) (result i32)
      (call $sleep.sync (i32.const 5))
      (call $return.own (call $new (local.get 0)))
      (i32.const 0))
    (func (export "look") (param $rep i32) (param $seconds i32) (result i32)
      (call $sleep.sync (local.get $seconds))
      (call $return (local.get $rep))
      (i32.const 0))
    (func (export "spend") (param $handle i32) (param $seconds i32) (result i32) (local $rep i32)
      (call $sleep.sync (local.get $seconds))
      (local.set $rep (call $rep (local.get $handle)))
      (call $drop (local.get $handle))
      (call $return (local.get $rep))
      (i32.const 0))
    ;; lets nobody in any more
    (func (export "close") (param i32) (result i32)
      (call $backpressure.inc)
      (call $return (i32.const 0))
      (i32.const 0))
""",
    name="$Provider",
    imports='(import "sleep" (func $sleep async (param "seconds" u32)))',
    definitions="""
  (core module $Note
    (global $sum (mut i32) (i32.const 0))
    (func (export "dtor") (param i32) (global.set $sum (i32.add (global.get $sum) (local.get 0))))
    (func (export "count") (result i32) (global.get $sum)))
  (core instance $note (instantiate $Note))
  (alias core export $note "count" (core func $note.count))
  (type $counter' (resource (rep i32) (dtor (core func $note "dtor"))))
  (export $counter "counter" (type $counter'))
""",
    cores={
        "note.count": ("", "(result i32)"),
        "sleep.sync": ("lower (func $sleep) (memory $mem)", "(param i32)"),
        "new": ("resource.new $counter'", "(param i32) (result i32)"),
        "rep": ("resource.rep $counter'", "(param i32) (result i32)"),
        "drop": ("resource.drop $counter'", "(param i32)"),
        "backpressure.inc": ("backpressure.inc", ""),
        "return": ("task.return (result u32)", "(param i32)"),
        "return.own": ("task.return (result (own $counter))", "(param i32)"),
    },
    exports={
        "dropped": "(result u32)",
        "make": 'async (param "rep" u32) (result (own $counter))',
        "make-slowly": 'async (param "rep" u32) (result (own $counter))',
        "look": 'async (param "counter" (borrow $counter)) (param "seconds" u32) (result u32)',
        "spend": 'async (param "counter" (own $counter)) (param "seconds" u32) (result u32)',
        "close": 'async (param "rep" u32) (result u32)',
    },
)


def composition(run: str) -> str:
    """Return the provider with a consumer whose ``run`` has $n, $handle and $status, and must return a number."""
    consumer = component(
        f"""
    (func $begin-look (param $handle i32) (param $seconds i32) (result i32)
      (call $look (local.get $handle) (local.get $seconds) (i32.const 72)))
    (func (export "run") (param $n i32) (result i32) (local $handle i32) (local $status i32) (local $other i32)
      (drop (call $await (call $make (local.get $n) (i32.const 64))))
      (local.set $handle (i32.load (i32.const 64)))
      (call $return {run})
      (i32.const 0))
""",
        name="$Consumer",
        imports="""
  (import "p" (instance $p
    (export "counter" (type $counter (sub resource)))
    (export "dropped" (func (result u32)))
    (export "make" (func async (param "rep" u32) (result (own $counter))))
    (export "look" (func async (param "counter" (borrow $counter)) (param "seconds" u32) (result u32)))
    (export "spend" (func async (param "counter" (own $counter)) (param "seconds" u32) (result u32)))
    (export "close" (func async (param "rep" u32) (result u32)))))
  (alias export $p "counter" (type $counter))
""",
        cores={
            "make": (f'lower (func $p "make") async {_TAIL}', "(param i32 i32) (result i32)"),
            "look": (f'lower (func $p "look") async {_TAIL}', "(param i32 i32 i32) (result i32)"),
            "look.sync": (f'lower (func $p "look") {_TAIL}', "(param i32 i32) (result i32)"),
            "spend": (f'lower (func $p "spend") async {_TAIL}', "(param i32 i32 i32) (result i32)"),
            "close": (f'lower (func $p "close") async {_TAIL}', "(param i32 i32) (result i32)"),
            "dropped": ('lower (func $p "dropped")', "(result i32)"),
            "drop": ("resource.drop $counter", "(param i32)"),
            "subtask.cancel": ("subtask.cancel", "(param i32) (result i32)"),
            "return": ("task.return (result u32)", "(param i32)"),
        },
        exports={"run": 'async (param "n" u32) (result u32)'},
    )
    return f"""(component
  (import "sleep" (func $sleep async (param "seconds" u32)))
  {PROVIDER}
  {consumer}
  (instance $provider (instantiate $Provider (with "sleep" (func $sleep))))
  (instance $consumer (instantiate $Consumer (with "p" (instance $provider))))
  (export "run" (func $consumer "run"))
  (export "dropped" (func $provider "dropped")))
"""


class Host:
    async def sleep(self, seconds: int) -> None:
        await trio.sleep(seconds)


HOST: dict[str, Any] = {"": Host()}
LOOK = "(call $begin-look (local.get $handle) (i32.const 5))"


async def run(text: str, n: int = 7) -> tuple[int, int]:
    """Return the result of the consumer's ``run``, and the sum of the destroyed counters afterwards."""
    async with running(composition(text), HOST) as instance:
        return await instance.call("run", None, n), await instance.call("dropped")


async def fails(text: str, reason: str) -> None:
    async with running(composition(text), HOST) as instance:
        with pytest.raises(Trap, match=reason):
            await instance.call("run", None, 7)


async def test_a_lent_resource(autojump_clock: trio.testing.MockClock) -> None:
    """A counter is lent during a call, and dropped after it."""
    text = (
        f"(block (result i32) (drop (call $await {LOOK})) (call $drop (local.get $handle)) (i32.load (i32.const 72)))"
    )
    assert await run(text) == (7, 7)
    assert trio.current_time() == pytest.approx(5)


async def test_lent_to_a_synchronous_call(autojump_clock: trio.testing.MockClock) -> None:
    assert await run("(call $look.sync (local.get $handle) (i32.const 5))") == (7, 0)


async def test_lent_twice_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    text = f"""(block (result i32)
        (local.set $status {LOOK})
        (local.set $other {LOOK})
        (drop (call $await (local.get $other)))
        (drop (call $await (local.get $status)))
        (call $drop (local.get $handle))
        (call $dropped))"""
    assert await run(text) == (7, 7)
    assert trio.current_time() == pytest.approx(10), "the provider has one stack"


@pytest.mark.parametrize(
    "action",
    [
        "(call $drop (local.get $handle))",
        # The call enters when the other has returned, before this component learns of that.
        "(drop (call $await (call $spend (local.get $handle) (i32.const 0) (i32.const 80))))",
    ],
)
async def test_a_lent_resource_cannot_be_dropped_or_transferred(
    action: str, autojump_clock: trio.testing.MockClock
) -> None:
    text = f"(block (result i32) (local.set $status {LOOK}) {action} (i32.const 0))"
    await fails(text, "cannot remove owned resource while borrowed")


async def test_a_transferred_resource(autojump_clock: trio.testing.MockClock) -> None:
    text = """(block (result i32)
        (drop (call $await (call $spend (local.get $handle) (i32.const 5) (i32.const 72))))
        (i32.load (i32.const 72)))"""
    assert await run(text) == (7, 7)


async def test_a_transferred_resource_has_no_handle(autojump_clock: trio.testing.MockClock) -> None:
    text = """(block (result i32)
        (local.set $status (call $spend (local.get $handle) (i32.const 5) (i32.const 72)))
        (call $drop (local.get $handle))
        (i32.const 0))"""
    await fails(text, "handle index 1 is not a resource")  # but the call itself


async def test_a_call_that_never_started_transfers_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """The call is cancelled while it is held back, so the caller keeps the resource."""
    text = """(block (result i32)
        (drop (call $await (call $close (i32.const 0) (i32.const 80))))
        (local.set $status (call $spend (local.get $handle) (i32.const 5) (i32.const 72)))
        (if (i32.and (local.get $status) (i32.const 0xf)) (then unreachable))
        (local.set $other (call $subtask.cancel (i32.shr_u (local.get $status) (i32.const 4))))
        (call $subtask.drop (i32.shr_u (local.get $status) (i32.const 4)))
        (call $drop (local.get $handle))
        (local.get $other))"""
    assert await run(text) == (3, 7)


async def test_a_destructor_runs_though_the_drop_is_cancelled() -> None:
    async with running(PROVIDER, HOST) as instance:
        counter = await instance.call("make", None, 7)
        with trio.CancelScope() as scope:
            scope.cancel()
            await instance.drop(counter)
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert await instance.call("dropped") == 7


async def test_a_wrong_argument_transfers_nothing() -> None:
    async with running(PROVIDER, HOST) as instance:
        counter = await instance.call("make", None, 7)
        with pytest.raises(HostError, match="u32 cannot be made from a Python str"):
            await instance.call("spend", None, counter, "now")
        assert await instance.call("look", None, counter, 0) == 7
        assert await instance.call("spend", None, counter, 0) == 7
        assert await instance.call("dropped") == 7


async def test_the_result_of_a_cancelled_call_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with running(PROVIDER, HOST) as instance:
        with trio.move_on_after(1):
            await instance.call("make-slowly", None, 7)
            pytest.fail("this takes 5 seconds")
        assert await instance.call("dropped") == 0
        await trio.sleep(5)
        assert await instance.call("dropped") == 7
