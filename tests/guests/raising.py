"""Host functions that raise exceptions which are not an Exception, for the guests host_call and p3_host_call."""

from __future__ import annotations

import trio

#: Numbers in the path: raised at once, in a coroutine's first step, in a later step, and beside another task.
AT_ONCE, FIRST, LATER, IN_NURSERY = 1, 101, 102, 103
PLACES = (AT_ONCE, FIRST, LATER, IN_NURSERY)


class Own(BaseException):
    """An exception class of a user."""


def a_group() -> BaseException:
    """Return a group of several exceptions."""
    return BaseExceptionGroup("several", [ValueError("one"), Own("two"), SystemExit(3)])


class Raising:
    """acme:host/work: raises one exception after another. A number that is not listed above returns."""

    def __init__(self) -> None:
        self._calls = 0

    def _next(self) -> BaseException:
        self._calls += 1
        kinds = (SystemExit(3), GeneratorExit(), Own("mine"), a_group())
        return kinds[self._calls % len(kinds)]

    def work(self, which: int) -> None:
        if which == AT_ONCE:
            raise self._next()

    async def later(self, which: int) -> None:
        if which == FIRST:
            raise self._next()
        await trio.lowlevel.checkpoint()
        if which == LATER:
            raise self._next()
        if which == IN_NURSERY:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise self._next()
