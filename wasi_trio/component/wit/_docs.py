"""Doc comments in WIT, ``/// ...`` and ``/** ... */``, which precede the documented item ("Comments" in WIT.md)."""

from __future__ import annotations

import re
import textwrap

_edge = re.compile(r"/\*|\*/")


def doc_comment(trivia: str) -> str:
    """Return the text of the doc comments between two tokens, or "".

    ``trivia`` consists of white space and comments. Other comments are skipped.
    """
    if "/" not in trivia:
        return ""
    lines: list[str] = []
    position = trivia.find("/")
    while position >= 0:
        if trivia.startswith("//", position):
            end = trivia.find("\n", position)
            end = len(trivia) if end < 0 else end
            if trivia.startswith("///", position) and not trivia.startswith("////", position):
                lines.append(trivia[position + 3 : end].rstrip())
        else:
            end = _block_end(trivia, position)
            if trivia.startswith("/**", position) and not trivia.startswith(("/**/", "/***"), position):
                lines += _block_lines(trivia[position + 3 : end - 2])
        position = trivia.find("/", end)
    return textwrap.dedent("\n".join(lines)).strip("\n").strip()


def _block_end(trivia: str, start: int) -> int:
    depth = 0
    for edge in _edge.finditer(trivia, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise AssertionError("the lexer has seen the end of every comment")


def _block_lines(content: str) -> list[str]:
    """Return the lines of a block comment, without the optional star at the start of all lines but the first."""
    first, *others = content.split("\n")
    if others and all(line.lstrip().startswith("*") or not line.strip() for line in others):
        others = [line.lstrip().removeprefix("*") for line in others]
    return [line.rstrip() for line in (f" {first.strip()}" if others else first, *others)]
