"""Safe display of texts from guests, components and clients in logs, messages and terminals.

A displayed text cannot start a new log line and cannot control a terminal. Its length is limited. Loggers of
``get_logger`` apply this to all arguments of their messages.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

#: The maximum number of characters shown of one text, or of one line of several.
MAX_LENGTH = 1024
#: The maximum number of lines shown of one text, such as a backtrace.
MAX_LINES = 64
#: The maximum number of lines shown of a Python traceback.
_TRACEBACK_LINES = 400
#: The indentation that marks a continuation line.
INDENT = "    "


def shown(text: str, most: int | None = MAX_LENGTH) -> str:
    """Return a text as one line: escaped, and cut after ``most`` characters."""
    left_out = 0 if most is None else len(text) - most
    if left_out > 0:
        text = text[:most]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return text if left_out <= 0 else f"{text}... ({left_out} more characters)"


def shown_lines(text: str, indent: str = INDENT, most: int | None = MAX_LINES) -> str:
    """Return a text of several lines. Each line is as by ``shown``, and all but the first are indented.

    Lines after the first ``most``, and text after ``most`` times the maximum length of a line, are left out.
    """
    room = None if most is None else most * MAX_LENGTH
    cut = room is not None and len(text) > room
    lines = (text[:room] if cut else text).split("\n")
    result = [shown(line.removesuffix("\r").expandtabs()) for line in lines[:most]]
    if cut or len(result) < len(lines):
        result.append("...")
    return f"\n{indent}".join(result)


def shown_document(text: str) -> str:
    """Return a whole text of several lines, such as WIT: escaped except for line ends, and not cut."""
    return "\n".join(shown(line.expandtabs(), None) for line in text.split("\n"))


def shown_output(text: str) -> str:
    """Return a part of a guest's output: escaped except for tabs and line ends, and not cut."""
    pieces = re.split(r"(\r?\n|\t)", text)
    pieces[::2] = [shown(piece, None) for piece in pieces[::2]]
    return "".join(pieces)


class Lines:
    """A log argument that may have several lines."""

    def __init__(self, text: object) -> None:
        self._text = text

    def __str__(self) -> str:
        return shown_lines(str(self._text))


class _Shown:
    """A log argument that is escaped and cut when it is formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return shown(str(self._value))

    def __repr__(self) -> str:
        return shown(repr(self._value))


def _escape(record: logging.LogRecord) -> bool:
    """Escape the texts in a record, including its traceback. A filter that passes every record."""
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
    """Return the logger of this name. It escapes all arguments, whatever the logging configuration."""
    logger = logging.getLogger(name)
    if _escape not in logger.filters:
        logger.addFilter(_escape)
    return logger
