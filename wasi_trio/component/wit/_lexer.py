"""The tokens of WIT and their offsets ("Lexical structure" in WIT.md)."""

from __future__ import annotations

import re
from typing import NamedTuple

from wasi_trio.component._errors import ComponentError
from wasi_trio.component._names import LABEL, SEMVER
from wasi_trio.lazy import Pattern

_KEYWORDS = """
    as async bool borrow char constructor enum export f32 f64 flags from func future import include interface
    list map option own package record resource result s16 s32 s64 s8 static stream string tuple type
    u16 u32 u64 u8 use variant with world
"""
KEYWORDS = frozenset(_KEYWORDS.split())

# A token includes the trivia before it, so each match is one token. Block comments may nest, which a regular expression
# cannot match, so the start of a block comment is a separate token.
_TOKEN = Pattern(
    rf"""(?:[ \t\r\n]++|//[^\n]*+)*+(?:
        (?P<id>%?{LABEL})(?![\w%-])
      | (?P<version>{SEMVER})
      | (?P<integer>[0-9]++)
      | (?P<comment>/\*)
      | (?P<operator>->|[=,:;(){{}}<>*/.@_])
      | (?P<string>"(?:[^"\\\x00-\x1f\x7f]|\\.)*+")
      | (?P<end>\Z)
      | (?P<other>.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = Pattern(r"/\*|\*/")
# Control characters, overrides of the text direction, and characters that Unicode has deprecated.
_FORBIDDEN = Pattern(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
    "\u0149\u0673\u0f77\u0f79\u17a3\u17a4\u17b4\u17b5\u206a-\u206f\u2329\u232a\U000e0001]"
)


class WitError(ComponentError):
    """A WIT text that breaks the grammar or does not resolve. ``line`` and ``column`` count from 1.

    ``str(error)`` is one line in the form ``file:line:column: message``.
    """

    def __init__(self, file: str, line: int, column: int, message: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {message}")
        self.file = file
        self.line = line
        self.column = column


class Source:
    """A WIT text and its name in messages."""

    __slots__ = ("name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    def error(self, offset: int, message: str) -> WitError:
        """Return an error that refers to this offset."""
        line = self.text.count("\n", 0, offset) + 1
        column = offset - (self.text.rfind("\n", 0, offset) + 1) + 1
        return WitError(self.name, line, column, message)


class Token(NamedTuple):
    """A token. ``kind`` is a group of the pattern above, or "keyword". ``text`` omits the ``%`` of an identifier."""

    kind: str
    text: str
    offset: int

    def __str__(self) -> str:
        return "the end of the file" if self.kind == "end" else f"`{self.text}`"


def tokens(source: Source) -> list[Token]:
    """Return all tokens of a text. The last has the kind "end". Raises WitError if a character begins no token."""
    text = source.text
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        raise source.error(forbidden.start(), f"the character U+{ord(forbidden[0]):04X} is not allowed in WIT")
    found: list[Token] = []
    resume: int | None = 0
    while resume is not None:
        resume = _collect(source, resume, found)
    return found


def _collect(source: Source, start: int, found: list[Token]) -> int | None:
    """Collect tokens up to the end or to a block comment. Return None or the offset after the comment."""
    for match in _TOKEN.finditer(source.text, start):
        kind = match.lastgroup
        assert kind is not None  # every alternative is a group
        word, offset = match[kind], match.start(kind)
        if kind == "id":
            if word[0] == "%":
                word = word[1:]
            elif word in KEYWORDS:
                kind = "keyword"
        elif kind == "comment":
            return _comment_end(source, offset)
        elif kind == "other":
            raise source.error(offset, _not_a_token(source.text, offset))
        found.append(Token(kind, word, offset))
        if kind == "end":
            return None
    raise AssertionError("the pattern matches at the end of any text")


def _comment_end(source: Source, start: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(source.text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise source.error(start, "this comment is not closed")


def _not_a_token(text: str, start: int) -> str:
    if text[start] == '"':
        return "this string is not closed"
    word = re.compile(r"%?[\w-]*").match(text, start)
    if word is not None and word[0]:
        return f"`{word[0]}` is not a kebab-case name"
    return f"`{text[start]}` has no meaning in WIT"
