"""The sweep on the page of `cutaway run emergence`."""

from __future__ import annotations

import numpy as np

from . import emergence_sentences as say
from .curve import CurveSeries, CurveView
from .emergence_sweep import Sweep
from .layout import Beside, Items, Section
from .table import Cell, Column, TableView
from .view import Part


def sweep_section(sweep: Sweep) -> Section:
    """What sets it off: midpoints by context, batch and width."""
    shown: list[Part] = [_by_batch(sweep, sequences=False), _by_batch(sweep, sequences=True)]
    parts: list[Part] = [Items(tuple(say.sets_it_off(sweep))), Beside(*shown)]
    if sweep.widths:
        parts.append(_by_width(sweep))
    parts.append(_table(sweep))
    return Section(
        "What sets it off",
        "Small models of other contexts, batches and widths, all else equal; the midpoint of their "
        "accuracy on names that can be known.",
        *parts,
    )


def _by_batch(sweep: Sweep, sequences: bool) -> CurveView:
    lines = []
    found = sweep.midpoints(sweep.cells)
    for n_ctx in dict.fromkeys(shape[0] for shape in found):
        points = sorted(
            (s[1], one) for s, one in found.items() if s[0] == n_ctx and one is not None
        )
        if not points:
            continue
        scale = [batch if sequences else 1 for batch, _ in points]
        lines.append(
            CurveSeries(
                f"context {n_ctx}",
                [batch for batch, _ in points],
                [one.estimate * k for (_, one), k in zip(points, scale, strict=True)],
                [one.low * k for (_, one), k in zip(points, scale, strict=True)],
                [one.high * k for (_, one), k in zip(points, scale, strict=True)],
            )
        )
    unit = "sequences" if sequences else "steps"
    if not lines:
        lines = [CurveSeries("no transition", [1.0], [np.nan])]
    return CurveView(
        tuple(lines),
        title=f"Midpoint in {unit}",
        x_label="sequences in a batch",
        y_label=unit,
        log_x=True,
        references=((0.0, ""),),
    )


def _by_width(sweep: Sweep) -> CurveView:
    found = sweep.midpoints(sweep.widths)
    points = sorted((shape[2], one) for shape, one in found.items() if one is not None)
    line = CurveSeries("midpoint", [1.0], [np.nan])
    if points:
        line = CurveSeries(
            "midpoint",
            [width for width, _ in points],
            [one.estimate for _, one in points],
            [one.low for _, one in points],
            [one.high for _, one in points],
        )
    return CurveView(
        (line,),
        title="Midpoint by width",
        x_label="width of the residual stream",
        y_label="steps",
        log_x=True,
        references=((0.0, ""),),
    )


def _table(sweep: Sweep) -> TableView:
    rows: list[list[Cell]] = []
    for group in (sweep.cells, sweep.widths):
        for shape, one in sweep.midpoints(group).items():
            of_shape = [cell for cell in group if cell.shape == shape]
            last = float(np.mean([cell.accuracy[-1] for cell in of_shape]))
            k = sum(cell.curve is not None for cell in of_shape)
            rows.append([*map(str, shape), f"{k} of {len(of_shape)}", one, last])
    rows = list({tuple(map(str, row)): row for row in rows}.values())
    return TableView(
        (
            Column("context", "right"),
            Column("batch", "right"),
            Column("width", "right"),
            Column("with a transition", "right"),
            Column("midpoint, step", "right", 0),
            Column("accuracy in the end", "right"),
        ),
        rows,
        caption="Geometric means over seeds, Student's intervals.",
    )
