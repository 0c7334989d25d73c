"""Effects as heat maps, whatever their axes; where they are too many, the largest stand for all."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .heatmap import HeatmapView
from .measurement_data import Arrays, Floats, Measured
from .numbers import bracket, number

MOST_LINES = 40  # rows or columns of one map
MOST_MAPS = 6  # beside each other
_MOST_EDGE_CELLS = 1_600
_MOST_RECEIVERS = 12
_SINGLE = re.compile(r"embed|mlp(\d+)|(\d+)\.(\d+)")


@dataclass(frozen=True, eq=False)
class Grid:
    """A matrix of effects with its labels, before it is drawn."""

    arrays: Arrays
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_axis: str = ""
    column_axis: str = ""
    title: str = ""
    caption: str = ""

    def trimmed(self) -> Grid:
        """At most `MOST_LINES` rows and columns: those with the largest effects."""
        size = np.nan_to_num(np.abs(self.arrays[0]))
        row, column = (_largest(size.max(1 - axis, initial=0.0)) for axis in (0, 1))
        if len(row) == len(self.rows) and len(column) == len(self.columns):
            return self
        said = [
            f"Of {len(all_):,} {name}, the {MOST_LINES} with the largest effects."
            for all_, kept, name in ((self.rows, row, "rows"), (self.columns, column, "columns"))
            if len(kept) < len(all_)
        ]
        cut = np.ix_(row, column)
        return replace(
            self,
            arrays=each(self.arrays, lambda array: array[cut]),
            rows=tuple(self.rows[i] for i in row),
            columns=tuple(self.columns[i] for i in column),
            caption=" ".join([self.caption, *said]).strip(),
        )


def maps(measured: Measured, value_label: str, limit: float | None = None) -> list[HeatmapView]:
    """The effects as maps with one scale; none where there is but one effect.

    Args:
        measured: effects over any axes.
        value_label: the quantity and its unit.
        limit: of the colours; None means the largest effect shown.
    """
    grids = [grid.trimmed() for grid in _grids(measured)]
    sizes = [float(np.nanmax(np.abs(grid.arrays[0]))) for grid in grids]
    largest = limit or max(sizes, default=0.0) or None
    return [
        HeatmapView(
            grid.arrays[0],
            grid.rows,
            grid.columns,
            *grid.arrays[1:],
            title=grid.title,
            caption=grid.caption,
            row_axis=grid.row_axis,
            column_axis=grid.column_axis,
            value_label=value_label,
            limit=largest,
            cell_labels=None if len(grid.columns) > 1 and len(grids) == 1 else False,
            legend=i == 0,
        )
        for i, grid in enumerate(grids)
    ]


def _grids(measured: Measured) -> list[Grid]:
    if measured.axes == ("edge",):
        return [_edge_grid(measured)]
    if measured.axes == ("sender", "receiver"):
        return _path_grids(measured)
    if measured.value.ndim == 0:
        return []
    if measured.value.ndim <= 2:
        return [_plain_grid(measured)]
    return _deep_grids(measured)


def _plain_grid(measured: Measured) -> Grid:
    """One or two axes as they are; one alone is a row."""
    *rows, columns = measured.effects.axes
    return Grid(
        each(measured.arrays, np.atleast_2d),
        rows=rows[0].labels if rows else ("",),
        columns=columns.labels,
        row_axis=rows[0].name if rows else "",
        column_axis=columns.name,
    )


def _deep_grids(measured: Measured) -> list[Grid]:
    """Three axes and more: a map of the first two for each of the rest, if these are few; else a
    row for each of the first two together."""
    first, second, *rest = measured.effects.axes
    others = list(itertools.product(*(axis.labels for axis in rest)))
    kind = " and ".join(axis.name for axis in rest)
    names = [" × ".join(labels) for labels in others]
    shape = (len(first.labels), len(second.labels), len(others))
    if len(others) <= MOST_MAPS:
        value, low, high = each(measured.arrays, lambda array: array.reshape(shape))
        return [
            Grid(
                (value[:, :, i], low[:, :, i], high[:, :, i]),
                rows=first.labels,
                columns=second.labels,
                row_axis=first.name,
                column_axis=second.name,
                title=", ".join(
                    f"{axis.name} {label}" for axis, label in zip(rest, labels, strict=True)
                ),
            )
            for i, labels in enumerate(others)
        ]
    rows = tuple(f"{a}.{b}" for a, b in itertools.product(first.labels, second.labels))
    flat = each(measured.arrays, lambda array: array.reshape(len(rows), -1))
    return [Grid(flat, rows, tuple(names), row_axis=second.name, column_axis=kind)]


def _path_grids(measured: Measured) -> list[Grid]:
    """Senders by layer and head, a map for each receiver; or senders by receivers."""
    senders, receivers = (axis.labels for axis in measured.effects.axes)
    found = [_SINGLE.fullmatch(sender) for sender in senders]
    if len(receivers) > MOST_MAPS or len(senders) < 4 or not all(found):
        return [_plain_grid(measured)]
    placed = {}
    for i, match in enumerate(found):
        assert match is not None
        mlp, layer, head = match.groups()
        if layer is not None:
            placed[i] = (int(layer), int(head))
        elif mlp is not None:
            placed[i] = (int(mlp), -1)  # the last column
    if not placed:
        return [_plain_grid(measured)]
    return [_sender_map(measured, placed, i) for i in range(len(receivers))]


def _sender_map(measured: Measured, placed: dict[int, tuple[int, int]], receiver: int) -> Grid:
    layers = sorted({layer for layer, _ in placed.values()})
    heads = sorted({head for _, head in placed.values() if head >= 0})
    has_mlp = any(head < 0 for _, head in placed.values())
    columns = (*map(str, heads), *(["mlp"] if has_mlp else []))
    arrays = each(measured.arrays, lambda _: np.full((len(layers), len(columns)), np.nan))
    for i, (layer, head) in placed.items():
        at = layers.index(layer), len(columns) - 1 if head < 0 else heads.index(head)
        for array, source in zip(arrays, measured.arrays, strict=True):
            array[at] = source[i, receiver]
    senders, receivers = (axis.labels for axis in measured.effects.axes)
    caption = ""
    if "embed" in senders:
        at = senders.index("embed"), receiver
        ends = bracket(float(measured.low[at]), float(measured.high[at]), 3)
        caption = f"The embedding, which is in no layer: {number(measured.value[at], 3)} {ends}."
    return Grid(
        arrays,
        rows=tuple(map(str, layers)),
        columns=columns,
        row_axis="sender's layer",
        column_axis="head",
        title=f"Senders to {receivers[receiver]}",
        caption=caption,
    )


def _edge_grid(measured: Measured) -> Grid:
    """Senders by receivers; of several edges in one cell, the one with the largest effect."""
    (edges,) = (axis.labels for axis in measured.effects.axes)
    ends = [edge.split("->") for edge in edges]
    caption = ""
    for merge_sender, merge_receiver in _merges([receiver for _, receiver in ends]):
        cells = [(merge_sender(sender), merge_receiver(receiver)) for sender, receiver in ends]
        rows = tuple(dict.fromkeys(row for row, _ in cells))
        columns = tuple(dict.fromkeys(column for _, column in cells))
        if len(rows) * len(columns) <= _MOST_EDGE_CELLS:
            break
    arrays = each(measured.arrays, lambda _: np.full((len(rows), len(columns)), np.nan))
    row_at, column_at = ({name: i for i, name in enumerate(names)} for names in (rows, columns))
    for place in map(int, measured.order[::-1]):  # the largest come last, and stay
        row, column = cells[place]
        at = row_at[row], column_at[column]
        for array, source in zip(arrays, measured.arrays, strict=True):
            array[at] = source[place]
    if len(rows) * len(columns) < len(edges):
        caption = (
            "A cell stands for several edges and shows the one with the largest effect, with its "
            "interval."
        )
    return Grid(arrays, rows, columns, "sender", "receiver", "", caption)


def _merges(
    receivers: Sequence[str],
) -> list[tuple[Callable[[str], str], Callable[[str], str]]]:
    """What ends of edges are drawn as, from the finest to the coarsest that may be needed."""

    def same(name: str) -> str:
        return name

    def component(name: str) -> str:
        return re.sub(r"\.[qkv]$", "", name)

    def layer(name: str) -> str:
        return re.sub(r"^(\d+)\..*", r"heads \1", name)

    found: list[tuple[Callable[[str], str], Callable[[str], str]]] = []
    if len(set(receivers)) <= _MOST_RECEIVERS:
        found.append((same, same))
    # Where heads share keys, "9.1.k" is not an input of head 9.1 alone.
    heads = {part: {n[:-2] for n in receivers if n.endswith(f".{part}")} for part in "qkv"}
    if heads["q"] == heads["k"] == heads["v"] or not (heads["k"] or heads["v"]):
        found.append((same, component))
    return [*found, (layer, layer)]


def _largest(size: Floats) -> list[int]:
    """The numbers of the largest entries, in their order."""
    return sorted(np.argsort(-size, kind="stable")[:MOST_LINES].tolist())


def each(arrays: Arrays, change: Callable[[Floats], Floats]) -> Arrays:
    """The same done to effects, lower and upper ends."""
    value, low, high = map(change, arrays)
    return value, low, high
