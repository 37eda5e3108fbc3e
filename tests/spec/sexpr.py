"""The parentheses, strings and words of a script, with their positions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


class ScriptError(Exception):
    """The script is malformed, or uses a form that this runner does not support."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Word:
    """A keyword, number or ``$name``."""

    text: str
    line: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class String:
    """A string literal, as bytes."""

    value: bytes
    line: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Form:
    """A form in parentheses, which ``source[start:end]`` includes."""

    items: tuple[Node, ...]
    line: int
    start: int
    end: int

    @property
    def head(self) -> str:
        """The form's first word, or "" if it has none."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Word) else ""


Node: TypeAlias = Word | String | Form

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|;;[^\n]*)
    | (?P<comment>\(;)
    | (?P<open>\()
    | (?P<close>\))
    | (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<word>[^\s()";]+)
    """,
    re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"\(;|;\)")
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F_]+)\}|([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}


def read(source: str) -> list[Node]:
    """Return all top-level nodes of a script. Raises ScriptError."""
    top: list[Node] = []
    stack: list[tuple[int, int, list[Node]]] = []
    current = top
    at, line = 0, 1
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise ScriptError(line, f"unexpected character {source[at]!r}")
        start, at = at, match.end()
        match match.lastgroup:
            case "comment":
                at = _skip_comment(source, at, line)
            case "open":
                stack.append((start, line, current))
                current = []
            case "close":
                if not stack:
                    raise ScriptError(line, "a parenthesis is closed that was not opened")
                opened, opened_line, outer = stack.pop()
                outer.append(Form(tuple(current), opened_line, opened, at))
                current = outer
            case "string":
                current.append(String(_unescape(match[0][1:-1], line), line, start, at))
            case "word":
                current.append(Word(match[0], line, start, at))
        line += source.count("\n", start, at)
    if stack:
        raise ScriptError(stack[-1][1], "a parenthesis is never closed")
    return top


def _skip_comment(source: str, at: int, line: int) -> int:
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(source, at)
        if edge is None:
            raise ScriptError(line, "a comment is never closed")
        depth += 1 if edge[0] == "(;" else -1
        at = edge.end()
    return at


def _unescape(text: str, line: int) -> bytes:
    out = bytearray()
    at = 0
    for escape in _ESCAPE.finditer(text):
        out += text[at : escape.start()].encode()
        at = escape.end()
        scalar, byte, simple = escape.groups()
        if byte is not None:
            out.append(int(byte, 16))
        elif scalar is not None:
            out += chr(int(scalar.replace("_", ""), 16)).encode()
        elif simple in _SIMPLE:
            out += _SIMPLE[simple].encode()
        else:
            raise ScriptError(line, f"unknown escape {escape[0]!r} in a string")
    return bytes(out + text[at:].encode())
