"""Python text, laid out as ``ruff format`` has it: so that neither it nor any other tool is needed for that."""

from __future__ import annotations

import json
from collections.abc import Sequence

WIDTH = 120
INDENT = "    "

#: keeps a formatter from lines that are longer than it would have them and that nothing here can break
_AS_IT_IS = "  # fmt: skip"


def indented(lines: Sequence[str]) -> list[str]:
    return [INDENT + line if line else "" for line in lines]


def string(text: str) -> str:
    """A literal in double quotes."""
    # JSON's escapes are Python's as well, but for characters beyond the first plane, which it writes as surrogates.
    return json.dumps(text) if text.isascii() else repr(text)


def docstring(text: str) -> list[str]:
    """A docstring with this text, which may be anything, and ends nowhere but at its end."""
    text = text.expandtabs(4).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    text = "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
    lines = [line.rstrip() for line in text.strip().split("\n")]
    if lines[0].startswith('"'):
        lines[0] = f" {lines[0]}"
    if len(lines) == 1 and not lines[0].endswith('"'):
        return [f'"""{lines[0]}"""']
    return [f'"""{lines[0]}', *lines[1:], '"""']


def bracketed(head: str, items: Sequence[str], tail: str, depth: int = 0) -> list[str]:
    """``head``, which ends in an opening bracket, items, and ``tail``, which begins with the closing one.

    On one line if it fits, else with an item on each line; ``depth`` is how deep it stands.
    """
    flat = f"{head}{', '.join(items)}{tail}"
    if len(flat) + depth * len(INDENT) <= WIDTH or not items:
        return [flat if len(flat) + depth * len(INDENT) <= WIDTH else flat + _AS_IT_IS]
    lines = [head, *(f"{INDENT}{item}," for item in items), tail]
    if any(len(line) + depth * len(INDENT) > WIDTH for line in lines):
        lines[-1] += _AS_IT_IS
    return lines


def function(head: str, parameters: Sequence[str], result: str, body: Sequence[str], depth: int = 0) -> list[str]:
    """A function; ``head`` is ``def name`` or ``async def name``. A body of ``...`` stands behind the colon."""
    if list(body) == ["..."]:
        return bracketed(f"{head}(", parameters, f") -> {result}: ...", depth)
    return [*bracketed(f"{head}(", parameters, f") -> {result}:", depth), *indented(body)]


def assignment(head: str, operands: Sequence[str], depth: int = 0) -> list[str]:
    """``head`` is ``name = `` or so; the operands have ``|`` between them."""
    room = WIDTH - depth * len(INDENT)
    flat = " | ".join(operands)
    if len(head) + len(flat) <= room:
        return [head + flat]
    if len(operands) == 1:
        return [head + flat + _AS_IT_IS]
    if len(INDENT) + len(flat) <= room:
        return [f"{head}(", INDENT + flat, ")"]
    lines = [f"{head}(", INDENT + operands[0], *(f"{INDENT}| {operand}" for operand in operands[1:]), ")"]
    if any(len(line) > room for line in lines):
        lines[-1] += _AS_IT_IS
    return lines


def spaced(blocks: Sequence[Sequence[str]], lines_between: int) -> list[str]:
    """Blocks of lines with empty lines between them; empty blocks leave no trace."""
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
    """What doc comments say, as comments of Python's."""
    if not docs:
        return []
    lines = [line.expandtabs(4).rstrip() for line in docs.split("\n")]
    lines = ["".join(character if character.isprintable() else "?" for character in line) for line in lines]
    return [f"#: {line}" if line else "#:" for line in lines]


def import_lines(modules: dict[str, list[str]]) -> list[str]:
    """``from`` statements, in the order that linters want: relative ones from the farthest on, names by their case."""
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
