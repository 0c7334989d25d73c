"""What the report of `cutaway train` says in words, chosen by rule from the numbers."""

from __future__ import annotations

import math

from .numbers import bracket, number
from .training_data import TrainingReportData


def findings(data: TrainingReportData) -> tuple[str, ...]:
    """The findings, each with its numbers."""
    return tuple(filter(None, (_loss(data), _known(data), _overfitting(data))))


def _loss(data: TrainingReportData) -> str:
    loss = data.held_out
    costs = [f"guessing {number(math.log(data.d_vocab), 3)}"]
    names = {"unigram": "counting tokens", "bigram": "counting pairs", "fresh": "the fresh model"}
    costs += [
        f"{names.get(name, name)} {number(found.estimate, 3)}"
        for name, found in data.controls.items()
    ]
    return (
        f"Loss on held-out data after step {data.step:,}: {number(loss.estimate, 3)} nats per "
        f"token {bracket(loss.low, loss.high, 3)}, on {loss.n:,} sequences. On the same: "
        f"{', '.join(costs)}."
    )


def _known(data: TrainingReportData) -> str:
    right, loss = data.accuracy, data.known_loss
    if right is None or loss is None:
        return ""
    ends = bracket(100 * right.low, 100 * right.high, 1)
    return (
        "Of the tokens that follow from what stands before them it gets "
        f"{number(100 * right.estimate, 1)}% right {ends}, "
        f"at a loss of {number(loss.estimate, 3)} nats {bracket(loss.low, loss.high, 3)}."
    )


def _overfitting(data: TrainingReportData) -> str:
    """Whether it got worse on held-out data while it went on."""
    if not data.measured:
        return ""
    best_step, best = min(data.measured, key=lambda one: one[1].estimate)
    last_step, last = data.measured[-1]
    if last.low <= best.high:
        return ""
    kept = "That model is kept." if data.step == best_step else "The last model is kept."
    return (
        f"It overfits: on held-out data the loss was lowest after step {best_step:,} "
        f"({number(best.estimate, 3)} {bracket(best.low, best.high, 3)}) and stood at "
        f"{number(last.estimate, 3)} {bracket(last.low, last.high, 3)} after step {last_step:,}. "
        f"{kept}"
    )
