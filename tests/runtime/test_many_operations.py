"""A million small reads and writes of streams between host and guest leave nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
from typing import Any

import pytest
import trio
import trio.testing

from tests.runtime.async_guests import component, running
from wasi_trio.component._types import U8, U32
from wasi_trio.component.concurrency._copying import CopyResult
from wasi_trio.component.concurrency._host_ends import HostReader
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.runtime._streams import StreamReader, make_stream
from wasi_trio.wasi._context import WasiContext

GROWTH = 8 << 20

WAT = component(
    """
    ;; reads one element at a time to the end; gives the sum
    (func (export "read") (param $count i32) (result i32) (local $in i32) (local $how i32) (local $sum i32)
      (local.set $in (call $numbers (local.get $count)))
      (block $done (loop $more
        (local.set $how (call $settle (local.get $in) (call $read (local.get $in) (i32.const 512) (i32.const 1))))
        (if (i32.shr_u (local.get $how) (i32.const 4))
          (then (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 512))))))
        (br_if $more (i32.eqz (i32.and (local.get $how) (i32.const 1))))))
      (call $drop-readable (local.get $in))
      (call $return (local.get $sum))
      (i32.const 0))
    ;; writes one byte at a time
    (func (export "write") (param $count i32) (param $slowly i32) (result i32) (local $ends i64) (local $out i32)
      (local.set $ends (call $bytes.new))
      (local.set $out (call $writable (local.get $ends)))
      (call $take (call $readable (local.get $ends)) (local.get $slowly))
      (loop $more
        (i32.store8 (i32.const 512) (local.get $count))
        (if (i32.ne (i32.const 0x10) (call $settle (local.get $out)
              (call $bytes.write (local.get $out) (i32.const 512) (i32.const 1)))) (then unreachable))
        (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
      (call $bytes.drop-writable (local.get $out))
      (call $return (i32.const 1))
      (i32.const 0))
""",
    imports="""
  (type $u32s (stream u32)) (type $bytes (stream u8))
  (import "numbers" (func $numbers (param "count" u32) (result $u32s)))
  (import "take" (func $take (param "bytes" $bytes) (param "slowly" bool)))""",
    cores={
        "numbers": ("lower (func $numbers)", "(param i32) (result i32)"),
        "take": ("lower (func $take)", "(param i32 i32)"),
        "read": ("stream.read $u32s async (memory $mem)", "(param i32 i32 i32) (result i32)"),
        "drop-readable": ("stream.drop-readable $u32s", "(param i32)"),
        "bytes.new": ("stream.new $bytes", "(result i64)"),
        "bytes.write": ("stream.write $bytes async (memory $mem)", "(param i32 i32 i32) (result i32)"),
        "bytes.drop-writable": ("stream.drop-writable $bytes", "(param i32)"),
        "return": ("task.return (result u32)", "(param i32)"),
    },
    exports={
        "read": 'async (param "count" u32) (result u32)',
        "write": 'async (param "count" u32) (param "slowly" bool) (result u32)',
    },
)


class Host:
    """Writes numbers in large pieces. Reads bytes one by one, in a callback or (slowly) in a task that waits."""

    taken = 0

    def __init__(self, context: WasiContext) -> None:
        self.nursery = context.nursery

    def numbers(self, count: int) -> SharedStream:
        writer, stream = make_stream(U32)

        async def write() -> None:
            async with writer:
                for first in range(0, count, 10_000):
                    await writer.send_all(list(range(first, min(first + 10_000, count))))

        self.nursery.start_soon(write)
        return stream

    def take(self, reader: StreamReader[bytes], slowly: bool) -> None:
        if slowly:
            self.nursery.start_soon(self._take_slowly, reader)
        else:
            _Taker(reader.into_shared())

    async def _take_slowly(self, reader: StreamReader[bytes]) -> None:
        async with reader:
            while piece := await reader.receive(1):
                Host.taken += len(piece)


class _Taker:
    """Reads one byte each time the previous one is written."""

    def __init__(self, stream: SharedStream) -> None:
        assert stream.element.type == U8
        self.end = HostReader(stream)
        self.end.start_read(1, self.done)

    def done(self, result: CopyResult, data: bytes) -> None:
        Host.taken += len(data)
        if result is CopyResult.COMPLETED and not self.end.active:
            self.end.start_read(1, self.done)


def resident() -> int:
    gc.collect()
    output = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, check=True).stdout
    return int(output) * 1024


@pytest.mark.parametrize(
    ("name", "count", "arguments"),
    [
        ("read", 1_000_000, ()),
        ("write", 1_000_000, (False,)),
        # Each of these takes two task switches and suspends the guest, so a tenth of the number must suffice.
        ("write", 100_000, (True,)),
    ],
)
async def test_one_element_at_a_time(name: str, count: int, arguments: tuple[Any, ...]) -> None:
    async with running(WAT, {"": Host}) as instance:
        pump = instance.pump
        assert pump is not None

        async def move(count: int) -> None:
            Host.taken = 0
            result = await instance.call(name, None, count, *arguments)
            await trio.testing.wait_all_tasks_blocked()  # the last part may have arrived only now
            if name == "read":
                assert result == sum(range(count)) % 2**32
            else:
                assert Host.taken == count

        await move(count // 100)
        # In a process that ran thousands of tests, memory also grows for other reasons. A leak shows in every round.
        grown = []
        while not grown or (grown[-1] >= GROWTH and len(grown) < 3):
            before = resident()
            objects = len(gc.get_objects())
            await move(count)
            grown.append(resident() - before)
            assert len(gc.get_objects()) - objects < 1000
        assert grown[-1] < GROWTH, grown
        assert pump.idle
