"""What lifting and lowering cost, without an engine: ``python -m benchmarks.abi``.

Core values are read from and written to an array of ctypes integers two apart, as the engine's raw values are.
"""

from __future__ import annotations

import ctypes
import timeit
from collections.abc import Callable
from typing import Any

from wasi_trio.component import abi
from wasi_trio.component import types as t
from wasi_trio.component.context import Context
from wasi_trio.component.definitions import StringEncoding
from wasi_trio.component.errors import Trap
from wasi_trio.component.handles import HandleTable, ResourceHandle

MIB = 1 << 20


class Memory:
    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))
        self.size = size

    def require(self, end: int) -> None:
        raise Trap("out of bounds")


def nanoseconds(function: Callable[..., Any], *args: Any) -> float:
    timer = timeit.Timer(
        "function(*args)" if len(args) > 4 else f"function({', '.join(f'a{i}' for i in range(len(args)))})",
        globals={"function": function, **{f"a{i}": arg for i, arg in enumerate(args)}},
    )
    count, _ = timer.autorange(lambda _n, _t: None)
    count = max(1, count // 4)
    return min(timer.repeat(5, count)) / count * 1e9


def main() -> None:
    memory = Memory(16 * MIB)
    heap = 4 * MIB
    handles = HandleTable()
    cx = Context(handles, memory, lambda _old, _old_size, _alignment, _size: heap)
    flats = ctypes.cast((ctypes.c_uint64 * 64)(), ctypes.POINTER(ctypes.c_uint64))
    resource = t.ResourceType("file")
    handle = handles.add(ResourceHandle(resource, object(), own=True))
    point = t.Record((("x", t.U32), ("y", t.U32), ("flag", t.BOOL)))
    position = t.Record((("x", t.F64), ("y", t.F64), ("id", t.U32)))
    utf8 = StringEncoding.UTF8

    rows: list[tuple[str, tuple[t.ValType, ...], tuple[Any, ...]]] = [
        ("u32, u32", (t.U32, t.U32), (7, 8)),
        ("s32, u64, f64", (t.S32, t.U64, t.F64), (-7, 8, 1.5)),
        ("string of 5", (t.STRING,), ("hello",)),
        ("string of 5, string of 5", (t.STRING, t.STRING), ("hello", "world")),
        ("list<u8> of 10", (t.List(t.U8),), (bytes(10),)),
        ("list<u8> of 1 MiB", (t.List(t.U8),), (bytes(MIB),)),
        ("list<u32> of 10", (t.List(t.U32),), (list(range(10)),)),
        ("list<u32> of 100,000", (t.List(t.U32),), (list(range(100_000)),)),
        ("list<f64> of 100,000", (t.List(t.F64),), ([0.5] * 100_000,)),
        ("list<record of f64, f64, u32> of 1,000", (t.List(position),), ([(1.0, 2.0, 3)] * 1000,)),
        ("list<record of u32, u32, bool> of 1,000", (t.List(point),), ([(1, 2, True)] * 1000,)),
        ("list<string of 5> of 1,000", (t.List(t.STRING),), (["hello"] * 1000,)),
        ("list<option<u32>> of 1,000", (t.List(t.Option(t.U32)),), ([None, 1] * 500,)),
        ("list<tuple<string, list<u8>>> of 10", (t.List(t.Tuple((t.STRING, t.List(t.U8)))),), ([("host", b"x")] * 10,)),
        ("result<list<u8>, enum>", (t.Result(t.List(t.U8), t.Enum(("a", "b"))),), ("ok",)),
        ("option<string>", (t.Option(t.STRING),), ("hello",)),
        ("borrow of a host's resource", (t.Borrow(resource),), ()),
    ]
    print(f"{'':44}{'lift':>14}{'lower':>14}  (ns)")
    from wasi_trio.component.values import Ok, record_class

    for label, types, values in rows:
        if "record of f64" in label:
            values = ([record_class(("x", "y", "id"))(*v) for v in values[0]],)
        elif "record of" in label:
            values = ([record_class(("x", "y", "flag"))(*v) for v in values[0]],)
        elif label.startswith("result"):
            values = (Ok(b"0123456789"),)
        lift = abi.lift_values(types, utf8, 16, stride=2, track_lends=False)
        if values:
            lower = abi.lower_values(types, utf8, 16)
            # One place in memory for everything would overwrite a list with its strings.
            bump = [heap]

            def realloc(_old: int, _old_size: int, alignment: int, size: int, bump: list[int] = bump) -> int:
                pointer = bump[0] + alignment - 1 & -alignment
                bump[0] = pointer + size
                return pointer

            cx.realloc = realloc
            for i, raw in enumerate(lower(cx, values)):
                flats[2 * i] = raw
            cx.realloc = lambda _old, _old_size, _alignment, _size: heap
            lifting = nanoseconds(lift, cx, flats)
            lowering = f"{nanoseconds(lower, cx, values):14,.0f}"
        else:
            flats[0] = handle
            lifting, lowering = nanoseconds(lift, cx, flats), f"{'':14}"
        print(f"{label:44}{lifting:14,.0f}{lowering}")
    for label, result, value in (
        ("u32 as a result", t.U32, 7),
        ("list<u8> of 10 as a result", t.List(t.U8), bytes(10)),
        ("result<list<u8>, enum> as a result", t.Result(t.List(t.U8), t.Enum(("a", "b"))), Ok(bytes(10))),
    ):
        lower_result = abi.lower_results(result, utf8, stride=2)
        print(f"{label:44}{'':14}{nanoseconds(lower_result, cx, flats, 1024, value):14,.0f}")


if __name__ == "__main__":
    main()
