"""Curves of the Shakespeare study, from its record: one line for each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .curve import CurveSeries, CurveView
from .recorded import Recorded


def _series(name: str, x: Sequence[float], rows: Sequence[Any]) -> CurveSeries:
    """A line of intervals as a record has them; ends that are not bounded leave the shading out."""
    middle = [float(row["estimate"]) for row in rows]
    if any(row["low"] is None or row["high"] is None for row in rows):
        return CurveSeries(name, x, middle)
    return CurveSeries(name, x, middle, [row["low"] for row in rows], [row["high"] for row in rows])


def induction_lens(record: Recorded) -> CurveView | None:
    """The probability of B through the layers."""
    lines, control = [], []
    for at, name in enumerate(record.names):
        rows = record.get(f"models/{at}/induction/lens/answer")
        if rows is None:
            continue
        x = list(range(len(rows)))
        lines.append(_series(name, x, rows))
        shuffled = record.get(f"models/{at}/induction/lens/shuffled")
        if shuffled is not None:
            control.append(_series(f"other answers, {name}", x, shuffled))
    if not lines:
        return None
    return CurveView(
        lines,
        control[:1],
        title="A B ... A: the probability of B through the layers",
        caption="As the logit lens reads it. Grey: answers of other prompts, first model.",
        x_label="layers that have run",
        y_label="probability of B",
        references=((0.5, "one half"),),
    )


def reach(record: Recorded) -> CurveView | None:
    """How much each layer's prediction depends on what stands further back."""
    lines = []
    beyond = record.get("models/0/prediction/reach/beyond")
    for at, name in enumerate(record.names):
        rows = record.get(f"models/{at}/prediction/reach/kl/{beyond}")
        if rows is not None:
            lines.append(_series(name, list(range(len(rows))), rows))
    if not lines:
        return None
    return CurveView(
        lines,
        title=f"What depends on characters further back than {beyond}",
        caption="KL between each layer's prediction and the same with those characters exchanged "
        "for another window's. Zero: nothing does.",
        x_label="layers that have run",
        y_label="nats",
        references=((0.0, ""),),
    )


def evolution(record: Recorded) -> CurveView | None:
    """The highest scores over the training."""
    lines, by_chance = [], 0.0
    for at, name in enumerate(record.names):
        rows = [row for row in record.get(f"models/{at}/evolution/steps") or [] if row["step"] > 0]
        for kind in ("previous-token", "induction") if rows else ():
            scores = [row[kind]["score"] for row in rows]
            by_chance = rows[0][kind]["by_chance"]
            lines.append(_series(f"{kind}, {name}", [row["step"] for row in rows], scores))
    if not lines:
        return None
    return CurveView(
        lines,
        title="The highest scores of heads over the training",
        caption="Of every step that was kept, the head that scores highest there.",
        x_label="training step",
        y_label="score",
        log_x=True,
        references=((by_chance, "uniform attention"),),
    )


CURVES: dict[str, Callable[[Recorded], CurveView | None]] = {
    "induction_logit_lens": induction_lens,
    "reach": reach,
    "evolution": evolution,
}
"""Name of a figure -> how it is drawn; None where there are no data."""
