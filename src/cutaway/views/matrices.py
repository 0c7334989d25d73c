"""Small matrices side by side, such as W^T W at every density, with a bar beside each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..array_files import Array
from .markup import Markup, join, tag
from .numbers import number
from .svg import short
from .view import View, figure, tip

_CELL_MOST, _SIDE = 16.0, 150.0
_BAR, _GAP = 58.0, 6.0
_INVISIBLE = 0.02


@dataclass(frozen=True, eq=False)
class Matrix:
    """One matrix.

    Raises:
        ValueError: bars or shares that are not as many as the rows.
    """

    title: str
    """Above it."""
    values: Array
    """[row, column]."""
    note: str = ""
    """Below it."""
    bars: Sequence[float] = ()
    """A length for each row, where there are any; 1 fills most of the room."""
    shares: Sequence[float] = ()
    """From 0 to 1, the colour of each bar."""

    def __post_init__(self) -> None:
        for name in ("bars", "shares"):
            given = getattr(self, name)
            if len(given) not in (0, len(self.values)):
                raise ValueError(f"there are {len(given)} {name} for {len(self.values)} rows.")
        if len(self.shares) != len(self.bars):
            raise ValueError("bars and shares go together.")


@dataclass(frozen=True, eq=False)
class MatricesView(View):
    """Matrices as coloured cells, blue positive and orange negative; bars beside the rows.

    Pointing at a cell or a bar gives its number.

    Raises:
        ValueError: no matrices.

    Example:
        >>> MatricesView((Matrix("1", np.eye(2)),), "row", "column").markup().count("cell")
        2
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "superposition")

    matrices: Sequence[Matrix]
    """In the order of reading."""
    row_axis: str = "feature"
    """What the rows are."""
    column_axis: str = "feature"
    """What the columns are."""
    bar_label: str = ""
    """What the bars are."""
    share_label: str = ""
    """What their colours are."""
    limit: float = 1.0
    """The absolute value that gets the full colour."""
    title: str = ""
    """Above them."""
    caption: str = ""
    """Below them. Markup is allowed."""

    def __post_init__(self) -> None:
        if not self.matrices:
            raise ValueError("there is no matrix to draw.")

    def markup(self) -> Markup:
        """The HTML alone."""
        row = tag("div", *map(self._one, self.matrices), class_="ct-planes")
        return figure("ct-toy", self.title, self.caption, row, self._legend())

    def _legend(self) -> Markup:
        ends = (number(-self.limit, 1), "0", number(self.limit, 1, signed=True))
        ticks = tag("span", *(tag("span", end) for end in ends), class_="ticks")
        parts = [tag("span", tag("span", class_="ramp"), ticks, class_="scale")]
        if self.bar_label:
            parts.append(tag("span", f"bars: {self.bar_label}"))
        if self.share_label:
            ends_of_share = tag("span", tag("span", "0"), tag("span", "1"), class_="ticks")
            parts.append(
                tag("span", tag("span", class_="ramp share"), ends_of_share, class_="scale small")
            )
            parts.append(tag("span", self.share_label))
        return tag("div", *parts, class_="ct-legend")

    def _one(self, matrix: Matrix) -> Markup:
        n_rows, n_columns = matrix.values.shape
        size = min(_CELL_MOST, _SIDE / max(n_rows, n_columns))
        width, height = n_columns * size, n_rows * size
        cells = [
            self._cell(matrix, row, column, size)
            for row, column in np.ndindex(n_rows, n_columns)
            if abs(matrix.values[row, column]) >= _INVISIBLE * self.limit
        ]
        ground = tag("path", class_="ground", d=_box(0, 0, width, height))
        bars = [self._bar(matrix, row, size, width) for row in range(len(matrix.bars))]
        whole = width + (_GAP + _BAR if len(matrix.bars) else 0)
        drawing = tag(
            "svg",
            join(ground, *cells, *bars),
            viewBox=f"0 0 {short(whole)} {short(height)}",
            width=short(whole),
            height=short(height),
            role="group",
            aria_label=f"{matrix.title}: {matrix.note}",
            class_="walk",
        )
        note = tag("span", matrix.note, class_="note")
        return tag("div", tag("span", matrix.title, class_="name"), drawing, note, class_="plane")

    def _cell(self, matrix: Matrix, row: int, column: int, size: float) -> Markup:
        value = float(matrix.values[row, column])
        share = min(1.0, abs(value) / self.limit)
        where = f"{self.row_axis} {row}, {self.column_axis} {column}"
        return tag(
            "path",
            class_=f"cell {'negative' if value < 0 else 'positive'}",
            d=_box(column * size, row * size, size, size),
            style=f"--t:{share:.2f}",
            data_tip=tip(where, number(value)),
        )

    def _bar(self, matrix: Matrix, row: int, size: float, start: float) -> Markup:
        length, share = float(matrix.bars[row]), min(1.0, float(matrix.shares[row]))
        lines = (
            f"{self.row_axis} {row}",
            f"{self.bar_label} {number(length)}",
            f"{self.share_label} {number(float(matrix.shares[row]))}",
        )
        return tag(
            "path",
            class_="bar",
            d=_box(start + _GAP, row * size + 0.5, min(_BAR, 0.8 * _BAR * length), size - 1),
            style=f"--t:{share:.2f}",
            data_tip=tip(*lines),
        )


def _box(x: float, y: float, width: float, height: float) -> str:
    """A rectangle as a path."""
    return f"M{short(x)} {short(y)}h{short(width)}v{short(height)}h{short(-width)}z"
