"""The code in a page of documentation."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
#: every page whose code is tried by a test in this folder
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCED = re.compile(r"^( *)```([^\s`]*)[^\n`]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^|\n)\n((?: {4}.*\n)+)")


class Block(NamedTuple):
    """A piece of code; ``language`` is "" where the page does not say, and ``{name}`` what a directive of Sphinx is."""

    language: str
    text: str
    line: int


def own_test(page: Path) -> Path:
    """Where the tests are, if there are any, that try all of the fenced code of this page and no other."""
    return ROOT / "tests" / "docs" / f"test_{page.stem.replace('-', '_')}.py"


def fenced(page: Path) -> list[Block]:
    """The blocks between fences, in order."""
    text = page.read_text("utf-8")
    return [
        Block(match[2], textwrap.dedent(match[3]), text.count("\n", 0, match.start(3)) + 1)
        for match in _FENCED.finditer(text)
    ]


def indented(page: Path) -> list[Block]:
    """The blocks that are set off by four spaces."""
    text = _FENCED.sub(lambda match: "\n" * match[0].count("\n"), page.read_text("utf-8"))
    return [
        Block("", textwrap.dedent(match[1]), text.count("\n", 0, match.start(1)) + 1)
        for match in _INDENTED.finditer(text)
    ]
