"""What the numbers of one measurement say in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from ..evidence import LEAST_EFFECT
from .measurement_data import Comparison, Measured, MeasurementReportData
from .numbers import interval_text, number

N_NAMED = 5  # effects with a sentence of their own
_FEW_PROMPTS = 20
_MANY_PLACES = 20
_CHANCE = 20  # one 95% interval in so many excludes 0 where there is nothing


def findings(data: MeasurementReportData) -> tuple[str, ...]:
    """What was found: the baseline, how many effects matter, and the largest."""
    found = [baseline(data), count(data), *largest(data)]
    if data.comparison is not None:
        found.append(gap(data.comparison))
    return tuple(found)


def baseline(data: MeasurementReportData) -> str:
    """The metric of both runs, and whether there is anything to divide by."""
    measured = data.baseline
    return (
        f"Over {measured.clean.n} prompt pairs the {measured.metric} is "
        f"{interval_text(measured.clean)} on clean and {interval_text(measured.corrupted)} on "
        f"corrupted prompts; the answer beats the wrong one in "
        f"{interval_text(measured.accuracy, share=True)} of the clean ones."
    )


def warnings(data: MeasurementReportData) -> tuple[str, ...]:
    """What is shaky about the numbers as such."""
    measured, n = data.baseline, data.baseline.clean.n
    found = []
    if n < _FEW_PROMPTS:
        found.append(f"There are only {n} prompt pairs; intervals from so few are too narrow.")
    if measured.clean.low <= measured.corrupted.high and measured.corrupted.low <= (
        measured.clean.high
    ):
        found.append(
            "The intervals of the clean and the corrupted prompts overlap: effects are divided by "
            "their difference, and are unstable."
        )
    elif measured.clean.estimate < measured.corrupted.estimate:
        found.append(
            "The metric is higher on the corrupted prompts than on the clean ones: what is "
            "measured here is not the behaviour that the task is about."
        )
    if measured.accuracy.low <= 0.5:
        found.append(
            "It is not established that the model does the task: the interval of its accuracy "
            "includes one half, or lies below it."
        )
    return tuple(found)


def count(data: MeasurementReportData) -> str:
    """How many places matter, and how many intervals exclude 0, beside chance."""
    measured = data.measured
    what = _places(data)
    said = (
        f"{measured.n_matter:,} of the {measured.n:,} {what} matter; {measured.n_sure:,} intervals "
        "exclude 0"
    )
    if measured.n < _MANY_PLACES:
        return f"{said}."
    by_chance = measured.n / _CHANCE
    return f"{said}, where up to about {by_chance:,.0f} would by chance if nothing had an effect."


def rule() -> str:
    """What it takes to matter."""
    return (
        "An effect matters if its 95% interval excludes 0 and it exceeds "
        f"{number(LEAST_EFFECT)} in absolute value."
    )


def largest(data: MeasurementReportData) -> tuple[str, ...]:
    """The largest effects that matter, one sentence each."""
    measured = data.measured
    chosen = [int(place) for place in measured.order if measured.matters[place]][:N_NAMED]
    return tuple(_effect(data, measured, place) for place in chosen)


def gap(comparison: Comparison) -> str:
    """How far the estimates are from the exact effects."""
    found = comparison.agreement
    worst = found.worst[0]
    name = comparison.exact.name(place_of(comparison.exact, worst.labels))
    correlation = interval_text(found.pearson)
    return (
        f"Over all {found.n_places:,} places the estimates correlate with the exact effects by "
        f"{correlation}; the largest difference is at {name}: {number(worst.estimate)} estimated, "
        f"{number(worst.exact)} exact."
    )


def place_of(measured: Measured, labels: dict[str, str]) -> int:
    """The number of the place that has these labels."""
    place = 0
    for axis in measured.effects.axes:
        place = place * len(axis.labels) + axis.labels.index(labels[axis.name])
    return place


def _effect(data: MeasurementReportData, measured: Measured, place: int) -> str:
    interval = measured.interval(place)
    act = "Patching" if data.command in ("paths", "edges") or data.of_edges else "Replacing"
    does = "restores" if measured.effects.mode == "denoising" else "takes away"
    subject = f"{act} {measured.name(place)}"
    if data.is_estimate:
        subject = f"By the estimate, {subject[0].lower()}{subject[1:]}"
    if interval.estimate < 0:
        return f"{subject} does the reverse: {interval_text(interval, 3)}."
    return f"{subject} {does} {interval_text(interval, 3)} of the difference."


def _places(data: MeasurementReportData) -> str:
    """What the places are called together."""
    axes, measured = data.measured.axes, data.measured.effects
    if data.of_edges:
        return "edges"
    if axes == ("sender", "receiver"):
        return "paths"
    if axes in (("layer", "head"), ("layer", "neuron")):
        grouped = "-" in measured.axes[1].labels[0]
        return f"groups of {axes[1]}s" if grouped else f"{axes[1]}s"
    return "places"
