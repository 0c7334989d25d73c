"""Figures: arrays in, a matplotlib `Figure` out. Nothing here knows a model or touches pyplot.

The colours are a blue-orange pair that red-green colour blindness leaves apart: blue is positive,
orange is negative, white is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

POSITIVE = "#4a8fcb"
NEGATIVE = "#dd8a3c"
INK = "#1f2933"
PALE = "#b3bcc5"
NO_VALUE = "#d9dee3"

# The stops of the diverging map, from most negative to most positive; symmetric in lightness, so
# that equal sizes look equally strong whatever their sign.
_STOPS = ("#7c2d12", "#c2650e", "#f0aa5c", "#fbe3c6", "#ffffff")
_STOPS_UP = ("#d3e5f5", "#7db0dd", "#2b78bd", "#0a3561")

# Values all below this are rounding noise, and are drawn white instead of in full colour.
_SMALLEST_LIMIT = 1e-9
_MOST_LABELLED_CELLS = 240
_MOST_TICKS = 48
_FONT: dict[str, Any] = {"family": "DejaVu Sans", "color": INK}


def heatmap(
    values: ArrayLike,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str = "",
    *,
    row_axis: str = "",
    column_axis: str = "",
    value_label: str = "",
    limit: float | None = None,
    cell_labels: bool | None = None,
) -> Figure:
    """A matrix as coloured cells, the colour map centred at 0.

    Args:
        values: [row, column]; NaN is drawn as a grey cell without a number.
        row_labels: one for each row, drawn from the top.
        column_labels: one for each column.
        title: above the cells, on the left.
        row_axis: what the rows are, such as "layer".
        column_axis: what the columns are.
        value_label: beside the colour bar: the quantity and its unit.
        limit: the colours run from -limit to limit; None means the largest absolute value
            (1 if all are zero up to rounding).
        cell_labels: write each value into its cell; None does so where they can be read.

    Raises:
        ValueError: the labels do not fit the values, or `values` is not a matrix.

    Example:
        >>> figure = heatmap([[0.0, 0.5], [-0.2, 1.0]], ["0", "1"], ["S2", "END"])
        >>> figure.savefig("heads.png")  # doctest: +SKIP
    """
    cells = np.asarray(values, dtype=np.float64)
    if cells.shape != (len(row_labels), len(column_labels)):
        raise ValueError(
            f"values has the shape {cells.shape}, but there are {len(row_labels)} row labels "
            f"and {len(column_labels)} column labels."
        )
    limit = _limit(cells) if limit is None else limit
    if not limit > 0:
        raise ValueError(f"limit={limit} is not positive.")
    n_rows, n_columns = cells.shape
    if cell_labels is None:
        cell_labels = cells.size <= _MOST_LABELLED_CELLS

    turned = max((len(label) for label in column_labels), default=0) > 4
    cell_width = 0.52 if cell_labels else min(0.36, 9.0 / max(n_columns, 1))
    cell_height = 0.34 if cell_labels else min(0.30, 7.0 / max(n_rows, 1))
    figure, axes = _figure(
        width=max(3.2, 1.9 + cell_width * n_columns), height=1.5 + cell_height * n_rows
    )
    image = axes.imshow(cells, cmap=_colours(), vmin=-limit, vmax=limit, aspect="auto")
    _label_rows_and_columns(axes, row_labels, column_labels, turned)
    _separate_cells(axes, n_rows, n_columns)
    if cell_labels:
        _write_cells(axes, image, cells)
    axes.set_xlabel(column_axis, **_FONT)
    axes.set_ylabel(row_axis, **_FONT)
    _title(axes, title)
    _colour_bar(figure, axes, image, value_label)
    return figure


def bars(
    labels: Sequence[str],
    values: ArrayLike,
    title: str = "",
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    value_label: str = "",
    reference: float | None = None,
    reference_label: str = "",
    muted: Sequence[bool] | None = None,
) -> Figure:
    """One horizontal bar for each label, from the top, with its interval where one is given.

    Args:
        labels: one for each bar.
        values: [bar]; NaN leaves the place empty.
        title: above the bars, on the left.
        low: [bar], the lower ends of the intervals; `high` goes with it.
        high: [bar], the upper ends.
        value_label: under the axis: the quantity and its unit.
        reference: where to draw a dashed line across all bars, such as the mean of a control.
        reference_label: what the dashed line is.
        muted: [bar], true for those drawn in grey, such as the controls.

    Raises:
        ValueError: the lengths differ, or only one end of the intervals is given.

    Example:
        >>> figure = bars(["9.6", "9.9"], [0.6, 0.4], low=[0.5, 0.3], high=[0.7, 0.5])
    """
    lengths = np.asarray(values, dtype=np.float64)
    if lengths.shape != (len(labels),):
        raise ValueError(
            f"values has the shape {lengths.shape}, but there are {len(labels)} labels."
        )
    ends = _ends(low, high, lengths)
    is_muted = np.zeros(len(labels), dtype=bool) if muted is None else np.asarray(muted, dtype=bool)
    if is_muted.shape != lengths.shape:
        raise ValueError(f"muted has {is_muted.size} entries, but there are {len(labels)} labels.")

    longest = max((len(label) for label in labels), default=0)
    figure, axes = _figure(width=4.6 + 0.075 * min(longest, 40), height=1.2 + 0.27 * len(labels))
    places = np.arange(len(labels))
    colours = np.where(is_muted, PALE, np.where(lengths < 0, NEGATIVE, POSITIVE))
    axes.barh(places, lengths, height=0.68, color=colours.tolist())
    if ends is not None:
        axes.hlines(places, ends[0], ends[1], color=INK, linewidth=1.3)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    if reference is not None:
        axes.axvline(reference, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.annotate(
            reference_label,
            (reference, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            **_FONT,
        )
    axes.set_yticks(places, [_visible(label) for label in labels], fontsize=9, **_FONT)
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.grid(axis="x", color=NO_VALUE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.set_xlabel(value_label, **_FONT)
    _title(axes, title)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _picture_class()(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for side in axes.spines.values():
        side.set_visible(False)
    return figure, axes


@cache
def _picture_class() -> type[Figure]:
    from io import BytesIO

    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that shows itself in a notebook without pyplot being loaded."""

        def _repr_png_(self) -> bytes:
            data = BytesIO()
            self.savefig(data, format="png", dpi=110)
            return data.getvalue()

    return Picture


@cache
def _colours() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("cutaway", [*_STOPS, *_STOPS_UP])
    return colours.with_extremes(bad=NO_VALUE)


def _limit(cells: NDArray[np.float64]) -> float:
    finite = np.abs(cells[np.isfinite(cells)])
    largest = float(finite.max(initial=0.0))
    return largest if largest > _SMALLEST_LIMIT else 1.0


def _ends(
    low: ArrayLike | None, high: ArrayLike | None, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if low is None and high is None:
        return None
    if low is None or high is None:
        raise ValueError("An interval needs both its ends: give low and high, or neither.")
    ends = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    for name, end in zip(("low", "high"), ends, strict=True):
        if end.shape != values.shape:
            raise ValueError(f"{name} has the shape {end.shape}, but values has {values.shape}.")
    return ends


def _label_rows_and_columns(
    axes: Axes, row_labels: Sequence[str], column_labels: Sequence[str], turned: bool
) -> None:
    for axis, labels in ((axes.yaxis, row_labels), (axes.xaxis, column_labels)):
        step = max(1, -(-len(labels) // _MOST_TICKS))
        places = range(0, len(labels), step)
        axis.set_ticks(places, [_visible(labels[place]) for place in places], fontsize=9, **_FONT)
    if turned:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(which="both", length=0)


def _separate_cells(axes: Axes, n_rows: int, n_columns: int) -> None:
    if max(n_rows, n_columns) > _MOST_TICKS:
        return
    axes.set_xticks(np.arange(1, n_columns) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, n_rows) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="minor", length=0)


def _write_cells(axes: Axes, image: AxesImage, cells: NDArray[np.float64]) -> None:
    colours = np.asarray(image.cmap(image.norm(cells)))  # [row, column, red green blue alpha]
    for (row, column), value in np.ndenumerate(cells):
        if not np.isfinite(value):
            continue
        red, green, blue, _ = colours[row, column]
        is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        axes.text(
            column,
            row,
            _number(value),
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if is_dark else INK,
        )


def _colour_bar(figure: Figure, axes: Axes, image: AxesImage, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=18)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=INK)
    bar.set_label(label, fontsize=9, **_FONT)


def _title(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, pad=10, **_FONT)


def _number(value: float) -> str:
    """Three figures at most, and a minus sign that is as wide as a plus."""
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    return "0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _visible(label: str) -> str:
    """A token as a reader can see it: a dollar sign is no formula, a line break no empty line."""
    return label.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}").replace("$", r"\$")
