"""Tables of measured values, with comparisons and aims."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value.

    ``beside`` is a floor or a peer: its name, and its value in the same unit. The aims bound the value itself
    (``at_most``, ``at_least``) or its ratio to ``beside`` (``ratio_at_most``, ``ratio_at_least``).
    """

    what: str
    value: float
    unit: str
    beside: tuple[str, float] | None = None
    at_most: float | None = None
    at_least: float | None = None
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.beside[1] if self.beside and self.beside[1] else None

    @property
    def aims(self) -> list[tuple[str, bool]]:
        """Return each aim as text, and whether it is met."""
        aims: list[tuple[str, bool]] = []
        if self.at_most is not None:
            aims.append((f"≤ {number(self.at_most)} {self.unit}", self.value <= self.at_most))
        if self.at_least is not None:
            aims.append((f"≥ {number(self.at_least)} {self.unit}", self.value >= self.at_least))
        if self.ratio is not None:
            if self.ratio_at_most is not None:
                aims.append((f"≤ {self.ratio_at_most:.2f}×", self.ratio <= self.ratio_at_most))
            if self.ratio_at_least is not None:
                aims.append((f"≥ {self.ratio_at_least:.2f}×", self.ratio >= self.ratio_at_least))
        return aims


@dataclass(slots=True)
class Report:
    """The results of one benchmark."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def print(self, console: Console) -> None:
        table = Table(title=self.title, box=box.SIMPLE, title_justify="left", title_style="bold", pad_edge=False)
        for heading, justify in (("", "left"), ("measured", "right"), ("beside", "right"), ("ratio", "right")):
            table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
        table.add_column("aim", overflow="fold")
        for row in self.rows:
            aims = Text(", ").join(Text(text, style="green" if met else "red bold") for text, met in row.aims)
            table.add_row(
                row.what,
                f"{number(row.value)} {row.unit}",
                f"{row.beside[0]} {number(row.beside[1])}" if row.beside else "",
                f"{number(row.ratio)}×" if row.ratio is not None else "",
                aims,
            )
        console.print(table)
        for note in self.notes:
            console.print(note, style="dim")


def number(value: float) -> str:
    """Format a number with three significant digits, and at most as many decimals."""
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"
