"""User code that raises BaseExceptions: it ends the guest's call, and other calls continue."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from tests.e2e.support import engine, serve, until
from tests.guests import wat
from tests.guests.raising import Own, a_group
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._containment import ContainedError, contained, split
from wasi_trio.serve._loading import link
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._outcomes import Retirement

GUESTS = ["host_call", "p3_host_call"]


KINDS: list[Any] = [lambda: SystemExit(3), GeneratorExit, lambda: Own("mine"), a_group]
NAMES = ["SystemExit", "GeneratorExit", "Own", "a group"]


class Work:
    """acme:host/work. Each path other than /0 and /100 raises the exception from ``make``."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def work(self, which: int) -> None:
        if which:
            raise self._make()

    async def later(self, which: int) -> None:
        if which == 101:
            raise self._make()
        await trio.lowlevel.checkpoint()
        if which == 102:
            raise self._make()
        if which == 103:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise self._make()


def guest(name: str, implementation: Any) -> LinkedComponent:
    return link(engine(), wat.load(name), name, Imports({"acme:host/work": implementation}))


@pytest.mark.parametrize("make", KINDS, ids=NAMES)
@pytest.mark.parametrize("name", GUESTS)
async def test_a_host_function_only_ends_its_own_call(name: str, make: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(guest(name, Work(make))) as site:
        for path in ("/1", "/101", "/102", "/103"):
            caplog.clear()
            assert (await site.ask(path)).status == 500
            assert "raise self._make()" in caplog.text
            assert __file__ in caplog.text
            assert (await site.ask("/0")).status in (200, 204)
            assert (await site.ask("/100")).status in (200, 204)


@pytest.mark.parametrize("name", GUESTS)
async def test_an_interface_that_cannot_be_created(name: str, caplog: pytest.LogCaptureFixture) -> None:
    made = []

    class Exits(Work):
        def __init__(self, context: object) -> None:
            made.append(context)
            if len(made) == 1:
                raise SystemExit(3)

    async with serve(guest(name, Exits)) as site:
        assert (await site.ask("/0")).status == 500
        assert "raise SystemExit(3)" in caplog.text
        assert (await site.ask("/0")).status in (200, 204)


@pytest.mark.parametrize("make", KINDS, ids=NAMES)
@pytest.mark.parametrize("name", GUESTS)
async def test_a_background_task_only_ends_its_own_instance(
    name: str, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Background(Work):
        def __init__(self, context: Any) -> None:
            self._context = context

        async def later(self, which: int) -> None:
            if which == 101:
                self._context.nursery.start_soon(self._fail)
                await trio.sleep_forever()

        async def _fail(self) -> None:
            raise make()

    async with serve(guest(name, Background)) as site:
        assert (await site.ask("/101")).status == 500
        assert "raise make()" in caplog.text
        assert (await site.ask("/100")).status in (200, 204)


class Failing:
    """A listener that always fails."""

    def instance_started(self, number: int) -> None:
        raise SystemExit(3)

    def began(self, instance: int) -> None:
        raise Own

    def instance_ended(self, number: int, reason: Retirement) -> None:
        raise GeneratorExit

    def idle(self) -> None:
        raise ValueError


async def test_a_failing_listener_affects_no_request(caplog: pytest.LogCaptureFixture) -> None:
    async with serve("hello", HandlerOptions(listeners=[lambda name: Failing()])) as site:
        assert (await site.ask()).status == 200
        await site.all_gone()
        await until(lambda: caplog.text.count("A listener failed") >= 4)
        assert (await site.ask()).status == 200


def test_keyboard_interrupt_and_cancelled_are_passed_on() -> None:
    interrupt = KeyboardInterrupt()
    assert contained(interrupt) is interrupt
    assert split(interrupt) == (None, interrupt)
    own, passing = split(BaseExceptionGroup("", [interrupt, ValueError("a"), SystemExit(1)]))
    assert isinstance(own, ContainedError)
    assert isinstance(own.raised, BaseExceptionGroup)
    assert isinstance(passing, BaseExceptionGroup)
    assert passing.exceptions == (interrupt,)


def test_the_text_of_the_exception_is_logged() -> None:
    error = contained(SystemExit("no configuration"))
    assert isinstance(error, ContainedError)
    assert str(error) == "SystemExit was raised for a guest, which ends only the guest's call: no configuration"
    assert logging.Formatter().formatException((type(error), error, None)).startswith("SystemExit: no configuration")
