"""What the charts of the emergence report share: steps along the bottom, seeds as bands."""

from __future__ import annotations

from collections.abc import Sequence

from ..array_files import Array
from ..evidence import Interval
from .curve import CurveSeries, CurveView
from .emergence_data import Emergence

SHARE = ((0.0, ""), (1.0, ""))
ZERO = ((0.0, ""),)


def chart(
    lines: Sequence[CurveSeries],
    title: str,
    y_label: str,
    *,
    control: Sequence[CurveSeries] = (),
    caption: str = "",
    references: Sequence[tuple[float, str]] = SHARE,
) -> CurveView:
    """Lines over the training step, on a logarithmic scale."""
    return CurveView(
        tuple(lines),
        tuple(control) or None,
        title=title,
        caption=caption,
        x_label="training step",
        y_label=y_label,
        log_x=True,
        references=references,
    )


def line(found: Emergence, name: str, values: Array | None = None) -> CurveSeries:
    """The mean over seeds with Student's interval; without values, of the curve of that name."""
    return _series(found, name, found.over_seeds(name, values))


def of_one_seed(found: Emergence, name: str, values: Array) -> CurveSeries:
    """One seed's mean over prompts, [step, prompt]."""
    return CurveSeries(name, _steps(found), tuple(float(one) for one in values.mean(-1)[1:]))


def clipped(interval: Interval) -> Interval:
    """A share's interval within 0 and 1, which Student's does not know."""
    low, high = max(0.0, interval.low), min(1.0, interval.high)
    return Interval(interval.estimate, low, high, interval.level, interval.n)


def _series(found: Emergence, name: str, intervals: Sequence[Interval]) -> CurveSeries:
    after = [one for one, step in zip(intervals, found.steps, strict=True) if step > 0]
    return CurveSeries(
        name,
        _steps(found),
        tuple(one.estimate for one in after),
        tuple(one.low for one in after),
        tuple(one.high for one in after),
    )


def _steps(found: Emergence) -> tuple[float, ...]:
    """Without step 0, which a logarithmic axis does not have."""
    return tuple(float(step) for step in found.steps if step > 0)
