"""The code blocks in a page of documentation."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
#: all pages, whose code the tests in this folder run
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCED = re.compile(r"^( *)```([^\s`]*)[^\n`]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^|\n)\n((?: {4}.*\n)+)")


class Block(NamedTuple):
    """A code block. ``language`` is "" if the page does not name it, and ``{name}`` for a Sphinx directive."""

    language: str
    text: str
    line: int


def own_test(page: Path) -> Path:
    """Return the path of the test module for all fenced code of this page alone. It need not exist."""
    return ROOT / "tests" / "docs" / f"test_{page.stem.replace('-', '_')}.py"


def fenced(page: Path) -> list[Block]:
    """Return the fenced blocks, in order."""
    text = page.read_text("utf-8")
    return [
        Block(match[2], textwrap.dedent(match[3]), text.count("\n", 0, match.start(3)) + 1)
        for match in _FENCED.finditer(text)
    ]


def indented(page: Path) -> list[Block]:
    """Return the blocks that are indented by four spaces."""
    text = _FENCED.sub(lambda match: "\n" * match[0].count("\n"), page.read_text("utf-8"))
    return [
        Block("", textwrap.dedent(match[1]), text.count("\n", 0, match.start(1)) + 1)
        for match in _INDENTED.finditer(text)
    ]
