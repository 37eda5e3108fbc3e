"""The cost of lifting and lowering, without an engine: ``python -m benchmarks.abi``.

Core values are read from an array of ctypes integers, two apart, like the engine's raw values. The guest's allocator is
a minimal Python function.
"""

from __future__ import annotations

import ctypes
import timeit
from collections.abc import Callable
from typing import Any

from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import HandleTable, ResourceHandle
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._values import Ok, record_class

MIB = 1 << 20
UTF8 = StringEncoding.UTF8
POSITION = t.Record((("x", t.F64), ("y", t.F64), ("id", t.U32)))
POINT = t.Record((("x", t.U32), ("y", t.U32), ("flag", t.BOOL)))
HEADERS = t.List(t.Tuple((t.STRING, t.List(t.U8))))
READ = t.Result(t.List(t.U8), t.Enum(("closed", "failed")))


def records(type_: t.Record, *values: Any) -> list[Any]:
    class_ = record_class(tuple(name for name, _ in type_.fields))
    return [class_(*values)] * 1000


Case = tuple[str, tuple[t.ValType, ...], tuple[Any, ...]]
CASES: list[Case] = [
    ("u32, u32", (t.U32, t.U32), (7, 8)),
    ("s32, u64, f64", (t.S32, t.U64, t.F64), (-7, 8, 1.5)),
    ("string of 5", (t.STRING,), ("hello",)),
    ("string of 5, string of 5", (t.STRING, t.STRING), ("hello", "world")),
    ("option<string>", (t.Option(t.STRING),), ("hello",)),
    ("result<list<u8>, enum>", (READ,), (Ok(bytes(10)),)),
    ("list<u8> of 10", (t.List(t.U8),), (bytes(10),)),
    ("list<u8> of 1 MiB", (t.List(t.U8),), (bytes(MIB),)),
    ("list<u32> of 10", (t.List(t.U32),), (list(range(10)),)),
    ("list<u32> of 100,000", (t.List(t.U32),), (list(range(100_000)),)),
    ("list<f64> of 100,000", (t.List(t.F64),), ([0.5] * 100_000,)),
    ("list<record {f64, f64, u32}> of 1,000", (t.List(POSITION),), (records(POSITION, 1.0, 2.0, 3),)),
    ("list<record {u32, u32, bool}> of 1,000", (t.List(POINT),), (records(POINT, 1, 2, True),)),
    ("list<option<u32>> of 1,000", (t.List(t.Option(t.U32)),), ([None, 1] * 500,)),
    ("list<string of 5> of 1,000", (t.List(t.STRING),), (["hello"] * 1000,)),
    ("list<tuple<string, list<u8>>> of 10", (HEADERS,), ([("host", b"example")] * 10,)),
]
RESULTS: list[tuple[str, t.ValType, Any]] = [
    ("u32 as a result", t.U32, 7),
    ("list<u8> of 10 as a result", t.List(t.U8), bytes(10)),
    ("result<list<u8>, enum> as a result", READ, Ok(bytes(10))),
]


class Memory:
    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))
        self.size = size

    def require(self, end: int) -> None:
        raise Trap("out of bounds memory access")


class Heap:
    """An allocator that starts over when its memory is used up."""

    def __init__(self, start: int, end: int) -> None:
        self.start = self.next = start
        self.end = end

    def realloc(self, _old: int, _old_size: int, alignment: int, size: int) -> int:
        pointer = (self.next + alignment - 1) & -alignment
        if pointer + size > self.end:
            pointer = self.start
        self.next = pointer + size
        return pointer


def nanoseconds(call: Callable[[], Any]) -> float:
    """Return the best of several runs of 0.1 s."""
    timer = timeit.Timer(call)
    count = 1
    while (elapsed := timer.timeit(count)) < 0.01:
        count *= 4
    count = max(1, int(count * 0.1 / elapsed))
    overhead = min(timeit.repeat(lambda: None, number=count, repeat=3))
    return (min(timer.repeat(5, count)) - overhead) / count * 1e9


def main() -> None:
    memory = Memory(16 * MIB)
    heap = Heap(4096, 16 * MIB)
    handles = HandleTable()
    cx = Context(handles, memory, heap.realloc)
    flats = ctypes.cast((ctypes.c_uint64 * 64)(), ctypes.POINTER(ctypes.c_uint64))
    print(f"{'':42}{'lift':>12}{'lower':>12}  ns")
    for label, types, values in CASES:
        lift = abi.lift_values(types, UTF8, abi.MAX_FLAT_PARAMS, stride=2, track_lends=False)
        lower = abi.lower_values(types, UTF8, abi.MAX_FLAT_PARAMS)
        lowering = nanoseconds(lambda lower=lower, values=values: lower(cx, values))  # type: ignore[misc]
        heap.next = heap.start
        for i, raw in enumerate(lower(cx, values)):
            flats[2 * i] = raw
        lifting = nanoseconds(lambda lift=lift: lift(cx, flats))  # type: ignore[misc]
        print(f"{label:42}{lifting:12,.0f}{lowering:12,.0f}")
    resource = t.ResourceType("file")
    flats[0] = handles.add(ResourceHandle(resource, object(), own=True))
    lift = abi.lift_values((t.Borrow(resource),), UTF8, abi.MAX_FLAT_PARAMS, stride=2, track_lends=False)
    print(f"{'borrow<file>':42}{nanoseconds(lambda: lift(cx, flats)):12,.0f}")
    for label, type_, value in RESULTS:
        lower_result = abi.lower_results(type_, UTF8, stride=2)
        lowering = nanoseconds(
            lambda lower_result=lower_result, value=value: lower_result(cx, flats, 1024, value)  # type: ignore[misc]
        )
        print(f"{label:42}{'':12}{lowering:12,.0f}")


if __name__ == "__main__":
    main()
