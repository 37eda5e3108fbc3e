"""Tests call exports through their bindings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bindgen.support import HERE, Written, assembled
from wasi_trio import LinkError, Trap
from wasi_trio.testing import LoadError, exports

TRAPS = """(component
  (core module $M (func (export "boom") unreachable))
  (core instance $m (instantiate $M))
  (func (export "boom") (canon lift (core func $m "boom"))))"""


@pytest.fixture
def bindings(tmp_path: Path) -> Any:
    written = Written(tmp_path)
    yield written
    written.forget()


async def test_calls(bindings: Written) -> None:
    made = bindings(HERE / "math.wit")
    async with exports(made.Client, assembled("math.wat")) as app:
        assert await app.math.add(1, 2) == 3
        async with await app.math.Counter(1) as counter:
            assert await counter.next() == 2
    with pytest.raises(Trap, match="the instance is closed"):
        await app.math.add(1, 2)


async def test_what_it_imports(bindings: Written) -> None:
    made = bindings(HERE / "desk.wit")
    with pytest.raises(LoadError, match=r"acme:desk/desk@1\.2\.0 mirror: Host\.mirror takes 0 where WIT has 2"):
        async with exports(made.Client, desk_guest(), imports=made.imports(desk=Host)):
            raise AssertionError("it was linked")


class Host:
    def mirror(self) -> None: ...


def desk_guest() -> bytes:
    from tests.bindgen.test_imports import guest

    return guest("mirror")


async def test_a_trap(bindings: Written) -> None:
    made = bindings("package a:b; world w { export boom: func(); }")
    with pytest.raises(Trap, match="unreachable"):
        async with exports(made.Client, TRAPS) as app:
            await app.boom()


async def test_another_component(bindings: Written) -> None:
    made = bindings("package a:b; world w { export bang: func(); }")
    with pytest.raises(LinkError, match=r"^the component does not export bang$"):
        async with exports(made.Client, TRAPS):
            raise AssertionError("it has no such export")
