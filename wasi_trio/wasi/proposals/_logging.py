"""wasi:logging 0.1.0-draft: ``logging``, based on Python's ``logging``."""

from __future__ import annotations

import logging
from typing import Final

from wasi_trio._texts import get_logger, shown
from wasi_trio.wasi._context import WasiContext

#: Python's ``logging`` lacks this level; the number is a common choice
TRACE: Final = 5
_LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
#: maximum characters of a context in the log
MOST_CONTEXT: Final = 128

logging.addLevelName(TRACE, "TRACE")
logger = get_logger("wasi_trio.guest")


class Logging:
    """The interface wasi:logging/logging. A message becomes one line, truncated like all texts of guests.

    A record has the guest's context as ``context``. A message below the log level costs only the check.
    """

    def __init__(self, context: WasiContext) -> None:
        self._about = context.about

    def log(self, level: str, context: str, message: str) -> None:
        number = _LEVELS[level]
        if not logger.isEnabledFor(number):
            return
        if not context:
            logger.log(number, "%s", message, extra={"context": "", "about": self._about})
            return
        shortened = shown(context, MOST_CONTEXT)
        extra = {"context": shortened, "about": {**self._about, "context": shortened}}
        logger.log(number, "%s: %s", shortened, message, extra=extra)
