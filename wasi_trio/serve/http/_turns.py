"""Functions for the event loop's next turn."""

from __future__ import annotations

from collections.abc import Callable

import trio

from wasi_trio._texts import get_logger

logger = get_logger("wasi_trio.serve")


class Turns:
    """Calls functions in the event loop's next turn, after the currently runnable tasks.

    By then a guest that answers without waiting has completed its response. One task serves a whole server, because
    waking a task costs more than most of these functions.
    """

    def __init__(self) -> None:
        self._queue: list[Callable[[], None]] = []
        self._task: trio.lowlevel.Task | None = None
        self._parked = False

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in the next turn. Log an exception that it raises."""
        self._queue.append(function)
        if self._parked and self._task is not None:
            self._parked = False
            trio.lowlevel.reschedule(self._task)

    async def run(self) -> None:
        """Call functions until cancelled."""
        self._task = trio.lowlevel.current_task()
        try:
            while True:
                while self._queue:
                    queue, self._queue = self._queue, []
                    for function in queue:
                        self._call(function)
                    await trio.lowlevel.checkpoint()
                self._parked = True
                await trio.lowlevel.wait_task_rescheduled(self._abort)
        finally:
            self._task = None

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._parked = False
        return trio.lowlevel.Abort.SUCCEEDED

    @staticmethod
    def _call(function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            logger.exception("The work of a connection failed")
