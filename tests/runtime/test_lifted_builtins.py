"""Built-ins in place of the guest's own functions: lifted, as destructors, and beside imports that wait."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.runtime.conftest import Start
from wasi_trio.component._errors import Trap

TABLE = """(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core func $rep (canon resource.rep $r))
  (core func $drop (canon resource.drop $r))
  (func (export "new") (param "rep" u32) (result u32) (canon lift (core func $new)))
  (func (export "rep") (param "handle" u32) (result u32) (canon lift (core func $rep)))
  (func (export "drop") (param "handle" u32) (canon lift (core func $drop))))"""


async def test_resource_functions(start: Start) -> None:
    async with start(TABLE) as instance:
        assert [await instance.call("new", None, rep) for rep in (7, 2**32 - 1)] == [1, 2]
        assert [await instance.call("rep", None, handle) for handle in (1, 2)] == [7, 2**32 - 1]
        await instance.call("drop", None, 1)
        with pytest.raises(Trap, match="unknown handle index 1"):
            await instance.call("rep", None, 1)


IMPORTS = """(component
  (import "at-once" (func $at-once (param "a" u32) (result u32)))
  (import "later" (func $later (param "a" u32) (result u64)))
  (import "nothing" (func $nothing))
  (core func $at-once' (canon lower (func $at-once)))
  (core func $later' (canon lower (func $later)))
  (core func $nothing' (canon lower (func $nothing)))
  (func (export "at-once") (param "a" u32) (result u32) (canon lift (core func $at-once')))
  (func (export "later") (param "a" u32) (result u64) (canon lift (core func $later')))
  (func (export "nothing") (canon lift (core func $nothing'))))"""


async def test_imports_lifted_again(start: Start) -> None:
    calls: list[Any] = []

    class Host:
        def at_once(self, a: int) -> int:
            return a + 1

        async def later(self, a: int) -> int:
            await trio.lowlevel.checkpoint()
            return a << 32

        def nothing(self) -> None:
            calls.append(self)

    async with start(IMPORTS, {"": Host()}) as instance:
        for _ in range(2):
            assert await instance.call("at-once", None, 1) == 2
            assert await instance.call("later", None, 3) == 3 << 32
            await instance.call("nothing")
    assert len(calls) == 2


DESTRUCTOR = """(component
  (import "dropped" (func $dropped (param "rep" u32)))
  (core func $dropped' (canon lower (func $dropped)))
  (type $r (resource (rep i32) (dtor (core func $dropped'))))
  (core func $new (canon resource.new $r))
  (core func $drop (canon resource.drop $r))
  (func (export "new") (param "rep" u32) (result u32) (canon lift (core func $new)))
  (func (export "drop") (param "handle" u32) (canon lift (core func $drop))))"""


async def test_import_as_destructor(start: Start) -> None:
    dropped: list[int] = []

    class Host:
        def dropped(self, rep: int) -> None:
            dropped.append(rep)

    async with start(DESTRUCTOR, {"": Host()}) as instance:
        await instance.call("drop", None, await instance.call("new", None, 5))
    assert dropped == [5]
