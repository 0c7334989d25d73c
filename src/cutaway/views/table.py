"""A table of text, numbers with their intervals, and shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from ..evidence import Interval
from .markup import Markup, classes, tag
from .numbers import interval_markup, number
from .view import View, figure

# From these shares on, figures on the shade are black in the dark theme, white in the light.
HALF, STRONG = 0.54, 0.695


@dataclass(frozen=True)
class Share:
    """A number from 0 to 1, shown on a shade of the colour that attention has."""

    value: float


Cell: TypeAlias = "str | int | float | Interval | Share | None"


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    name: str
    """Its heading."""
    align: Literal["left", "right"] = "left"
    """How its text stands; numbers are always set on the right."""
    digits: int = 2
    """Decimals of its numbers."""


@dataclass(frozen=True, eq=False)
class TableView(View):
    """Rows under headed columns; the table scrolls in its own box where it is too wide.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.

    Example:
        >>> table = TableView(("head", "effect"), [("9.9", Interval(0.4, 0.3, 0.5, 0.95, 64))])
        >>> "[0.30, 0.50]" in table.markup()
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "table")

    columns: Sequence[Column | str]
    """The heads, from the left; a string is a column of that name."""
    rows: Sequence[Sequence[Cell]]
    """Text, markup, numbers, intervals, shares, or None for an empty cell."""
    title: str = ""
    """Above the table."""
    caption: str = ""
    """Below it. Markup is allowed."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"The row {row!r} has {len(row)} cells, but there are "
                    f"{len(self.columns)} columns."
                )

    def markup(self) -> Markup:
        """The HTML alone."""
        columns = [Column(one) if isinstance(one, str) else one for one in self.columns]
        heads = (
            tag("th", column.name, scope="col", class_=self._head_class(place, column))
            for place, column in enumerate(columns)
        )
        rows = (
            tag("tr", *(_cell(cell, one) for cell, one in zip(row, columns, strict=True)))
            for row in self.rows
        )
        table = tag(
            "table",
            tag("thead", tag("tr", *heads)),
            tag("tbody", *rows),
            class_="ct-table",
            aria_label=self.title or None,
        )
        # Reachable by keyboard, so that a table wider than the window can be scrolled.
        scroll = tag(
            "div", table, class_="ct-scroll", tabindex=0, role="region", aria_label="Table"
        )
        return figure("ct-table-figure", self.title, self.caption, scroll)

    def _head_class(self, place: int, column: Column) -> str | None:
        cells = [row[place] for row in self.rows if row[place] is not None]
        if cells and all(isinstance(cell, Share) for cell in cells):
            return "right share"
        is_numeric = bool(cells) and not any(isinstance(cell, str) for cell in cells)
        return "right" if is_numeric or column.align == "right" else None


def _cell(cell: Cell, column: Column) -> Markup:
    if isinstance(cell, Share):
        style = f"--share:{min(1.0, max(0.0, cell.value)):.3f}"
        kind = classes("right share", half=cell.value > HALF, strong=cell.value > STRONG)
        text = tag("span", number(cell.value), class_="on-colour")
        return tag("td", text, class_=kind, style=style)
    if isinstance(cell, Interval):
        return tag("td", interval_markup(cell, column.digits), class_="right")
    if cell is None or isinstance(cell, str):
        return tag("td", cell, class_="right" if column.align == "right" else None)
    figures = str(cell) if isinstance(cell, int) else number(cell, column.digits)
    return tag("td", figures, class_="right")
