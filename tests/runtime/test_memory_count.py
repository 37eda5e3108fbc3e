"""The memory that wasmtime holds for an instance is counted: memories and tables of all components of a composition."""

from __future__ import annotations

import pytest

from tests.runtime.conftest import Start
from wasi_trio.component._errors import Trap
from wasi_trio.runtime._engine import Limits

PAGE = 65536
HIDDEN = """
  (component $part
    (core module $M
      (memory 2)
      (table $t 10 funcref)
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "grow-table") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
      (func (export "spin") (result i32)
        (drop (memory.grow (i32.const 10)))
        (loop $more (br $more))
        unreachable))
    (core instance $m (instantiate $M))
    (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $m "grow")))
    (func (export "grow-table") (param "elements" u32) (result s32) (canon lift (core func $m "grow-table")))
    (func (export "spin") (result u32) (canon lift (core func $m "spin"))))"""
COMPOSITION = f"""(component
  {HIDDEN}
  (instance $one (instantiate $part))
  (instance $two (instantiate $part))
  (func (export "grow-one") (alias export $one "grow"))
  (func (export "grow-two") (alias export $two "grow"))
  (func (export "grow-table") (alias export $two "grow-table"))
  (func (export "spin") (alias export $two "spin")))"""


async def test_memories_and_tables_are_counted_without_exports(start: Start) -> None:
    async with start(COMPOSITION) as instance:
        assert instance.account.used == 4 * PAGE, "what memories have at first"
        for store in instance.stores:
            if store is not None:
                store.measure()
        tables = 2 * 10 * 8
        assert instance.account.used == 4 * PAGE + tables
        assert await instance.call("grow-one", None, 3) == 2
        assert await instance.call("grow-two", None, 1) == 2
        assert await instance.call("grow-table", None, 1000) == 10
        for store in instance.stores:
            if store is not None:
                store.measure()
        assert instance.account.used == 8 * PAGE + tables + 8000
        budget = instance.account.budget
        assert budget is not None and (budget.used, budget.accounts) == (instance.account.used, 1)
    assert (budget.used, budget.accounts) == (0, 0)


async def test_the_memories_of_a_composition_have_one_limit(start: Start) -> None:
    """Each of the two memories alone could grow to that size."""
    async with start(COMPOSITION, limits=Limits(instance_memory=15 * PAGE)) as instance:
        instance.linked.engine.ticker.tick(0.01)  # causes another measurement
        assert await instance.call("grow-one", None, 9) == 2
        with pytest.raises(Trap, match="the instance may hold at most 960 KiB of memory"):
            await instance.call("spin")


async def test_an_instance_that_starts_beyond_its_limit_is_refused(start: Start) -> None:
    with pytest.raises(Trap, match="the instance may hold at most 192 KiB of memory"):
        async with start(COMPOSITION, limits=Limits(instance_memory=3 * PAGE)):
            pytest.fail("its memories have four pages")
