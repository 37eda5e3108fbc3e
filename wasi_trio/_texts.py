"""Texts whose words others have chosen (a guest, a component, a client), as logs, messages and terminals show them.

Such a text can neither end a line that is ours nor steer a terminal, and it is cut. Loggers of ``get_logger`` see to
that for all that is put into their messages.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

#: characters of one text, or of one line of several, that are shown
MOST = 1024
#: lines of one text, such as a backtrace
MOST_LINES = 64
#: lines of the traceback of a failure in Python
_TRACEBACK_LINES = 400
#: how a line that goes on with a text is told from one that begins something
INDENT = "    "


def shown(text: str, most: int | None = MOST) -> str:
    """A text in one line: escaped, and cut after ``most`` characters."""
    left_out = 0 if most is None else len(text) - most
    if left_out > 0:
        text = text[:most]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return text if left_out <= 0 else f"{text}... ({left_out} more characters)"


def shown_lines(text: str, indent: str = INDENT, most: int | None = MOST_LINES) -> str:
    """A text that may have several lines: each as ``shown`` has it, those after the first indented.

    Lines beyond ``most``, and those that begin after so many times what a line may have, are left out.
    """
    room = None if most is None else most * MOST
    cut = room is not None and len(text) > room
    lines = (text[:room] if cut else text).split("\n")
    result = [shown(line.removesuffix("\r").expandtabs()) for line in lines[:most]]
    if cut or len(result) < len(lines):
        result.append("...")
    return f"\n{indent}".join(result)


def shown_document(text: str) -> str:
    """A whole text of several lines, WIT for instance: escaped, but for the ends of lines, and not cut."""
    return "\n".join(shown(line.expandtabs(), None) for line in text.split("\n"))


def shown_output(text: str) -> str:
    """A piece of what a guest prints: escaped, but for tabs and the ends of lines, and not cut."""
    pieces = re.split(r"(\r?\n|\t)", text)
    pieces[::2] = [shown(piece, None) for piece in pieces[::2]]
    return "".join(pieces)


class Lines:
    """An argument of a log message that may have several lines."""

    def __init__(self, text: object) -> None:
        self._text = text

    def __str__(self) -> str:
        return shown_lines(str(self._text))


class _Shown:
    """An argument of a log message, as it is shown."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return shown(str(self._value))

    def __repr__(self) -> str:
        return shown(repr(self._value))


def _escape(record: logging.LogRecord) -> bool:
    """Have a record show the texts in it, tracebacks included; a filter that lets everything pass."""
    arguments: Any = record.args
    if isinstance(arguments, tuple):
        record.args = tuple(
            value if isinstance(value, int | float | Lines | _Shown) else _Shown(value) for value in arguments
        )
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        record.exc_text = shown_lines(
            "".join(traceback.format_exception(*record.exc_info)).rstrip(), most=_TRACEBACK_LINES
        )
    return True


def get_logger(name: str) -> logging.Logger:
    """The logger of this name, which shows what its messages are given, whatever is set up for logging."""
    logger = logging.getLogger(name)
    if _escape not in logger.filters:
        logger.addFilter(_escape)
    return logger
