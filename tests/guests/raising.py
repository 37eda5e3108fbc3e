"""Host functions that raise what is no Exception, for the guests host_call and p3_host_call."""

from __future__ import annotations

import trio

#: numbers in the path: raised at once, in the first step of a coroutine, in a later one, and beside another task
AT_ONCE, FIRST, LATER, IN_NURSERY = 1, 101, 102, 103
PLACES = (AT_ONCE, FIRST, LATER, IN_NURSERY)


class Own(BaseException):
    """What a user's code may have of its own."""


def a_group() -> BaseException:
    """Several at once."""
    return BaseExceptionGroup("several", [ValueError("one"), Own("two"), SystemExit(3)])


class Raising:
    """acme:host/work: raises one kind after the other; a number that is none of the above returns."""

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
