"""A parser of the instructions of a Dockerfile."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """An instruction. ``word`` is its first word, and ``text`` the rest in one line."""

    word: str
    text: str

    @property
    def exec_form(self) -> list[str]:
        """The command of an instruction in exec form, without options."""
        words: list[str] = json.loads(self.text[self.text.index("[") :])
        return words


def instructions(path: Path) -> list[Instruction]:
    """Return the instructions of all stages, in order."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line]
