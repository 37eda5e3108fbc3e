"""wasi:logging 0.1.0-draft: ``logging``, into Python's ``logging``."""

from __future__ import annotations

import logging
from typing import Final

from wasi_trio._texts import get_logger, shown
from wasi_trio.wasi._context import WasiContext

#: Python's ``logging`` has no such level; this is its usual number
TRACE: Final = 5
_LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
#: characters of a context that are shown
MOST_CONTEXT: Final = 128

logging.addLevelName(TRACE, "TRACE")
logger = get_logger("wasi_trio.guest")


class Logging:
    """The interface wasi:logging/logging. A message becomes one line, and is cut as all texts of guests are.

    A record has the guest's context as ``context``. What no handler wants costs no more than to ask.
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
