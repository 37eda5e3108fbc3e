"""The monitor of turns finds the longest turn and its task."""

from __future__ import annotations

import time

import trio

from tests.turns import KEPT, Turns, watched


async def hold_up(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251  the test requires a loop that stands still


async def test_the_longest_turn_is_found_with_its_task() -> None:
    with watched(limit=0.020) as turns:
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold_up, 0.030, name="the culprit")
        await trio.lowlevel.checkpoint()
    longest = turns.longest[0]
    assert turns.seconds == longest.seconds >= 0.030
    assert longest.steps[0][1] == "the culprit"
    assert longest.processor < longest.seconds
    assert turns.late >= 1
    assert turns.count >= 21
    assert len(turns.longest) == KEPT
    assert "the culprit" in str(turns)


async def test_steps_in_one_turn_add_up() -> None:
    with watched() as turns:
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(hold_up, 0.010, name=f"part {number}")
        await trio.lowlevel.checkpoint()
    assert turns.longest[0].seconds >= 0.030
    assert {name for _, name in turns.longest[0].steps} >= {"part 0", "part 1", "part 2"}


async def test_what_was_before_a_reset_is_forgotten() -> None:
    with watched() as turns:
        await trio.lowlevel.checkpoint()
        time.sleep(0.030)  # noqa: ASYNC251
        await trio.lowlevel.checkpoint()
        before = turns.count
        turns.reset()
        assert turns.seconds == 0.0
        await trio.lowlevel.checkpoint()
        assert turns.count < before


def test_as_an_instrument_of_a_loop() -> None:
    turns = Turns()
    trio.run(trio.sleep, 0, instruments=[turns])
    assert turns.count >= 1
