"""Calls between host and guest, on and off fibers."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import trio
import trio.testing
import wasmtime

from tests.runtime.conftest import Start
from wasi_trio.component._errors import HostError, LinkError, Trap
from wasi_trio.component._imports import Imports
from wasi_trio.component._values import Err, Ok
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._containment import ContainedError
from wasi_trio.runtime._engine import Engine, Limits
from wasi_trio.runtime._instance import Instance

MEMORY = """
  (core module $Memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
"""

ADD = """(component
  (import "test:host/math" (instance $math
    (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
  (core func $add (canon lower (func $math "add")))
  (core module $Main
    (import "math" "add" (func $add (param i32 i32) (result i32)))
    (func (export "twice") (param i32) (result i32) (call $add (local.get 0) (local.get 0))))
  (core instance $main (instantiate $Main (with "math" (instance (export "add" (func $add))))))
  (func (export "twice") (param "n" u32) (result u32) (canon lift (core func $main "twice"))))
"""


class Math:
    def add(self, a: int, b: int) -> int:
        return a + b


class SlowMath:
    """Waits for two events, one after the other, before it returns."""

    def __init__(self) -> None:
        self.called = trio.Event()
        self.gates = [trio.Event(), trio.Event()]

    async def add(self, a: int, b: int) -> int:
        self.called.set()
        for gate in self.gates:
            await gate.wait()
        return a + b


class QuickMath:
    async def add(self, a: int, b: int) -> int:
        return a + b


async def test_a_plain_host_function(start: Start) -> None:
    async with start(ADD, {"test:host/math": Math()}) as instance:
        assert await instance.call("twice", None, 21) == 42
        assert await instance.call("twice", None, 1) == 2


async def test_a_host_class_is_made_for_each_instance(engine: Engine) -> None:
    made = []

    class Counting(Math):
        def __init__(self, context: Any) -> None:
            made.append(context)

    linked = Component.compile(engine, bytes(wasmtime.wat2wasm(ADD))).link(Imports({"test:host/math": Counting}))
    for context in ("one", "two"):
        instance = await Instance.instantiate(linked, context)
        assert await instance.call("twice", None, 2) == 4
        assert await instance.call("twice", None, 3) == 6
        instance.close()
    assert made == ["one", "two"]


async def test_an_async_host_function_that_need_not_wait(start: Start) -> None:
    async with start(ADD, {"test:host/math": QuickMath()}) as instance:
        assert await instance.call("twice", None, 21) == 42


async def test_an_async_host_function_that_waits(start: Start) -> None:
    math = SlowMath()
    answers = []
    async with start(ADD, {"test:host/math": math}) as instance, trio.open_nursery() as nursery:

        async def call() -> None:
            answers.append(await instance.call("twice", None, 21))

        nursery.start_soon(call)
        await math.called.wait()
        math.gates[0].set()
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        math.gates[1].set()
    assert answers == [42]


async def test_many_instances_wait_at_once(engine: Engine) -> None:
    math = SlowMath()
    linked = Component.compile(engine, bytes(wasmtime.wat2wasm(ADD))).link(Imports({"test:host/math": math}))
    answers: list[int] = []

    async def one(n: int) -> None:
        instance = await Instance.instantiate(linked)
        try:
            answers.append(await instance.call("twice", None, n))
        finally:
            instance.close()

    async with trio.open_nursery() as nursery:
        for n in range(100):
            nursery.start_soon(one, n)
        await trio.testing.wait_all_tasks_blocked()
        for gate in math.gates:
            gate.set()
    assert sorted(answers) == [2 * n for n in range(100)]


async def test_cancelling_a_waiting_call_unwinds_the_guest(start: Start) -> None:
    math = SlowMath()
    async with start(ADD, {"test:host/math": math}) as instance:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(instance.call, "twice", None, 1)
                await math.called.wait()
                scope.cancel()
        assert scope.cancelled_caught
        with pytest.raises(Trap, match="cannot enter component instance"):
            await instance.call("twice", None, 1)


async def test_a_host_function_that_raises_reaches_the_caller_as_it_is(start: Start) -> None:
    class Broken:
        def add(self, a: int, b: int) -> int:
            raise KeyError("broken")

    class BrokenLater:
        async def add(self, a: int, b: int) -> int:
            await trio.lowlevel.checkpoint()
            raise KeyError("broken")

    for broken in (Broken(), BrokenLater()):
        async with start(ADD, {"test:host/math": broken}) as instance:
            with pytest.raises(KeyError, match="broken"):
                await instance.call("twice", None, 1)
            assert instance.dead is not None


async def test_a_host_function_with_an_invalid_result(start: Start) -> None:
    class Wrong:
        def add(self, a: int, b: int) -> Any:
            return "forty-two"

    async with start(ADD, {"test:host/math": Wrong()}) as instance:
        with pytest.raises(HostError, match="u32"):
            await instance.call("twice", None, 1)


@pytest.mark.parametrize("waits", [False, True])
async def test_later_calls_name_the_first_failure(waits: bool, start: Start) -> None:
    class Failing:
        async def add(self, a: int, b: int) -> int:
            if waits:
                await trio.lowlevel.checkpoint()
            raise ZeroDivisionError("in the host")

    async with start(ADD, {"test:host/math": Failing()}) as instance:
        with pytest.raises(ZeroDivisionError) as first:
            await instance.call("twice", None, 1)
        for _ in range(2):
            with pytest.raises(Trap, match=r"instance: it failed: ZeroDivisionError: in the host$") as caught:
                await instance.call("twice", None, 1)
            assert caught.value.__cause__ is first.value


async def test_later_calls_name_a_cancellation(start: Start) -> None:
    async with start(ADD, {"test:host/math": SlowMath()}) as instance:
        with trio.CancelScope() as scope:
            scope.cancel()
            await instance.call("twice", None, 1)
        with pytest.raises(Trap, match=r"instance: a call into it was cancelled$"):
            await instance.call("twice", None, 1)


async def test_a_wrong_argument_leaves_the_instance(start: Start) -> None:
    class Broken:
        def __index__(self) -> int:
            raise ZeroDivisionError("in an argument")

    async with start(ADD, {"test:host/math": Math()}) as instance:
        with pytest.raises(HostError, match="u32 cannot be made from a Python str"):
            await instance.call("twice", None, "one")
        with pytest.raises(ZeroDivisionError, match="in an argument"):
            await instance.call("twice", None, Broken())
        assert await instance.call("twice", None, 21) == 42


async def test_a_wrong_argument_transfers_nothing(start: Start) -> None:
    wat = """(component
      (type $counter' (resource (rep i32)))
      (export $counter "counter" (type $counter'))
      (core func $new (canon resource.new $counter'))
      (core func $rep (canon resource.rep $counter'))
      (core module $M
        (import "" "new" (func $new (param i32) (result i32)))
        (import "" "rep" (func $rep (param i32) (result i32)))
        (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
        (func (export "spend") (param i32 i32) (result i32) (i32.add (call $rep (local.get 0)) (local.get 1))))
      (core instance $m (instantiate $M
        (with "" (instance (export "new" (func $new)) (export "rep" (func $rep))))))
      (func (export "make") (param "n" u32) (result (own $counter)) (canon lift (core func $m "make")))
      (func (export "spend") (param "counter" (own $counter)) (param "n" u32) (result u32)
        (canon lift (core func $m "spend"))))"""
    async with start(wat) as instance:
        counter = await instance.call("make", None, 5)
        with pytest.raises(HostError, match="u32 cannot be made from a Python NoneType"):
            await instance.call("spend", None, counter, None)
        assert await instance.call("spend", None, counter, 2) == 7


async def test_missing_imports_are_listed(engine: Engine) -> None:
    component = Component.compile(engine, bytes(wasmtime.wat2wasm(ADD)))
    with pytest.raises(LinkError) as caught:
        component.link(Imports())
    assert caught.value.missing == ("test:host/math add",)
    assert "test:host/math" in str(caught.value)


async def test_a_class_without_parameters_gets_no_context(start: Start) -> None:
    """``Math`` has no constructor."""

    class Counting:
        def __init__(self) -> None:
            self.calls = 0

        def add(self, a: int, b: int) -> int:
            self.calls += 1
            return self.calls

    async with start(ADD, {"test:host/math": Math}) as instance:
        assert await instance.call("twice", None, 4) == 8
    for _ in range(2):
        async with start(ADD, {"test:host/math": Counting}) as instance:
            assert await instance.call("twice", None, 4) == 1


async def test_a_class_with_too_many_parameters_is_refused_when_linking(engine: Engine) -> None:
    class Database:
        def __init__(self, url: str, context: Any) -> None:
            pytest.fail("it is not called")

        def add(self, a: int, b: int) -> int:
            return a + b

    component = Component.compile(engine, bytes(wasmtime.wat2wasm(ADD)))
    message = r"Database\(\) takes 2 arguments, and the host passes one: the instance's context"
    with pytest.raises(LinkError, match=message):
        component.link(Imports({"test:host/math": Database}))


async def test_a_trap_has_a_reason_and_a_backtrace(start: Start) -> None:
    wat = """(component
      (core module $M (func $inner unreachable) (func (export "f") (call $inner)))
      (core instance $m (instantiate $M))
      (func (export "f") (canon lift (core func $m "f"))))"""
    async with start(wat) as instance:
        with pytest.raises(Trap) as caught:
            await instance.call("f")
        first, *rest = str(caught.value).splitlines()
        assert "unreachable" in first
        assert any("inner" in line for line in rest)


SPIN = """(component
  (core module $M
    (global $n (mut i32) (i32.const 0))
    (func (export "spin") (loop (br 0)))
    (func (export "count") (param i32) (result i32)
      (loop $again
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (global.get $n) (local.get 0))))
      (global.get $n)))
  (core instance $m (instantiate $M))
  (func (export "spin") (canon lift (core func $m "spin")))
  (func (export "count") (param "n" u32) (result u32) (canon lift (core func $m "count"))))
"""


async def test_a_busy_guest_lets_others_run_and_can_be_cancelled(start: Start) -> None:
    async with start(SPIN) as busy, start(SPIN) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy.call, "spin")
            for n in range(1, 50):
                await trio.lowlevel.checkpoint()
                assert await other.call("count", None, n) == n
            nursery.cancel_scope.cancel()
        assert busy.dead is not None
        assert other.dead is None


async def test_a_busy_guest_that_ends_gives_its_result(start: Start) -> None:
    async with start(SPIN) as instance:
        assert await instance.call("count", None, 100_000_000) == 100_000_000


async def test_a_guest_that_spins_in_realloc_traps(start: Start) -> None:
    wat = """(component
      (core module $M
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop (br 0)) unreachable)
        (func (export "f") (param i32 i32)))
      (core instance $m (instantiate $M))
      (func (export "f") (param "s" string)
        (canon lift (core func $m "f") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"""
    async with start(wat, limits=Limits(nested_seconds=0.05)) as instance:
        with pytest.raises(Trap, match="cannot be suspended"):
            await instance.call("f", None, "text")


async def test_memory_limit(start: Start) -> None:
    wat = """(component
      (core module $M
        (memory 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
      (core instance $m (instantiate $M))
      (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $m "grow"))))"""
    async with start(wat, limits=Limits(memory=10 * 65536)) as instance:
        assert await instance.call("grow", None, 9) == 1
        assert await instance.call("grow", None, 1) == -1
    with pytest.raises(Trap, match="memory"):
        async with start(wat, limits=Limits(memory=1)):
            pytest.fail("the memory is larger than its limit")


async def test_strings_and_lists_both_ways(start: Start) -> None:
    wat = f"""(component
      (import "test:host/text" (instance $text
        (export "upper" (func (param "s" string) (result string)))))
      {MEMORY}
      (core func $upper (canon lower (func $text "upper") (memory $mem) (realloc $realloc)))
      (core module $Main
        (import "text" "upper" (func $upper (param i32 i32 i32)))
        (func (export "shout") (param i32 i32) (result i32)
          (call $upper (local.get 0) (local.get 1) (i32.const 16))
          (i32.const 16)))
      (core instance $main (instantiate $Main (with "text" (instance (export "upper" (func $upper))))))
      (func (export "shout") (param "s" string) (result string)
        (canon lift (core func $main "shout") (memory $mem) (realloc $realloc))))"""

    class Text:
        def upper(self, s: str) -> str:
            return s.upper()

    async with start(wat, {"test:host/text": Text()}) as instance:
        assert await instance.call("shout", None, "grüße") == "GRÜSSE"
        assert await instance.call("shout", None, "") == ""


def resources(calls: str) -> str:
    return f"""(component
      (import "test:host/files" (instance $files
        (export "file" (type $file (sub resource)))
        (export "[constructor]file" (func (param "name" u32) (result (own $file))))
        (export "[method]file.size" (func (param "self" (borrow $file)) (result u32)))
        (export "[static]file.merge" (func (param "a" (own $file)) (param "b" (borrow $file)) (result (own $file))))))
      (alias export $files "file" (type $file))
      (core func $new (canon lower (func $files "[constructor]file")))
      (core func $size (canon lower (func $files "[method]file.size")))
      (core func $merge (canon lower (func $files "[static]file.merge")))
      (core func $drop (canon resource.drop $file))
      (core module $Main
        (import "h" "new" (func $new (param i32) (result i32)))
        (import "h" "size" (func $size (param i32) (result i32)))
        (import "h" "merge" (func $merge (param i32 i32) (result i32)))
        (import "h" "drop" (func $drop (param i32)))
        (func (export "f") (param i32) (result i32) (local $a i32) (local $b i32) {calls}))
      (core instance $main (instantiate $Main (with "h" (instance
        (export "new" (func $new)) (export "size" (func $size))
        (export "merge" (func $merge)) (export "drop" (func $drop))))))
      (func (export "f") (param "n" u32) (result u32) (canon lift (core func $main "f"))))"""


class File:
    dropped: ClassVar[list[int]] = []

    def __init__(self, name: int) -> None:
        self.name = name

    def size(self) -> int:
        return self.name * 10

    @staticmethod
    def merge(a: File, b: File) -> File:
        return type(a)(a.name + b.name)

    def on_drop(self) -> None:
        self.dropped.append(self.name)


class Files:
    File = File


class SlowFile(File):
    async def size(self) -> int:  # type: ignore[override]
        await trio.lowlevel.checkpoint()
        return self.name * 10

    @staticmethod
    async def merge(a: File, b: File) -> File:  # type: ignore[override]
        await trio.lowlevel.checkpoint()
        return SlowFile(a.name + b.name)


class SlowFiles:
    File = SlowFile


@pytest.fixture
def dropped() -> list[int]:
    File.dropped = []
    return File.dropped


@pytest.mark.parametrize("files", [Files(), SlowFiles()], ids=["inline", "waiting"])
async def test_host_resources(start: Start, dropped: list[int], files: Any) -> None:
    wat = resources("""
      (local.set $a (call $new (local.get 0)))
      (local.set $b (call $new (i32.const 3)))
      (local.set $a (call $merge (local.get $a) (local.get $b)))
      (call $drop (local.get $b))
      (call $size (local.get $a))""")
    async with start(wat, {"test:host/files": files}) as instance:
        assert await instance.call("f", None, 4) == 70
        assert dropped == [3]
    assert dropped == [3, 7], "the remaining resources are dropped with the guest"


class StubbornFile(File):
    """Its ``on_drop`` raises an exception that is not an Exception."""

    def on_drop(self) -> None:
        super().on_drop()
        raise SystemExit(self.name)


class StubbornFiles:
    File = StubbornFile


async def test_a_failing_on_drop_ends_the_call(start: Start, dropped: list[int]) -> None:
    wat = resources("(call $drop (call $new (local.get 0))) (i32.const 0)")
    async with start(wat, {"test:host/files": StubbornFiles()}) as instance:
        with pytest.raises(ContainedError) as raised:
            await instance.call("f", None, 4)
    assert repr(raised.value.raised) == "SystemExit(4)"
    assert dropped == [4]


async def test_at_the_end_of_an_instance_all_resources_are_dropped(
    start: Start, dropped: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    wat = resources("(drop (call $new (local.get 0))) (call $size (call $new (i32.const 5)))")
    async with start(wat, {"test:host/files": StubbornFiles()}) as instance:
        assert await instance.call("f", None, 4) == 50
    assert dropped == [4, 5]
    assert instance.closed
    assert caplog.text.count("raise SystemExit(self.name)") == 2


@pytest.mark.parametrize("files", [Files(), SlowFiles()], ids=["inline", "waiting"])
@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ("(call $size (i32.const 0))", "unknown handle index 0"),
        ("(call $size (i32.const 77))", "unknown handle index 77"),
        ("(call $size (i32.const -1))", "unknown handle index 4294967295"),
        ("(call $drop (call $new (i32.const 1))) (call $size (i32.const 1))", "unknown handle index 1"),
        (
            "(local.set $a (call $new (i32.const 1)))"
            " (call $drop (local.get $a)) (call $drop (local.get $a)) (i32.const 0)",
            "unknown handle index 1",
        ),
        (
            "(local.set $a (call $new (i32.const 1))) (call $merge (local.get $a) (local.get $a))",
            "unknown handle index 1",
        ),
    ],
)
async def test_wrong_handles_trap(start: Start, dropped: list[int], files: Any, calls: str, message: str) -> None:
    async with start(resources(calls), {"test:host/files": files}) as instance:
        with pytest.raises(Trap, match=message):
            await instance.call("f", None, 4)


async def test_results_may_be_raised_or_returned(start: Start) -> None:
    wat = f"""(component
      (import "test:host/r" (instance $r (export "half" (func (param "n" u32) (result (result u32 (error u32)))))))
      {MEMORY}
      (core func $half (canon lower (func $r "half") (memory $mem)))
      (core module $Main
        (import "r" "half" (func $half (param i32 i32)))
        (func (export "f") (param i32) (result i32) (call $half (local.get 0) (i32.const 16)) (i32.const 16)))
      (core instance $main (instantiate $Main (with "r" (instance (export "half" (func $half))))))
      (func (export "f") (param "n" u32) (result (result u32 (error u32)))
        (canon lift (core func $main "f") (memory $mem))))"""

    class Returning:
        def half(self, n: int) -> Any:
            return Err(n) if n % 2 else Ok(n // 2)

    class Raising:
        async def half(self, n: int) -> Any:
            await trio.lowlevel.checkpoint()
            if n % 2:
                raise Err(n)
            return Ok(n // 2)

    for host in (Returning(), Raising()):
        async with start(wat, {"test:host/r": host}) as instance:
            assert await instance.call("f", None, 8) == Ok(4)
            assert await instance.call("f", None, 7) == Err(7)


class Gate:
    def __init__(self) -> None:
        self.event = trio.Event()
        self.cancelled = False

    async def wait(self) -> None:
        try:
            await self.event.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise


async def test_a_destructor_that_would_wait_traps_and_leaves_nothing_behind(start: Start) -> None:
    wat = """(component
      (import "test:host/gate" (instance $gate (export "wait" (func))))
      (core func $wait (canon lower (func $gate "wait")))
      (core module $Dtor (import "h" "wait" (func $wait)) (func (export "dtor") (param i32) (call $wait)))
      (core instance $dtor (instantiate $Dtor (with "h" (instance (export "wait" (func $wait))))))
      (type $r (resource (rep i32) (dtor (core func $dtor "dtor"))))
      (core func $new (canon resource.new $r))
      (core func $drop (canon resource.drop $r))
      (core module $M
        (import "h" "new" (func $new (param i32) (result i32)))
        (import "h" "drop" (func $drop (param i32)))
        (func (export "f") (call $drop (call $new (i32.const 1)))))
      (core instance $m (instantiate $M (with "h" (instance
        (export "new" (func $new)) (export "drop" (func $drop))))))
      (func (export "f") (canon lift (core func $m "f"))))"""
    gate = Gate()
    async with start(wat, {"test:host/gate": gate}) as instance:
        with pytest.raises(Trap, match="cannot wait in realloc, post-return or a destructor"):
            await instance.call("f")
    assert gate.cancelled
    gate.event.set()
    await trio.testing.wait_all_tasks_blocked()

    gate = Gate()
    gate.event.set()
    async with start(wat, {"test:host/gate": gate}) as instance:
        with pytest.raises(Trap, match="cannot wait"):  # Event.wait is a checkpoint even if the event is set
            await instance.call("f")
