"""A matrix of numbers as coloured cells: layers by positions, layers by heads, layers by tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .markup import Markup, classes, join, tag
from .numbers import bracket, excludes_zero, number
from .view import Part, View, figure, part_markup, parts_need, tip

Floats = NDArray[np.floating]

# More columns than this and the numbers no longer fit into their cells.
_MOST_LABELLED_COLUMNS = 8
# With more columns than this the cells are small, so that the map fits on a page.
_MOST_WIDE_COLUMNS = 24
# Longer labels than this stand at an angle.
_LONGEST_LEVEL_LABEL = 4
# Values all below this are rounding noise, and are left uncoloured instead of in full colour.
_SMALLEST_LIMIT = 1e-9
# From these shares of the limit on, the figures in a cell turn from white to black (dark theme,
# "half") and from black to white (light theme, "strong"), so that they stand out by 4.5 to 1.
TURNS = {"positive": (0.505, 0.715), "negative": (0.49, 0.80)}


@dataclass(frozen=True, eq=False)
class HeatmapView(View):
    """Cells coloured by a diverging scale centred at 0: blue positive, orange negative.

    Hovering, focusing (arrow keys) or tapping a cell shows its value and interval. Cells whose
    interval includes 0 shrink, until the reader asks for them in full. A cell that has details
    shows them below the map when it is clicked, or at Enter; Escape closes them.

    Raises:
        ValueError: the labels or intervals do not fit the values, only one end is given, or there
            are details of a cell that is not there.

    Example:
        >>> view = HeatmapView(np.eye(2), ("0", "1"), ("S2", "END"), row_axis="layer")
        >>> view.page_html().startswith("<!doctype html>")
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "heatmap", "grid")

    values: Floats
    """[row, column]; NaN means that the cell was not measured."""
    row_labels: Sequence[str]
    """One for each row, from the top."""
    column_labels: Sequence[str]
    """One for each column."""
    low: Floats | None = None
    """[row, column], the lower ends of the intervals; `high` goes with it."""
    high: Floats | None = None
    """[row, column], the upper ends."""
    title: str = ""
    """Above the map."""
    caption: str = ""
    """Below it: what is measured, its normalisation and sign. Markup is allowed."""
    row_axis: str = ""
    """What the rows are, such as "layer"."""
    column_axis: str = ""
    """What the columns are."""
    value_label: str = ""
    """Beside the colour legend: the quantity and its unit."""
    limit: float | None = None
    """The colours run from -limit to limit; None means the largest absolute value."""
    cell_labels: bool | None = None
    """Write each value into its cell; None does so where it can be read."""
    interval_name: str = "95% interval"
    """What the intervals are."""
    legend: bool = True
    """False where a map beside it, in a `Beside`, has the legend and the switch for both."""
    details: Mapping[tuple[int, int], Part] | None = None
    """(row, column) to what a click on that cell shows: a view, markup, or a paragraph."""

    def __post_init__(self) -> None:
        expected = (len(self.row_labels), len(self.column_labels))
        for name in ("values", "low", "high"):
            array = getattr(self, name)
            if array is not None and np.shape(array) != expected:
                raise ValueError(
                    f"{name} has the shape {np.shape(array)}, but there are {expected[0]} row "
                    f"labels and {expected[1]} column labels."
                )
        if (self.low is None) != (self.high is None):
            raise ValueError("An interval needs both its ends: give low and high, or neither.")
        if self.limit is not None and not self.limit > 0:
            raise ValueError(f"limit={self.limit} is not positive.")
        outside = [at for at in self.details or {} if not _is_within(at, expected)]
        if outside:
            raise ValueError(
                f"There are details of the cell {outside[0]}, but the map has {expected[0]} rows "
                f"and {expected[1]} columns."
            )

    def needs(self) -> tuple[str, ...]:
        """The assets of the map and of all its details."""
        if not self.details:
            return super().needs()
        return (*super().needs(), "heatmap_details", *parts_need(tuple(self.details.values())))

    def markup(self) -> Markup:
        """The HTML alone."""
        table = tag(
            "table",
            tag("thead", self._column_head()),
            tag("tbody", *(self._row(row) for row in range(len(self.row_labels)))),
            role="grid",
            aria_label=self.title or "map",
            class_=classes("ct-map", labelled=self._labelled(), compact=self._compact()),
        )
        scroll = tag("div", table, class_="ct-scroll")
        return figure(
            "ct-heatmap",
            self.title,
            self.caption,
            scroll,
            self._legend() if self.legend else None,
            self._details(),
        )

    def colour_limit(self) -> float:
        """The absolute value that gets the full colour."""
        if self.limit is not None:
            return self.limit
        finite = np.abs(np.asarray(self.values)[np.isfinite(self.values)])
        largest = float(finite.max(initial=0.0))
        return largest if largest > _SMALLEST_LIMIT else 1.0

    def _labelled(self) -> bool:
        if self.cell_labels is not None:
            return self.cell_labels
        return len(self.column_labels) <= _MOST_LABELLED_COLUMNS

    def _compact(self) -> bool:
        return len(self.column_labels) > _MOST_WIDE_COLUMNS and not self._labelled()

    def _column_head(self) -> Markup:
        longest = max(map(len, self.column_labels), default=0)
        turned = longest > (2 if self._compact() else _LONGEST_LEVEL_LABEL)
        corner = tag("th", tag("span", self.row_axis), class_="corner", scope="col")
        cells = [
            tag("th", tag("span", label), scope="col", data_column=column)
            for column, label in enumerate(self.column_labels)
        ]
        style = f"--longest:{min(longest, 16)}" if turned else None
        names = tag("tr", corner, *cells, class_="turned" if turned else None, style=style)
        if not self.column_axis:
            return names
        axis = tag("th", self.column_axis, colspan=len(self.column_labels), class_="axis")
        return join(tag("tr", tag("td"), axis, aria_hidden="true"), names)

    def _row(self, row: int) -> Markup:
        cells = (self._cell(row, column) for column in range(len(self.column_labels)))
        return tag("tr", tag("th", self.row_labels[row], scope="row"), *cells)

    def _cell(self, row: int, column: int) -> Markup:
        value = float(self.values[row, column])
        share = 0.0 if np.isnan(value) else min(1.0, abs(value) / self.colour_limit())
        return tag(
            "td",
            tag("span", number(value), class_="on-colour"),
            class_=_cell_class(value, share, self._is_unsure(row, column)),
            style=f"--t:{share:.3f}".rstrip("0").rstrip("."),
            data_tip=self._tip(row, column),
            data_column=column,
            tabindex=0 if row == column == 0 else -1,
            data_opens=f"{row}-{column}" if (row, column) in (self.details or {}) else None,
        )

    def _details(self) -> Markup | None:
        """One fold for each cell that has details; the script shows one at a time."""
        if not self.details:
            return None
        folds = [
            tag(
                "details",
                tag("summary", self._place(*at)),
                tag("div", part_markup(part), class_="ct-details-body"),
                class_="ct-details",
                data_cell=f"{at[0]}-{at[1]}",
            )
            for at, part in sorted(self.details.items(), key=lambda item: item[0])
        ]
        hint = "Click a cell with a dot, or press Enter on it, for its details."
        return tag("div", tag("p", hint, class_="hint"), *folds, class_="ct-map-details")

    def _is_unsure(self, row: int, column: int) -> bool:
        if self.low is None or self.high is None or np.isnan(self.values[row, column]):
            return False
        return not excludes_zero(float(self.low[row, column]), float(self.high[row, column]))

    def _tip(self, row: int, column: int) -> str:
        value = float(self.values[row, column])
        if np.isnan(value):
            return tip(self._place(row, column), "not measured")
        lines = [self._place(row, column), f"{number(value, 3)} {self.value_label}".strip()]
        if self.low is not None and self.high is not None:
            ends = bracket(float(self.low[row, column]), float(self.high[row, column]), 3)
            lines.append(f"{self.interval_name} {ends}")
        if self._is_unsure(row, column):
            lines.append("The interval includes 0.")
        return tip(*lines)

    def _place(self, row: int, column: int) -> str:
        """What a cell is called, such as "layer 2, head 5"."""
        return ", ".join(
            (
                f"{self.row_axis} {self.row_labels[row]}".strip(),
                f"{self.column_axis} {self.column_labels[column]}".strip(),
            )
        )

    def _legend(self) -> Markup:
        limit = self.colour_limit()
        digits = 2 if limit < 10 else 0
        ends = (number(-limit, digits), "0", number(limit, digits, signed=True))
        scale = tag(
            "span",
            tag("span", class_="ramp"),
            tag("span", *(tag("span", end) for end in ends), class_="ticks"),
            class_="scale",
        )
        unit = tag("span", self.value_label, class_="unit") if self.value_label else None
        return tag("div", scale, unit, self._switch(), class_="ct-legend")

    def _switch(self) -> Markup | None:
        if self.low is None:
            return None
        return tag(
            "label",
            tag("input", type="checkbox", checked=True, class_="ct-shrink"),
            tag("span", "small: the interval includes 0"),
            class_="ct-check",
        )


def _cell_class(value: float, share: float, is_unsure: bool) -> str:
    if np.isnan(value):
        return "none"
    sign = "negative" if value < 0 else "positive"
    half, strong = TURNS[sign]
    return classes(sign, half=share > half, strong=share > strong, unsure=is_unsure)


def _is_within(at: tuple[int, int], shape: tuple[int, int]) -> bool:
    return all(0 <= place < size for place, size in zip(at, shape, strict=True))
