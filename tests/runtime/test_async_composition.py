"""Components that call each other asynchronously, and pass streams and futures among themselves and the host."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.runtime.async_guests import component, running
from wasi_trio.component._errors import Trap
from wasi_trio.component._types import U32
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.runtime._streams import StreamReader, make_stream

STARTING, STARTED, RETURNED, CANCELLED_BEFORE_STARTED, CANCELLED_BEFORE_RETURNED = range(5)

_TAIL = "(memory $mem) (realloc $realloc)"
_TYPES = "(type $numbers (stream u32)) (type $text (future string))"

#: The core functions that components of both kinds call.
_SHARED = {
    "sleep": ("lower (func $sleep) async (memory $mem)", "(param i32) (result i32)"),
    "sleep.sync": ("lower (func $sleep) (memory $mem)", "(param i32)"),
    "subtask.cancel": ("subtask.cancel", "(param i32) (result i32)"),
    "task.cancel": ("task.cancel", ""),
    "context.get": ("context.get i32 0", "(result i32)"),
    "context.set": ("context.set i32 0", "(param i32)"),
    "backpressure.inc": ("backpressure.inc", ""),
    "backpressure.dec": ("backpressure.dec", ""),
    "numbers.new": ("stream.new $numbers", "(result i64)"),
    "numbers.read": ("stream.read $numbers async (memory $mem)", "(param i32 i32 i32) (result i32)"),
    "numbers.write": ("stream.write $numbers async (memory $mem)", "(param i32 i32 i32) (result i32)"),
    "numbers.drop-readable": ("stream.drop-readable $numbers", "(param i32)"),
    "numbers.drop-writable": ("stream.drop-writable $numbers", "(param i32)"),
    "text.new": ("future.new $text", "(result i64)"),
    "text.read": (f"future.read $text async {_TAIL}", "(param i32 i32) (result i32)"),
    "text.write": ("future.write $text async (memory $mem)", "(param i32 i32) (result i32)"),
    "text.drop-readable": ("future.drop-readable $text", "(param i32)"),
    "text.drop-writable": ("future.drop-writable $text", "(param i32)"),
    "return": ("task.return (result u32)", "(param i32)"),
    "return.numbers": ("task.return (result $numbers)", "(param i32)"),
    "return.future": ("task.return (result $text)", "(param i32)"),
    "return.text": ("task.return (result string) (memory $mem)", "(param i32 i32)"),
}

#: One function writes 1, 2, ... to a stream one by one and drops it. The other reads a stream and returns the sum.
_MOVE = """
    (func $send (param $out i32) (param $to i32) (local $number i32)
      (block $gone (loop $next
        (if (i32.lt_u (local.get $number) (local.get $to)) (then
          (local.set $number (i32.add (local.get $number) (i32.const 1)))
          (i32.store (i32.const 512) (local.get $number))
          (br_if $gone (i32.ne (i32.const 0x10) (call $settle (local.get $out)
            (call $numbers.write (local.get $out) (i32.const 512) (i32.const 1)))))
          (br $next)))))
      (call $numbers.drop-writable (local.get $out)))
    (func $receive (param $in i32) (param $at-once i32) (result i32)
      (local $how i32) (local $sum i32) (local $i i32)
      (loop $more
        (local.set $how (call $settle (local.get $in)
          (call $numbers.read (local.get $in) (i32.const 1024) (local.get $at-once))))
        (local.set $i (i32.const 0))
        (loop $add
          (if (i32.lt_u (local.get $i) (i32.shr_u (local.get $how) (i32.const 4))) (then
            (local.set $sum (i32.add (local.get $sum) (i32.load offset=1024 (i32.shl (local.get $i) (i32.const 2)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $add))))
        (br_if $more (i32.eqz (i32.and (local.get $how) (i32.const 1)))))
      (call $numbers.drop-readable (local.get $in))
      (local.get $sum))
"""

OF_THREE = 'async (param "to" u32) (param "theirs" u32) (param "ours" u32) (result u32)'
PAIR = 'async (param "a" u32) (param "b" u32) (result u32)'
CALLEE_EXPORTS = {
    "add": PAIR,
    "slow": PAIR,
    "plain": '(param "a" u32) (param "b" u32) (result u32)',
    "lifted": f"{PAIR} lifted synchronously",
    "nap": PAIR,
    "fail": PAIR,
    "hold": PAIR,
    "produce": 'async (param "to" u32) (param "pause" u32) (result $numbers)',
    "consume": 'async (param "from" $numbers) (param "pause" u32) (result u32)',
    "double": 'async (param "from" $numbers) (param "pause" u32) (result $numbers)',
    "later": 'async (param "text" string) (param "pause" u32) (result $text)',
}

CALLEE = component(
    _MOVE
    + """
    (func (export "add") (param i32 i32) (result i32)
      (call $return (i32.add (local.get 0) (local.get 1)))
      (i32.const 0))
    (func (export "plain") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    ;; waits in the middle of itself
    (func (export "slow") (param i32 i32) (result i32)
      (call $sleep.sync (local.get 0))
      (call $return (i32.add (local.get 0) (local.get 1)))
      (i32.const 0))
    (func (export "lifted") (param i32 i32) (result i32)
      (call $sleep.sync (local.get 0))
      (i32.add (local.get 0) (local.get 1)))
    (func (export "fail") (param i32 i32) (result i32)
      (call $sleep.sync (local.get 0))
      unreachable)
    ;; lets nobody else in until it is done
    (func (export "hold") (param i32 i32) (result i32)
      (call $backpressure.inc)
      (call $nap (local.get 0) (i32.const 3)))

    ;; waits in its callback. When cancelled it cancels its wait and gives up; or (1) goes on; or (2) returns 77.
    (global $next (mut i32) (i32.const 32768))
    (func $nap (export "nap") (param i32 i32) (result i32) (local $record i32) (local $status i32)
      (local.set $record (global.get $next))
      (global.set $next (i32.add (local.get $record) (i32.const 16)))
      (local.set $status (call $sleep (local.get 0)))
      (i32.store (local.get $record) (i32.shr_u (local.get $status) (i32.const 4)))
      (i32.store offset=4 (local.get $record) (call $set.new))
      (i32.store offset=8 (local.get $record) (local.get 1))
      (i32.store offset=12 (local.get $record) (local.get 0))
      (call $context.set (local.get $record))
      (call $join (i32.load (local.get $record)) (i32.load offset=4 (local.get $record)))
      (call $again (local.get $record)))
    (func $again (param $record i32) (result i32)
      (i32.or (i32.const 2) (i32.shl (i32.load offset=4 (local.get $record)) (i32.const 4))))
    (func $leave (param $record i32) (result i32)
      (call $subtask.drop (i32.load (local.get $record)))
      (call $set.drop (i32.load offset=4 (local.get $record)))
      (if (i32.eq (i32.load offset=8 (local.get $record)) (i32.const 3)) (then (call $backpressure.dec)))
      (i32.const 0))

    (func (export "produce") (param $to i32) (param $pause i32) (result i32) (local $ends i64)
      (local.set $ends (call $numbers.new))
      (call $return.numbers (call $readable (local.get $ends)))
      (call $sleep.sync (local.get $pause))
      (call $send (call $writable (local.get $ends)) (local.get $to))
      (i32.const 0))
    (func (export "consume") (param $in i32) (param $pause i32) (result i32)
      (call $sleep.sync (local.get $pause))
      (call $return (call $receive (local.get $in) (i32.const 10)))
      (i32.const 0))
    ;; every number twice
    (func (export "double") (param $in i32) (param $pause i32) (result i32)
      (local $ends i64) (local $out i32) (local $how i32)
      (local.set $ends (call $numbers.new))
      (local.set $out (call $writable (local.get $ends)))
      (call $return.numbers (call $readable (local.get $ends)))
      (call $sleep.sync (local.get $pause))
      (loop $more
        (local.set $how (call $settle (local.get $in)
          (call $numbers.read (local.get $in) (i32.const 1024) (i32.const 1))))
        (if (i32.shr_u (local.get $how) (i32.const 4)) (then
          (i32.store (i32.const 1028) (i32.load (i32.const 1024)))
          (if (i32.ne (i32.const 0x20) (call $settle (local.get $out)
                (call $numbers.write (local.get $out) (i32.const 1024) (i32.const 2)))) (then unreachable))))
        (br_if $more (i32.eqz (i32.and (local.get $how) (i32.const 1)))))
      (call $numbers.drop-readable (local.get $in))
      (call $numbers.drop-writable (local.get $out))
      (i32.const 0))
    (func (export "later") (param $at i32) (param $len i32) (param $pause i32) (result i32) (local $ends i64)
      (local.set $ends (call $text.new))
      (call $return.future (call $readable (local.get $ends)))
      (call $sleep.sync (local.get $pause))
      (i32.store (i32.const 64) (local.get $at))
      (i32.store (i32.const 68) (local.get $len))
      (drop (call $settle (call $writable (local.get $ends))
        (call $text.write (call $writable (local.get $ends)) (i32.const 64))))
      (call $text.drop-writable (call $writable (local.get $ends)))
      (i32.const 0))
""",
    name="$Callee",
    imports=f'(import "sleep" (func $sleep async (param "seconds" u32))) {_TYPES}',
    cores=_SHARED,
    exports=CALLEE_EXPORTS,
    callback="""
      (local.set $record (call $context.get))
      ;; task-cancelled
      (if (i32.eq (local.get $event) (i32.const 6))
        (then
          (if (i32.eq (i32.load offset=8 (local.get $record)) (i32.const 1))
            (then (return (call $again (local.get $record)))))
          (call $join (i32.load (local.get $record)) (i32.const 0))
          (if (i32.ne (call $subtask.cancel (i32.load (local.get $record))) (i32.const 4)) (then unreachable))
          (if (i32.eq (i32.load offset=8 (local.get $record)) (i32.const 2))
            (then (call $return (i32.const 77)))
            (else (call $task.cancel)))
          (return (call $leave (local.get $record)))))
      ;; subtask
      (if (i32.ne (local.get $event) (i32.const 1)) (then unreachable))
      (if (i32.ne (local.get $how) (i32.const 2)) (then (return (call $again (local.get $record)))))
      (call $return (i32.load offset=12 (local.get $record)))
      (call $leave (local.get $record))
""",
)


def _lowered(names: list[str]) -> dict[str, tuple[str, str]]:
    lowered = {}
    for name in names:
        flat = "i32 i32 i32" if name == "later" else "i32 i32"
        if name != "plain":  # the type of plain is not async
            lowered[f"{name}.async"] = (
                f'lower (func $callee "{name}") async {_TAIL}',
                f"(param {flat} i32) (result i32)",
            )
        lowered[f"{name}.sync"] = (f'lower (func $callee "{name}") {_TAIL}', f"(param {flat}) (result i32)")
    return lowered


def _calls(names: list[str]) -> str:
    """Return exports that call the functions with two numbers, synchronously and asynchronously."""
    return "".join(
        f"""
    (func (export "{name}-sync") (param i32 i32) (result i32)
      (call $return (call ${name}.sync (local.get 0) (local.get 1)))
      (i32.const 0))"""
        + (
            ""
            if name == "plain"
            else f"""
    (func (export "{name}-async") (param i32 i32) (result i32)
      (drop (call $await (call ${name}.async (local.get 0) (local.get 1) (i32.const 64))))
      (call $return (i32.load (i32.const 64)))
      (i32.const 0))"""
        )
        for name in names
    )


OF_NUMBERS = ["add", "plain", "slow", "lifted", "nap", "fail", "hold"]
OF_STREAMS = ["produce", "consume", "double", "later"]

CALLER = component(
    _MOVE
    + _calls(OF_NUMBERS)
    + """
    ;; the state of a call as it begins, and 10 times how it ends
    (func (export "begin-nap") (param i32 i32) (result i32) (local $status i32)
      (local.set $status (call $nap.async (local.get 0) (local.get 1) (i32.const 64)))
      (call $return (i32.add (i32.and (local.get $status) (i32.const 0xf))
        (i32.mul (i32.const 10) (call $await (local.get $status)))))
      (i32.const 0))
    ;; three at once: what they return, added up
    (func (export "three") (param i32 i32) (result i32) (local $a i32) (local $b i32) (local $c i32)
      (local.set $a (call $nap.async (local.get 0) (i32.const 0) (i32.const 64)))
      (local.set $b (call $nap.async (i32.add (local.get 0) (i32.const 1)) (i32.const 0) (i32.const 68)))
      (local.set $c (call $nap.async (i32.add (local.get 0) (i32.const 2)) (i32.const 0) (i32.const 72)))
      (drop (call $await (local.get $c)))
      (drop (call $await (local.get $b)))
      (drop (call $await (local.get $a)))
      (call $return (i32.add (i32.load (i32.const 64)) (i32.add (i32.load (i32.const 68)) (i32.load (i32.const 72)))))
      (i32.const 0))
    ;; how a nap ends that is cancelled at once, and 100 times what it returned
    (func (export "cancel") (param i32 i32) (result i32) (local $subtask i32) (local $how i32)
      (i32.store (i32.const 64) (i32.const 0))
      (local.set $subtask
        (i32.shr_u (call $nap.async (local.get 0) (local.get 1) (i32.const 64)) (i32.const 4)))
      (local.set $how (call $subtask.cancel (local.get $subtask)))
      (call $subtask.drop (local.get $subtask))
      (call $return (i32.add (local.get $how) (i32.mul (i32.const 100) (i32.load (i32.const 64)))))
      (i32.const 0))
    ;; the same of one that is not let in; 1000 times the state in which it was
    (func (export "cancel-held-back") (param i32 i32) (result i32)
      (local $first i32) (local $second i32) (local $how i32)
      (local.set $first (call $hold.async (local.get 0) (local.get 1) (i32.const 64)))
      (local.set $second (call $nap.async (local.get 0) (local.get 1) (i32.const 68)))
      (local.set $how (call $subtask.cancel (i32.shr_u (local.get $second) (i32.const 4))))
      (call $subtask.drop (i32.shr_u (local.get $second) (i32.const 4)))
      (drop (call $await (local.get $first)))
      (call $return (i32.add (local.get $how)
        (i32.mul (i32.const 1000) (i32.and (local.get $second) (i32.const 0xf)))))
      (i32.const 0))
    ;; one is held back until the other is done
    (func (export "held-back") (param i32 i32) (result i32) (local $first i32) (local $second i32)
      (local.set $first (call $hold.async (local.get 0) (local.get 1) (i32.const 64)))
      (local.set $second (call $nap.async (local.get 0) (local.get 1) (i32.const 68)))
      (drop (call $await (local.get $second)))
      (drop (call $await (local.get $first)))
      (call $return (i32.load (i32.const 68)))
      (i32.const 0))

    ;; pauses are of both sides, so that either comes first
    (func (export "read-produced") (param $to i32) (param $theirs i32) (param $ours i32) (result i32)
      (drop (call $await (call $produce.async (local.get $to) (local.get $theirs) (i32.const 64))))
      (call $sleep.sync (local.get $ours))
      (call $return (call $receive (i32.load (i32.const 64)) (i32.const 3)))
      (i32.const 0))
    (func (export "write-consumed") (param $to i32) (param $theirs i32) (param $ours i32) (result i32)
      (local $ends i64) (local $status i32)
      (local.set $ends (call $numbers.new))
      (local.set $status (call $consume.async (call $readable (local.get $ends)) (local.get $theirs) (i32.const 64)))
      (call $sleep.sync (local.get $ours))
      (call $send (call $writable (local.get $ends)) (local.get $to))
      (drop (call $await (local.get $status)))
      (call $return (i32.load (i32.const 64)))
      (i32.const 0))
    ;; reads one number and goes
    (func (export "read-one") (param $to i32) (param $theirs i32) (param $ours i32) (result i32) (local $in i32)
      (drop (call $await (call $produce.async (local.get $to) (local.get $theirs) (i32.const 64))))
      (local.set $in (i32.load (i32.const 64)))
      (call $sleep.sync (local.get $ours))
      (drop (call $settle (local.get $in) (call $numbers.read (local.get $in) (i32.const 1024) (i32.const 1))))
      (call $numbers.drop-readable (local.get $in))
      (call $return (i32.load (i32.const 1024)))
      (i32.const 0))
    (func (export "text") (param $at i32) (param $len i32) (param $theirs i32) (param $ours i32) (result i32)
      (local $in i32)
      (drop (call $await (call $later.async (local.get $at) (local.get $len) (local.get $theirs) (i32.const 64))))
      (local.set $in (i32.load (i32.const 64)))
      (call $sleep.sync (local.get $ours))
      (drop (call $settle (local.get $in) (call $text.read (local.get $in) (i32.const 72))))
      (call $text.drop-readable (local.get $in))
      (call $return.text (i32.load (i32.const 72)) (i32.load (i32.const 76)))
      (i32.const 0))

    ;; the host's numbers, doubled by the other component, and handed back to the host by this one
    (func (export "pass") (param $to i32) (param $theirs i32) (param $ours i32) (result i32)
      (drop (call $await (call $double.async (call $count (local.get $to)) (local.get $theirs) (i32.const 64))))
      (call $sleep.sync (local.get $ours))
      (drop (call $await (call $sum (i32.load (i32.const 64)) (i32.const 64))))
      (call $return (i32.load (i32.const 64)))
      (i32.const 0))
""",
    name="$Caller",
    imports=f"""{_TYPES}
  (import "sleep" (func $sleep async (param "seconds" u32)))
  (import "count" (func $count (param "to" u32) (result $numbers)))
  (import "sum" (func $sum async (param "from" $numbers) (result u32)))
  (import "callee" (instance $callee
    (type $numbers (stream u32)) (type $text (future string))
    {
        " ".join(
            f'(export "{name}" (func {type_.removesuffix(" lifted synchronously")}))'
            for name, type_ in CALLEE_EXPORTS.items()
        )
    }))
""",
    cores={
        **_SHARED,
        **_lowered(OF_NUMBERS + OF_STREAMS),
        "count": ("lower (func $count)", "(param i32) (result i32)"),
        "sum": (f"lower (func $sum) async {_TAIL}", "(param i32 i32) (result i32)"),
    },
    exports={
        **{
            f"{name}-{how}": PAIR
            for name in OF_NUMBERS
            for how in ("sync", "async")
            if (name, how) != ("plain", "async")
        },
        **dict.fromkeys(("begin-nap", "three", "cancel", "cancel-held-back", "held-back"), PAIR),
        **dict.fromkeys(
            ("read-produced", "write-consumed", "read-one", "pass"),
            'async (param "to" u32) (param "theirs" u32) (param "ours" u32) (result u32)',
        ),
        "text": 'async (param "text" string) (param "theirs" u32) (param "ours" u32) (result string)',
    },
)

WAT = f"""(component
  (type $numbers (stream u32))
  (import "sleep" (func $sleep async (param "seconds" u32)))
  (import "count" (func $count (param "to" u32) (result $numbers)))
  (import "sum" (func $sum async (param "from" $numbers) (result u32)))
  {CALLEE}
  {CALLER}
  (instance $callee (instantiate $Callee (with "sleep" (func $sleep))))
  (instance $caller (instantiate $Caller (with "sleep" (func $sleep)) (with "callee" (instance $callee))
    (with "count" (func $count)) (with "sum" (func $sum))))
  (export "caller" (instance $caller))
  (export "callee" (instance $callee)))
"""


class Host:
    def __init__(self, context: Any) -> None:
        self.nursery = context.nursery

    async def sleep(self, seconds: int) -> None:
        await trio.sleep(seconds)

    def count(self, to: int) -> SharedStream:
        writer, stream = make_stream(U32)

        async def write() -> None:
            async with writer:
                for number in range(1, to + 1):
                    await writer.send_all([number])

        self.nursery.start_soon(write)
        return stream

    async def sum(self, numbers: StreamReader[list[int]]) -> int:
        total = 0
        async with numbers:
            async for some in numbers:
                total += sum(some)
        return total


HOST = {"": Host}


@pytest.mark.parametrize("name", ["add-sync", "add-async", "plain-sync"])
async def test_calls_that_return_at_once(name: str) -> None:
    async with running(WAT, HOST) as instance:
        for a in (1, 2, 3):
            assert await instance.call("caller", name, a, 7) == a + 7


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("name", ["slow", "lifted", "nap"])
async def test_calls_that_wait(name: str, how: str, autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, HOST) as instance:
        for a in (1, 2, 3):
            before = trio.current_time()
            assert await instance.call("caller", f"{name}-{how}", a, 0) == a
            assert trio.current_time() - before == pytest.approx(a)
        assert instance.pump is not None
        assert instance.pump.idle
        assert not instance.pump.operations


async def test_the_states_of_a_call(autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, HOST) as instance:
        assert await instance.call("caller", "begin-nap", 2, 0) == STARTED + 10 * RETURNED
        assert trio.current_time() == pytest.approx(2)


async def test_calls_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, HOST) as instance:
        assert await instance.call("caller", "three", 5, 0) == 5 + 6 + 7
        assert trio.current_time() == pytest.approx(7)


async def test_both_components_called_by_the_host(autojump_clock: trio.testing.MockClock) -> None:
    """While one component waits for the other, the other can be called too."""
    async with running(WAT, HOST) as instance, trio.open_nursery() as nursery:
        nursery.start_soon(instance.call, "caller", "nap-async", 10, 0)
        await trio.sleep(1)
        assert await instance.call("callee", "add", 1, 2) == 3
        assert await instance.call("callee", "nap", 1, 0) == 1
        assert await instance.call("callee", "plain", 1, 2) == 3
        assert trio.current_time() == pytest.approx(2)


async def test_backpressure(autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, HOST) as instance:
        assert await instance.call("caller", "held-back", 3, 0) == 3
        assert trio.current_time() == pytest.approx(6)


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("pause", [0, 2])
async def test_a_trap_ends_both(how: str, pause: int, autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, HOST) as instance, trio.open_nursery() as nursery:
        failures = []

        async def wait() -> None:
            with pytest.raises(Trap, match="unreachable"):
                await instance.call("callee", "nap", 1000, 0)
            failures.append(trio.current_time())

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Trap, match="unreachable"):
            await instance.call("caller", f"fail-{how}", pause, 0)
        await trio.testing.wait_all_tasks_blocked()
        assert failures == [pytest.approx(pause)]
        with pytest.raises(Trap, match="cannot enter"):
            await instance.call("caller", "add-sync", 1, 2)


# ---- cancellation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reaction", "outcome", "seconds"),
    [(0, CANCELLED_BEFORE_RETURNED, 0), (1, RETURNED + 500, 5), (2, RETURNED + 7700, 0)],
)
async def test_cancelling_a_call(
    reaction: int, outcome: int, seconds: int, autojump_clock: trio.testing.MockClock
) -> None:
    """The callee gives up, continues to its end, or returns early. The host's sleep is cancelled with it."""
    async with running(WAT, HOST) as instance:
        for _ in range(3):
            before = trio.current_time()
            assert await instance.call("caller", "cancel", 5, reaction) == outcome
            assert trio.current_time() - before == pytest.approx(seconds)
        assert instance.pump is not None
        assert not instance.pump.operations
        assert instance.pump.idle


async def test_cancelling_a_call_that_is_held_back(autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, HOST) as instance:
        outcome = await instance.call("caller", "cancel-held-back", 4, 0)
        assert outcome == CANCELLED_BEFORE_STARTED + 1000 * STARTING
        assert trio.current_time() == pytest.approx(4)


async def test_the_host_cancels_its_call(autojump_clock: trio.testing.MockClock) -> None:
    """The cancellation of a call from outside reaches the callee's sleep."""
    async with running(WAT, HOST) as instance:
        with trio.move_on_after(3):
            await instance.call("callee", "nap", 1000, 0)
            pytest.fail("it sleeps for long")
        assert trio.current_time() == pytest.approx(3)
        await trio.testing.wait_all_tasks_blocked()
        assert instance.pump is not None
        assert instance.pump.idle
        assert not instance.pump.operations
        assert await instance.call("caller", "add-sync", 1, 2) == 3


# ---- streams and futures -----------------------------------------------------------------------------------

PAUSES = [(0, 0), (2, 0), (0, 2)]


@pytest.mark.parametrize(("theirs", "ours"), PAUSES)
@pytest.mark.parametrize("to", [0, 1, 10, 100])
@pytest.mark.parametrize("name", ["read-produced", "write-consumed"])
async def test_streams_between_components(
    name: str, to: int, theirs: int, ours: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(WAT, HOST) as instance:
        for _ in range(2):
            assert await instance.call("caller", name, to, theirs, ours) == sum(range(to + 1))


@pytest.mark.parametrize(("theirs", "ours"), PAUSES)
async def test_a_reader_that_drops_its_end(theirs: int, ours: int, autojump_clock: trio.testing.MockClock) -> None:
    """The writer learns of it, and ends."""
    async with running(WAT, HOST) as instance:
        for _ in range(3):
            assert await instance.call("caller", "read-one", 100, theirs, ours) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert instance.pump is not None
        assert instance.pump.idle


@pytest.mark.parametrize(("theirs", "ours"), PAUSES)
async def test_futures_between_components(theirs: int, ours: int, autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, HOST) as instance:
        for text in ("", "a text", "ünïcödé \N{SNOWMAN}" * 100):
            assert await instance.call("caller", "text", text, theirs, ours) == text


@pytest.mark.parametrize(("theirs", "ours"), PAUSES)
@pytest.mark.parametrize("to", [0, 1, 100])
async def test_a_stream_through_both_components(
    to: int, theirs: int, ours: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Numbers go from the host to one component, from there to the other, and back to the host."""
    async with running(WAT, HOST) as instance:
        for _ in range(2):
            assert await instance.call("caller", "pass", to, theirs, ours) == 2 * sum(range(to + 1))
        await trio.testing.wait_all_tasks_blocked()
        assert instance.pump is not None
        assert instance.pump.idle
        assert not instance.pump.operations
