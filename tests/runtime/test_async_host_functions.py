"""Users' host functions that wait, and that take and return streams and futures."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.runtime.async_guests import component, running
from wasi_trio.component._account import OverBudget
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._types import STRING, U8, U32
from wasi_trio.component._values import Err, Ok
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.component.concurrency._tasks import CANCELLED
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._streams import FutureReader, StreamReader, StreamWriter, make_future, make_stream
from wasi_trio.wasi._context import WasiContext

API = """
  (import "test:host/api" (instance $api
    (export "add" (func async (param "a" u32) (param "b" u32) (result u32)))
    (export "divide" (func async (param "a" u32) (param "b" u32) (result (result u32 (error string)))))
    (export "sleep" (func async (param "seconds" u32)))
    (export "block" (func (param "seconds" u32)))
    (export "upper" (func async (param "text" (stream u8)) (result (stream u8))))
    (export "sum" (func async (param "numbers" (stream u32)) (result u32)))
    (export "count" (func (param "to" u32) (result (stream u32))))
    (export "greet" (func async (param "name" string) (result (future string))))
    (export "tell" (func async (param "text" (future string)) (result u32)))))
  (type $bytes (stream u8))
  (type $numbers (stream u32))
  (type $text (future string))
"""

_TAIL = "(memory $mem) (realloc $realloc)"
CORES = {
    "add": (f'lower (func $api "add") async {_TAIL}', "(param i32 i32 i32) (result i32)"),
    "add.sync": (f'lower (func $api "add") {_TAIL}', "(param i32 i32) (result i32)"),
    "divide": (f'lower (func $api "divide") async {_TAIL}', "(param i32 i32 i32) (result i32)"),
    "sleep": ('lower (func $api "sleep") async (memory $mem)', "(param i32) (result i32)"),
    "sleep.sync": ('lower (func $api "sleep") (memory $mem)', "(param i32)"),
    "block": ('lower (func $api "block")', "(param i32)"),
    "upper": (f'lower (func $api "upper") async {_TAIL}', "(param i32 i32) (result i32)"),
    "sum": (f'lower (func $api "sum") async {_TAIL}', "(param i32 i32) (result i32)"),
    "count": (f'lower (func $api "count") {_TAIL}', "(param i32) (result i32)"),
    "greet": (f'lower (func $api "greet") async {_TAIL}', "(param i32 i32 i32) (result i32)"),
    "tell": (f'lower (func $api "tell") async {_TAIL}', "(param i32 i32) (result i32)"),
    "subtask.cancel": ("subtask.cancel", "(param i32) (result i32)"),
    "bytes.new": ("stream.new $bytes", "(result i64)"),
    "bytes.read": ("stream.read $bytes async (memory $mem)", "(param i32 i32 i32) (result i32)"),
    "bytes.write": ("stream.write $bytes async (memory $mem)", "(param i32 i32 i32) (result i32)"),
    "bytes.drop-readable": ("stream.drop-readable $bytes", "(param i32)"),
    "bytes.drop-writable": ("stream.drop-writable $bytes", "(param i32)"),
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
    "return.text": ("task.return (result string) (memory $mem)", "(param i32 i32)"),
}

BODY = """
    (data (i32.const 96) "a few words")

    (func (export "add") (param i32 i32) (result i32)
      (drop (call $await (call $add (local.get 0) (local.get 1) (i32.const 64))))
      (call $return (i32.load (i32.const 64)))
      (i32.const 0))
    (func (export "add-waiting") (param i32 i32) (result i32)
      (call $return (call $add.sync (local.get 0) (local.get 1)))
      (i32.const 0))
    (func (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    ;; the quotient, or 1000 and the length of what is wrong
    (func (export "divide") (param i32 i32) (result i32)
      (drop (call $await (call $divide (local.get 0) (local.get 1) (i32.const 64))))
      (call $return (if (result i32) (i32.load8_u (i32.const 64))
        (then (i32.add (i32.const 1000) (i32.load (i32.const 72))))
        (else (i32.load (i32.const 68)))))
      (i32.const 0))

    ;; how the call that is cancelled at once ends
    (func (export "cancel") (param i32) (result i32) (local $subtask i32)
      (local.set $subtask (i32.shr_u (call $sleep (local.get 0)) (i32.const 4)))
      (call $return (call $subtask.cancel (local.get $subtask)))
      (call $subtask.drop (local.get $subtask))
      (i32.const 0))
    (func (export "sleep") (param i32) (result i32)
      (call $sleep.sync (local.get 0))
      (call $return (local.get 0))
      (i32.const 0))

    ;; begins a division, and does something else meanwhile: waits in the host with the whole instance, or computes
    (func (export "divide-beside") (param i32 i32) (param $blocks i32) (result i32)
      (drop (call $divide (local.get 0) (local.get 1) (i32.const 64)))
      (if (local.get $blocks) (then (call $block (i32.const 1000))) (else (loop $forever (br $forever))))
      unreachable)

    ;; writes the words, reads what comes of them
    (func (export "upper") (result i32) (local $ends i64) (local $in i32) (local $how i32) (local $len i32)
      (local.set $ends (call $bytes.new))
      (drop (call $await (call $upper (call $readable (local.get $ends)) (i32.const 64))))
      (local.set $in (i32.load (i32.const 64)))
      (local.set $how (call $settle (call $writable (local.get $ends))
        (call $bytes.write (call $writable (local.get $ends)) (i32.const 96) (i32.const 11))))
      (if (i32.ne (local.get $how) (i32.const 0xb0)) (then unreachable))
      (call $bytes.drop-writable (call $writable (local.get $ends)))
      (loop $more
        (local.set $how (call $settle (local.get $in)
          (call $bytes.read (local.get $in) (i32.add (i32.const 1024) (local.get $len)) (i32.const 4))))
        (local.set $len (i32.add (local.get $len) (i32.shr_u (local.get $how) (i32.const 4))))
        (br_if $more (i32.eqz (i32.and (local.get $how) (i32.const 1)))))
      (call $bytes.drop-readable (local.get $in))
      (call $return.text (i32.const 1024) (local.get $len))
      (i32.const 0))

    ;; writes so many numbers from 1 on, 100 at a time
    (func (export "sum") (param $to i32) (result i32)
      (local $ends i64) (local $status i32) (local $number i32) (local $batch i32) (local $how i32)
      (local.set $ends (call $numbers.new))
      (local.set $status (call $sum (call $readable (local.get $ends)) (i32.const 64)))
      (loop $next
        (local.set $batch (i32.const 0))
        (loop $fill
          (if (i32.lt_u (local.get $number) (local.get $to)) (then
            (local.set $number (i32.add (local.get $number) (i32.const 1)))
            (i32.store offset=1024 (i32.shl (local.get $batch) (i32.const 2)) (local.get $number))
            (local.set $batch (i32.add (local.get $batch) (i32.const 1)))
            (br_if $fill (i32.lt_u (local.get $batch) (i32.const 100))))))
        (if (local.get $batch) (then
          (local.set $how (call $settle (call $writable (local.get $ends))
            (call $numbers.write (call $writable (local.get $ends)) (i32.const 1024) (local.get $batch))))
          (br_if $next (i32.eq (local.get $how) (i32.shl (local.get $batch) (i32.const 4)))))))
      (call $numbers.drop-writable (call $writable (local.get $ends)))
      (drop (call $await (local.get $status)))
      (call $return (i32.load (i32.const 64)))
      (i32.const 0))

    ;; reads numbers, up to so many at a time, and adds them up; leaves when there are so many
    (func (export "count") (param $to i32) (param $at-once i32) (param $enough i32) (result i32)
      (local $in i32) (local $how i32) (local $sum i32) (local $i i32) (local $all i32)
      (local.set $in (call $count (local.get $to)))
      (block $done (loop $more
        (local.set $how (call $settle (local.get $in)
          (call $numbers.read (local.get $in) (i32.const 1024) (local.get $at-once))))
        (local.set $i (i32.const 0))
        (loop $add
          (if (i32.lt_u (local.get $i) (i32.shr_u (local.get $how) (i32.const 4))) (then
            (local.set $sum (i32.add (local.get $sum) (i32.load offset=1024 (i32.shl (local.get $i) (i32.const 2)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $add))))
        (local.set $all (i32.add (local.get $all) (local.get $i)))
        (br_if $done (i32.and (local.get $how) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $all) (local.get $enough)))))
      (call $numbers.drop-readable (local.get $in))
      (call $return (local.get $sum))
      (i32.const 0))

    (func (export "greet") (param i32 i32) (result i32) (local $in i32)
      (drop (call $await (call $greet (local.get 0) (local.get 1) (i32.const 64))))
      (local.set $in (i32.load (i32.const 64)))
      (drop (call $settle (local.get $in) (call $text.read (local.get $in) (i32.const 72))))
      (call $text.drop-readable (local.get $in))
      (call $return.text (i32.load (i32.const 72)) (i32.load (i32.const 76)))
      (i32.const 0))

    ;; gives the host a future, and then its value
    (func (export "tell") (param i32 i32) (result i32) (local $ends i64) (local $status i32)
      (local.set $ends (call $text.new))
      (local.set $status (call $tell (call $readable (local.get $ends)) (i32.const 64)))
      (i32.store (i32.const 72) (local.get 0))
      (i32.store (i32.const 76) (local.get 1))
      (drop (call $settle (call $writable (local.get $ends))
        (call $text.write (call $writable (local.get $ends)) (i32.const 72))))
      (call $text.drop-writable (call $writable (local.get $ends)))
      (drop (call $await (local.get $status)))
      (call $return (i32.load (i32.const 64)))
      (i32.const 0))
"""

TWO = 'async (param "a" u32) (param "b" u32) (result u32)'
WAT = component(
    BODY,
    imports=API,
    cores=CORES,
    exports={
        "add": TWO,
        "add-waiting": TWO,
        "twice": '(param "a" u32) (result u32)',
        "divide": TWO,
        "divide-beside": 'async (param "a" u32) (param "b" u32) (param "blocks" bool) (result u32)',
        "cancel": 'async (param "seconds" u32) (result u32)',
        "sleep": 'async (param "seconds" u32) (result u32)',
        "upper": "async (result string)",
        "sum": 'async (param "to" u32) (result u32)',
        "count": 'async (param "to" u32) (param "at-once" u32) (param "enough" u32) (result u32)',
        "greet": 'async (param "name" string) (result string)',
        "tell": 'async (param "text" string) (result u32)',
    },
)

RETURNED, CANCELLED_BEFORE_RETURNED = 2, 4


class Api:
    """test:host/api, as a user of this package would write it."""

    def __init__(self, context: WasiContext) -> None:
        self.nursery = context.nursery

    async def add(self, a: int, b: int) -> int:
        if a:
            await trio.sleep(a)
        return a + b

    async def divide(self, a: int, b: int) -> Ok[int] | Err[str]:
        await trio.lowlevel.checkpoint()
        if b == 0:
            raise Err("division by zero")
        if a == 99:
            raise ZeroDivisionError("in the host")
        return Ok(a // b)

    async def sleep(self, seconds: int) -> None:
        await trio.sleep(seconds)

    async def block(self, seconds: int) -> None:
        await trio.sleep(seconds)

    async def upper(self, text: StreamReader[bytes]) -> SharedStream:
        writer, stream = make_stream(U8)

        async def feed() -> None:
            async with writer, text:
                async for piece in text:
                    await writer.send_all(piece.upper())

        self.nursery.start_soon(feed)
        return stream

    async def sum(self, numbers: StreamReader[list[int]]) -> int:
        total = 0
        async with numbers:
            async for some in numbers:
                total += sum(some)
        return total

    def count(self, to: int) -> SharedStream:
        writer, stream = make_stream(U32)
        self.nursery.start_soon(self._count, writer, to)
        return stream

    async def _count(self, writer: StreamWriter[list[int]], to: int) -> None:
        async with writer:
            for first in range(1, to + 1, 7):
                try:
                    await writer.send_all(list(range(first, min(first + 7, to + 1))))
                except trio.BrokenResourceError:
                    return

    async def greet(self, name: str) -> SharedFuture:
        writer, future = make_future(STRING)

        async def later() -> None:
            await trio.sleep(1)
            writer.set(f"Good day, {name}!")

        self.nursery.start_soon(later)
        return future

    async def tell(self, text: FutureReader[str]) -> int:
        return len(await text.get())


def api(**changes: Any) -> dict[str, Any]:
    return {"test:host/api": type("Changed", (Api,), changes)}


async def test_values(autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, api()) as instance:
        for name in ("add", "add-waiting"):
            assert await instance.call(name, None, 0, 7) == 7
            assert await instance.call(name, None, 2, 3) == 5
        assert trio.current_time() == pytest.approx(4)


async def test_calls_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    """These wait on the guest's one stack, so each call enters after the previous one has left."""
    async with running(WAT, api()) as instance, trio.open_nursery() as nursery:
        sums = []

        async def add(a: int) -> None:
            sums.append(await instance.call("add", None, a, 1))

        for a in (3, 2, 1):
            nursery.start_soon(add, a)
        await trio.sleep(7)
        assert sorted(sums) == [2, 3, 4]
        assert instance.pump is not None
        assert instance.pump.idle
        assert not instance.pump.operations


async def test_results_that_are_errors() -> None:
    async with running(WAT, api()) as instance:
        assert await instance.call("divide", None, 7, 2) == 3
        assert await instance.call("divide", None, 7, 0) == 1000 + len("division by zero")
        assert await instance.call("divide", None, 8, 2) == 4


@pytest.mark.parametrize("name", ["divide", "add", "add-waiting"])
async def test_an_exception_reaches_the_caller_of_the_guest(name: str) -> None:
    async def add(self: Api, a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("in the host")

    async with running(WAT, api(add=add)) as instance:
        with pytest.raises(ZeroDivisionError, match="in the host"):
            await instance.call(name, None, 99, 1)
        with pytest.raises(Trap, match="cannot enter component instance"):
            await instance.call("greet", None, "you")


@pytest.mark.parametrize("blocks", [False, True])
async def test_an_exception_while_the_guest_is_busy(blocks: bool) -> None:
    """The exception ends the guest's call, whatever its state."""
    async with running(WAT, api()) as instance:
        with pytest.raises(ZeroDivisionError, match="in the host"):
            await instance.call("divide-beside", None, 99, 1, blocks)


async def test_an_err_of_a_function_without_a_result_type() -> None:
    async def add(self: Api, a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        raise Err("an error")

    async with running(WAT, api(add=add)) as instance:
        with pytest.raises(Err):
            await instance.call("add", None, 1, 1)


async def test_a_result_for_which_there_is_no_memory_left() -> None:
    """It ends the guest's call like any other trap. It does not end the task in which the host function ran."""
    instances: list[Instance] = []

    async def divide(self: Api, a: int, b: int) -> Ok[int] | Err[str]:
        await trio.lowlevel.checkpoint()
        account = instances[0].account
        account.limit = account.used
        raise Err("a long story " * 10_000)

    async with running(WAT, api(divide=divide)) as instance:
        instances.append(instance)
        with pytest.raises(OverBudget, match="the instance may hold at most"):
            await instance.call("divide", None, 1, 1)


async def test_a_value_of_another_type() -> None:
    async def add(self: Api, a: int, b: int) -> str:
        return "three"

    async with running(WAT, api(add=add)) as instance:
        with pytest.raises(HostError, match="u32 cannot be made from a Python str"):
            await instance.call("add", None, 1, 2)


class Broken:
    def __index__(self) -> int:
        raise ZeroDivisionError("in an argument")


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        ("add", ("one", 2), HostError, "u32 cannot be made from a Python str"),
        ("add", (1, Broken()), ZeroDivisionError, "in an argument"),
        ("add", (1,), HostError, "2 arguments are required, 1 were given"),
        ("greet", (5,), HostError, "string cannot be made from a Python int"),
        ("twice", ("one",), HostError, "u32 cannot be made from a Python str"),
    ],
)
async def test_a_wrong_argument_fails_its_call_alone(
    function: str,
    arguments: tuple[Any, ...],
    error: type[Exception],
    message: str,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The instance and its other calls continue. The wrong call may have waited for its turn."""
    async with running(WAT, api()) as instance, trio.open_nursery() as nursery:
        results: list[int] = []

        async def neighbour() -> None:
            results.append(await instance.call("add", None, 5, 1))

        nursery.start_soon(neighbour)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            with pytest.raises(error, match=message):
                await instance.call(function, None, *arguments)
        assert results == ([] if function == "twice" else [6])
        assert await instance.call("twice", None, 4) == 8
        assert await instance.call("add", None, 1, 1) == 2
        assert results == [6]
        assert instance.pump is not None
        assert (instance.pump.idle, instance.pump.calls) == (True, set())


@pytest.mark.parametrize("cause", [ZeroDivisionError("in the host"), Trap("by the guest")])
async def test_later_calls_name_the_first_failure(cause: Exception) -> None:
    async def add(self: Api, a: int, b: int) -> int:
        raise cause

    async with running(WAT, api(add=add)) as instance:
        with pytest.raises(type(cause)) as first:
            await instance.call("add", None, 1, 2)
        assert first.value is cause
        what = "it trapped" if isinstance(cause, Trap) else "it failed: ZeroDivisionError"
        for _ in range(2):
            with pytest.raises(Trap, match=f"^cannot enter component instance: {what}: {cause}$") as caught:
                await instance.call("twice", None, 1)
            assert caught.value.__cause__ is cause
    with pytest.raises(Trap, match=r"^cannot enter component instance: the instance is closed$") as caught:
        await instance.call("twice", None, 1)
    assert caught.value.__cause__ is None, "a closed instance keeps nothing"


# ---- streams and futures -----------------------------------------------------------------------------------


async def test_a_stream_of_bytes_each_way() -> None:
    async with running(WAT, api()) as instance:
        for _ in range(3):
            assert await instance.call("upper") == "A FEW WORDS"


@pytest.mark.parametrize("to", [0, 1, 99, 100, 101, 1000])
async def test_a_stream_of_numbers_to_the_host(to: int) -> None:
    async with running(WAT, api()) as instance:
        assert await instance.call("sum", None, to) == sum(range(to + 1))


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
async def test_a_stream_of_numbers_to_the_guest(at_once: int) -> None:
    async with running(WAT, api()) as instance:
        for to in (0, 1, 7, 8, 100):
            assert await instance.call("count", None, to, at_once, 1000) == sum(range(to + 1))


async def test_a_guest_stops_reading() -> None:
    """The host learns that the stream's reader is closed."""
    async with running(WAT, api()) as instance:
        assert await instance.call("count", None, 10_000, 7, 7) == 28
        await trio.testing.wait_all_tasks_blocked()
        assert await instance.call("count", None, 10_000, 3, 3) == 6


async def test_a_host_stops_reading() -> None:
    async def sum_of_some(self: Api, numbers: StreamReader[list[int]]) -> int:
        async with numbers:
            return sum(await numbers.receive(10))

    async with running(WAT, api(sum=sum_of_some)) as instance:
        assert await instance.call("sum", None, 1000) == 55


async def test_futures(autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, api()) as instance:
        assert await instance.call("greet", None, "Jürgen") == "Good day, Jürgen!"
        assert trio.current_time() == pytest.approx(1)
        assert await instance.call("tell", None, "a text") == 6
        assert await instance.call("tell", None, "") == 0


async def test_the_host_closes_a_future() -> None:
    async def greet(self: Api, name: str) -> SharedFuture:
        writer, future = make_future(STRING)
        writer.close()
        return future

    async with running(WAT, api(greet=greet)) as instance:
        with pytest.raises(Trap):
            await instance.call("greet", None, "you")


# ---- cancellation ------------------------------------------------------------------------------------------


async def test_a_guest_cancels_its_call(autojump_clock: trio.testing.MockClock) -> None:
    ended = []

    async def sleep(self: Api, seconds: int) -> None:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            ended.append(trio.current_time())
            raise

    async with running(WAT, api(sleep=sleep)) as instance:
        for _ in range(3):
            assert await instance.call("cancel", None, 1000) == CANCELLED_BEFORE_RETURNED
        assert ended == [0, 0, 0]
        assert trio.current_time() == 0
        assert instance.pump is not None
        assert not instance.pump.operations


async def test_a_call_that_resists_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    """The guest waits until the call has ended, and learns that it has returned."""

    async def sleep(self: Api, seconds: int) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    async with running(WAT, api(sleep=sleep)) as instance:
        assert await instance.call("cancel", None, 5) == RETURNED
        assert trio.current_time() == pytest.approx(5)


async def test_a_call_that_needs_time_to_clean_up(autojump_clock: trio.testing.MockClock) -> None:
    async def sleep(self: Api, seconds: int) -> None:
        try:
            await trio.sleep(seconds)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async with running(WAT, api(sleep=sleep)) as instance:
        assert await instance.call("cancel", None, 1000) == CANCELLED_BEFORE_RETURNED
        assert trio.current_time() == pytest.approx(3)


async def test_an_exception_while_it_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    async def sleep(self: Api, seconds: int) -> None:
        try:
            await trio.sleep(seconds)
        finally:
            raise ZeroDivisionError("in the host")

    async with running(WAT, api(sleep=sleep)) as instance:
        with pytest.raises(ZeroDivisionError):
            await instance.call("cancel", None, 1000)


async def test_when_the_instance_ends_so_do_its_calls(autojump_clock: trio.testing.MockClock) -> None:
    ended = []

    async def sleep(self: Api, seconds: int) -> None:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            ended.append(seconds)
            raise

    async with running(WAT, api(sleep=sleep)) as instance, trio.open_nursery() as nursery:
        nursery.start_soon(instance.call, "sleep", None, 1000)
        await trio.sleep(10)
        assert ended == []
        nursery.cancel_scope.cancel()
    await trio.lowlevel.checkpoint()
    assert ended == [1000]


async def test_a_call_that_is_cancelled_before_its_turn_never_starts(autojump_clock: trio.testing.MockClock) -> None:
    begun = []

    async def sleep(self: Api, seconds: int) -> None:
        begun.append(seconds)

    async with running(WAT, api(sleep=sleep)) as instance:
        pump, function = instance.pump, instance.linked.find_export("sleep")
        assert pump is not None
        assert isinstance(function, LiftedFunction)
        resolved = trio.Event()
        call = pump.call(function, [5], resolved.set)
        call.cancel()
        call.cancel()
        await resolved.wait()
        assert call.outcome is CANCELLED
        with trio.CancelScope() as scope:
            scope.cancel()
            await instance.call("sleep", None, 6)
        await trio.testing.wait_all_tasks_blocked()
        assert (begun, pump.idle, pump.calls) == ([], True, set())
        assert await instance.call("sleep", None, 1) == 1
        assert begun == [1]


HELD_BACK = component(
    """
    ;; waits in its callback, which is told of nothing but the end of the wait
    (func (export "wait") (param i32) (result i32) (local $set i32)
      (call $join (i32.shr_u (call $sleep (local.get 0)) (i32.const 4)) (local.tee $set (call $set.new)))
      (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))
    (func (export "resist") (param i32) (result i32)
      (if (local.get 0) (then (call $backpressure.inc)) (else (call $backpressure.dec)))
      (local.get 0))
    """,
    callback="""
      (if (i32.ne (local.get $event) (i32.const 1)) (then unreachable))
      (call $join (local.get $handle) (i32.const 0))
      (call $subtask.drop (local.get $handle))
      (call $return (i32.const 7))
      (i32.const 0)
    """,
    imports=API,
    cores={
        **{name: CORES[name] for name in ("sleep", "return")},
        "backpressure.inc": ("backpressure.inc", ""),
        "backpressure.dec": ("backpressure.dec", ""),
    },
    exports={"wait": 'async (param "seconds" u32) (result u32)', "resist": '(param "on" bool) (result bool)'},
)


async def test_a_call_that_is_cancelled_during_backpressure_never_starts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun = []

    async def sleep(self: Api, seconds: int) -> None:
        begun.append(seconds)
        await trio.sleep(seconds)

    async with running(HELD_BACK, api(sleep=sleep)) as instance:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(instance.call, "wait", None, 10)  # without it the instance would be in a deadlock
            await trio.testing.wait_all_tasks_blocked()
            assert await instance.call("resist", None, True)
            with trio.move_on_after(2):
                await instance.call("wait", None, 5)
                pytest.fail("the guest admits no call")
            assert not await instance.call("resist", None, False)
        assert begun == [10]
        assert await instance.call("wait", None, 3) == 7
        assert begun == [10, 3]


async def test_a_guest_without_task_cancel_continues_a_cancelled_call(autojump_clock: trio.testing.MockClock) -> None:
    """It could not acknowledge the event, and would trap."""
    async with running(HELD_BACK, api()) as instance:
        with trio.move_on_after(2):
            await instance.call("wait", None, 5)
            pytest.fail("this takes 5 seconds")
        assert instance.pump is not None
        assert not instance.pump.idle
        assert await instance.call("wait", None, 4) == 7
        assert instance.pump.idle


async def test_a_caller_that_is_cancelled_leaves_the_instance_as_it_is(autojump_clock: trio.testing.MockClock) -> None:
    async with running(WAT, api()) as instance:
        with trio.move_on_after(2):
            await instance.call("add", None, 5, 1)
            pytest.fail("this takes 5 seconds")
        assert trio.current_time() == pytest.approx(2)
        assert await instance.call("add", None, 1, 1) == 2
