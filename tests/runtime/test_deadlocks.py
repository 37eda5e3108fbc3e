"""Calls that nothing can complete, and calls that the host can complete."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.runtime.async_guests import component, running
from wasi_trio.component._errors import Trap
from wasi_trio.component._types import U8
from wasi_trio.runtime._streams import make_stream

GUEST = component(
    """
    (global $kept (mut i32) (i32.const 0))
    (func (export "itself") (result i32) (local $ends i64)
      (local.set $ends (call $bytes.new))
      (global.set $kept (call $writable (local.get $ends)))
      (drop (call $settle (call $readable (local.get $ends))
        (call $bytes.read (call $readable (local.get $ends)) (i32.const 64) (i32.const 8))))
      (call $return (i32.const 1))
      (i32.const 0))
    (func (export "given") (param $in i32) (result i32)
      (drop (call $settle (local.get $in) (call $bytes.read (local.get $in) (i32.const 64) (i32.const 8))))
      (call $return (i32.load8_u (i32.const 64)))
      (i32.const 0))
    """,
    definitions="(type $bytes (stream u8))",
    cores={
        "bytes.new": ("stream.new $bytes", "(result i64)"),
        "bytes.read": ("stream.read $bytes async (memory $mem)", "(param i32 i32 i32) (result i32)"),
        "return": ("task.return (result u32)", "(param i32)"),
    },
    exports={
        "itself": "async (result u32)",
        "given": 'async (param "in" $bytes) (result u32)',
    },
)


async def test_a_call_that_waits_for_itself_is_a_deadlock() -> None:
    """This is so even if the host may have ends of other streams."""
    with trio.fail_after(60):
        async with running(GUEST) as instance:
            with pytest.raises(Trap, match="deadlock"):
                await instance.call("itself")


async def test_a_call_that_waits_for_the_host_is_not_a_deadlock() -> None:
    writer, stream = make_stream(U8)
    with trio.fail_after(60):
        async with running(GUEST) as instance, trio.open_nursery() as nursery:
            results = []

            async def call() -> None:
                results.append(await instance.call("given", None, stream))

            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            assert instance.pump is not None
            assert not instance.pump.stalled
            await writer.send_all(b"\7")
        assert results == [7]
