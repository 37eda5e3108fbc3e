"""The output of ``wasi_trio inspect``: tables for people, lines for other programs, and JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from wasi_trio._texts import shown, shown_document
from wasi_trio.cli._inspection import CONFIG, KEYVALUE, MET, MISMATCHED, MISSING, NEXT, ImportReport, Inspection

_STYLES = {MET: "green", NEXT: "green", CONFIG: "green", KEYVALUE: "green", MISSING: "red", MISMATCHED: "red"}
_WORDS = {
    NEXT: "met by the next component",
    CONFIG: "met with --config-var",
    KEYVALUE: "met with --keyvalue",
    MISMATCHED: "type mismatch",
}


# ---- for other programs ----------------------------------------------------------------------------------


def as_lines(inspection: Inspection) -> str:
    """Return one fact a line, with fields separated by tabs. After an empty line follows the world as WIT text."""
    lines = "".join("\t".join(shown(str(part)) for part in fact) + "\n" for fact in _facts(inspection))
    return f"{lines}\n{shown_document(inspection.own_wit)}"


def _facts(inspection: Inspection) -> Iterator[tuple[object, ...]]:
    sizes = inspection.sizes
    yield "file", inspection.path
    yield "size", sizes.size
    for target in inspection.targets:
        yield "world", target.world, target.command
    for problem in inspection.problems:
        yield "problem", problem
    for report in inspection.imports:
        yield "import", report.name, report.status, "; ".join(report.details)
    for name in inspection.exports:
        yield "export", name
    for number, module in enumerate(sizes.modules):
        yield "module", number, module.size, module.code, module.data, module.functions, module.name or ""
    for custom in sizes.customs:
        yield "custom", custom.name, custom.size, "" if custom.module is None else custom.module


def as_json(inspection: Inspection) -> str:
    """Return a JSON object with the facts of ``as_lines``, each import's functions, and the whole WIT text."""
    sizes = inspection.sizes
    found: dict[str, Any] = {
        "file": inspection.path,
        "size": sizes.size,
        "worlds": [{"world": target.world, "command": target.command} for target in inspection.targets],
        "problems": inspection.problems,
        "imports": [
            {"name": report.name, "status": report.status, "functions": report.functions, "details": report.details}
            for report in inspection.imports
        ],
        "exports": inspection.exports,
        "modules": [
            {
                "name": module.name,
                "size": module.size,
                "code": module.code,
                "data": module.data,
                "functions": module.functions,
            }
            for module in sizes.modules
        ],
        "custom_sections": [
            {"name": custom.name, "size": custom.size, "module": custom.module} for custom in sizes.customs
        ],
        "components": sizes.components,
        "wit": inspection.wit,
    }
    return json.dumps(found, indent=2) + "\n"


# ---- for people ------------------------------------------------------------------------------------------


def print_tables(inspection: Inspection, console: Console) -> None:
    """Print tables, followed by the world as WIT text."""
    for part in _parts(inspection):
        if isinstance(part, Table):
            console.print()
        console.print(part)
    console.print()
    console.print(Text(shown_document(inspection.own_wit.rstrip())), soft_wrap=True)
    if inspection.own_wit != inspection.wit:
        console.print(Text("\nThe interfaces of WASI are omitted; --wit prints them too.", style="dim"))


def _parts(inspection: Inspection) -> Iterator[RenderableType]:
    sizes = inspection.sizes
    path = shown(inspection.path)
    yield Text.assemble((path, "bold"), f", {decimal(sizes.size)}")
    for target in inspection.targets:
        yield Text.assemble("A component for the command ", (target.command, "bold"), f": {shown(target.world)}")
    if not inspection.targets:
        yield Text("Neither serve nor run accepts it: it exports neither a wasi:http handler nor wasi:cli/run")
    for problem in inspection.problems:
        yield Text(shown(problem), style="red")
    if inspection.imports:
        yield _imports(inspection)
    if inspection.exports:
        exports = _table("Exports", "Name")
        for name in inspection.exports:
            exports.add_row(Text(shown(name)))
        yield exports
    if sizes.modules:
        yield _modules(inspection)
    if sizes.customs:
        yield _customs(inspection)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="left" if number == 0 else "right")
    return table


def _imports(inspection: Inspection) -> Table:
    table = _table("Imports", "Name", "Functions")
    table.add_column("Host", overflow="fold")
    for report in inspection.imports:
        table.add_row(Text(shown(report.name)), str(len(report.functions) or ""), _status(report))
    return table


def _status(report: ImportReport) -> Text:
    text = Text(_WORDS.get(report.status, report.status), style=_STYLES.get(report.status, "yellow"))
    for detail in report.details:
        text.append(f"\n{shown(detail)}")
    return text


def _modules(inspection: Inspection) -> Table:
    table = _table("Core modules", "Name", "Size", "Code", "Data", "Functions")
    for number, module in enumerate(inspection.sizes.modules):
        name = Text(f"{number}")
        if module.name:
            name.append(f" {shown(module.name)}", style="bold")
        table.add_row(name, decimal(module.size), decimal(module.code), decimal(module.data), str(module.functions))
    return table


def _customs(inspection: Inspection) -> Table:
    """Return a table of custom sections. Sections of the same name are added up: each core module has some."""
    table = _table("Custom sections", "Name", "Number", "Size")
    totals: dict[str, list[int]] = {}
    for custom in inspection.sizes.customs:
        totals.setdefault(custom.name, []).append(custom.size)
    for name, found in totals.items():
        table.add_row(Text(shown(name)), str(len(found)), decimal(sum(found)))
    return table
