"""Python text in the layout of ``ruff format``, so that generated files need no formatter."""

from __future__ import annotations

import json
from collections.abc import Sequence

WIDTH = 120
INDENT = "    "

#: protects unbreakable long lines from a formatter
_FMT_SKIP = "  # fmt: skip"


def indented(lines: Sequence[str]) -> list[str]:
    return [INDENT + line if line else "" for line in lines]


def string(text: str) -> str:
    """Return a literal in double quotes."""
    # JSON's escapes are valid in Python, except for characters beyond the first plane, which JSON encodes as
    # surrogates.
    return json.dumps(text) if text.isascii() else repr(text)


def docstring(text: str) -> list[str]:
    """Return a docstring with any text, escaped so that the text cannot end it."""
    text = text.expandtabs(4).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    text = "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
    lines = [line.rstrip() for line in text.strip().split("\n")]
    if lines[0].startswith('"'):
        lines[0] = f" {lines[0]}"
    if len(lines) == 1 and not lines[0].endswith('"'):
        return [f'"""{lines[0]}"""']
    return [f'"""{lines[0]}', *lines[1:], '"""']


def bracketed(head: str, items: Sequence[str], tail: str, depth: int = 0) -> list[str]:
    """Return ``head``, items and ``tail``, where ``head`` ends and ``tail`` begins with a bracket.

    The result is one line if it fits, else it has one line for each item. ``depth`` is its indentation level.
    """
    flat = f"{head}{', '.join(items)}{tail}"
    if len(flat) + depth * len(INDENT) <= WIDTH or not items:
        return [flat if len(flat) + depth * len(INDENT) <= WIDTH else flat + _FMT_SKIP]
    lines = [head, *(f"{INDENT}{item}," for item in items), tail]
    if any(len(line) + depth * len(INDENT) > WIDTH for line in lines):
        lines[-1] += _FMT_SKIP
    return lines


def function(head: str, parameters: Sequence[str], result: str, body: Sequence[str], depth: int = 0) -> list[str]:
    """Return a function. ``head`` is ``def name`` or ``async def name``. A body of ``...`` follows the colon."""
    if list(body) == ["..."]:
        return bracketed(f"{head}(", parameters, f") -> {result}: ...", depth)
    return [*bracketed(f"{head}(", parameters, f") -> {result}:", depth), *indented(body)]


def assignment(head: str, operands: Sequence[str], depth: int = 0) -> list[str]:
    """Return an assignment of a union of operands. ``head`` is for example ``name = ``."""
    room = WIDTH - depth * len(INDENT)
    flat = " | ".join(operands)
    if len(head) + len(flat) <= room:
        return [head + flat]
    if len(operands) == 1:
        return [head + flat + _FMT_SKIP]
    if len(INDENT) + len(flat) <= room:
        return [f"{head}(", INDENT + flat, ")"]
    lines = [f"{head}(", INDENT + operands[0], *(f"{INDENT}| {operand}" for operand in operands[1:]), ")"]
    if any(len(line) > room for line in lines):
        lines[-1] += _FMT_SKIP
    return lines


def spaced(blocks: Sequence[Sequence[str]], lines_between: int) -> list[str]:
    """Return the blocks, with empty lines between them. Empty blocks are omitted."""
    found: list[str] = []
    for block in blocks:
        if block:
            if found:
                found += [""] * lines_between
            found += block
    return found


def import_from(module: str, names: Sequence[str]) -> list[str]:
    flat = f"from {module} import {', '.join(names)}"
    if len(flat) <= WIDTH:
        return [flat]
    return [f"from {module} import (", *(f"{INDENT}{name}," for name in names), ")"]


def comments(docs: str) -> list[str]:
    """Return doc comments as Python comments."""
    if not docs:
        return []
    lines = [line.expandtabs(4).rstrip() for line in docs.split("\n")]
    lines = ["".join(character if character.isprintable() else "?" for character in line) for line in lines]
    return [f"#: {line}" if line else "#:" for line in lines]


def import_lines(modules: dict[str, list[str]]) -> list[str]:
    """Return ``from`` statements in the order of linters: distant relative imports first, names sorted by case."""
    lines: list[str] = []
    for module in sorted(modules, key=lambda name: (-len(name) + len(name.lstrip(".")), name)):
        names = sorted(set(modules[module]), key=_import_order)
        plain = [name for name in names if " as " not in name]
        groups = [[name] for name in names if " as " in name] + ([plain] if plain else [])
        for group in sorted(groups, key=lambda group: _import_order(group[0])):
            lines += import_from(module, group)
    return lines


def _import_order(name: str) -> tuple[int, str]:
    first = name.partition(" ")[0]
    kind = 0 if first.isupper() and len(first) > 1 else 1 if first[0].isupper() else 2
    return kind, name
