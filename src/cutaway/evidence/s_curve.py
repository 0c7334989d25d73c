"""S-curves: when a score turned from low to high, and how suddenly.

    y(step) = lower + (upper - lower) / (1 + exp(-(ln step - ln midpoint) / s))

a logistic curve in the logarithm of the step (Verhulst 1838; as a dose-response curve the same is
Hill's equation, 1910). The width is told as a factor: from where the curve has done a tenth of its
rise to where it has done nine tenths, the step grows by exp(2 ln 9 s).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .intervals import Interval
from .resampling import Floats, checked_level, finite, growing_steps, resample_counts

FEWEST_STEPS = 6
LEAST_GAIN = 0.5
"""A curve has to leave at most this share of what a straight line in ln(step) leaves over."""
_TENTHS = 2 * math.log(9)  # from a tenth to nine tenths of the rise, in units of s
_N_MID, _N_SCALE = 48, 16  # the first grid
_ZOOM, _N_ZOOMS = 0.6, 16  # the grid around the best point shrinks so, so many times
_AT_ONCE = 200_000  # numbers of a grid times steps times curves held at a time


class NoTransitionError(ValueError):
    """The scores do not turn from one level to another within the steps. One sentence says why."""


@dataclass(frozen=True)
class SCurve:
    """One logistic curve, fitted by least squares.

    Example:
        >>> curve = fit_s_curve([10, 20, 40, 80, 160, 320], [0.0, 0.0, 0.1, 0.9, 1.0, 1.0])
        >>> round(curve.midpoint), round(curve.upper, 2)
        (57, 1.0)
    """

    lower: float
    """The level before."""
    upper: float
    """The level after; it may be the lower number, if the score falls."""
    midpoint: float
    """The step at which half of the rise is done."""
    width: float
    """Steps at nine tenths of the rise over steps at one tenth: 1 is a jump."""
    r_squared: float
    """Goodness of fit: 1 - what is left over / the variance of the scores."""
    left_of_line: float
    """What the curve leaves over, as a share of what a straight line in ln(step) leaves."""
    is_jump: bool
    """The rise lies between two neighbouring steps, so that the width is an upper bound."""

    @property
    def onset(self) -> float:
        """The step at which a tenth of the rise is done."""
        return self.midpoint / math.sqrt(self.width)

    def __call__(self, steps: ArrayLike) -> Floats:
        """The height of the curve at some steps."""
        x = np.log(np.asarray(steps, dtype=np.float64)) - math.log(self.midpoint)
        z = np.clip(-x * _TENTHS / math.log(self.width), -500, 500)
        return np.asarray(self.lower + (self.upper - self.lower) / (1 + np.exp(z)))


@dataclass(frozen=True, eq=False)
class SCurveFits:
    """The curves of several runs (seeds), each with resamples of its prompts.

    Example:
        >>> fits = fit_s_curves(steps, accuracy)  # [seed, step, prompt]
        >>> print(fits.midpoint())
        212.402 [188.012, 239.957] (95%, n=6)
    """

    curves: tuple[SCurve | None, ...]
    """One for each seed; None where there is no transition."""
    why_not: tuple[str, ...]
    """The sentence for each seed without one, else empty."""
    resampled: NDArray[np.float64]
    """ln(midpoint) and ln(width) over resamples of the prompts: [seed, 2, resample]; NaN where
    there is no transition."""
    level: float

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which seeds have a transition."""
        return np.array([curve is not None for curve in self.curves])

    def of_seeds(self, name: str) -> Floats:
        """A number of the curves ("midpoint", "width", "lower", ...) [seed]; NaN without one."""
        return np.array([np.nan if c is None else getattr(c, name) for c in self.curves])

    def midpoint(self) -> Interval:
        """The geometric mean of the seeds' midpoints, with its interval over seeds."""
        values = self.of_seeds("midpoint")
        return geometric_mean(values[np.isfinite(values)], self.level)

    def onset(self) -> Interval:
        """The same of the steps at which a tenth of the rise is done."""
        values = self.of_seeds("onset")
        return geometric_mean(values[np.isfinite(values)], self.level)

    def width(self) -> Interval:
        """The typical width (a factor, never below 1), with its interval over seeds: the geometric
        mean of ln(width), which is s up to a constant."""
        values = self.of_seeds("width")
        one = geometric_mean(np.log(values[np.isfinite(values)]), self.level)
        estimate, low, high = (
            math.exp(end) if end < 700 else math.inf for end in (one.estimate, one.low, one.high)
        )
        return Interval(estimate, low, high, self.level, one.n)

    def over_prompts(self, name: str, seed: int) -> Interval:
        """The midpoint or width of one seed, with its interval over prompts.

        Raises:
            NoTransitionError: that seed has none.
        """
        curve = self.curves[seed]
        if curve is None:
            raise NoTransitionError(self.why_not[seed])
        draws = self.resampled[seed, ("midpoint", "width").index(name)]
        tail = (1 - self.level) / 2
        low, high = np.exp(np.nanquantile(draws, [tail, 1 - tail]))
        return Interval(float(getattr(curve, name)), float(low), float(high), self.level, 1)

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each seed; pandas takes it as is."""
        rows: list[dict[str, Any]] = []
        for seed, curve in enumerate(self.curves):
            row: dict[str, Any] = {"seed": seed, "why_not": self.why_not[seed]}
            if curve is not None:
                row |= {**vars(curve), "onset": curve.onset}
                for name in ("midpoint", "width"):
                    one = self.over_prompts(name, seed)
                    row |= {f"{name}_low": one.low, f"{name}_high": one.high}
            rows.append(row)
        return rows


def geometric_mean(values: ArrayLike, level: float = 0.95) -> Interval:
    """The geometric mean of positive numbers, with Student's interval of their logarithms.

    For a few seeds: resampling five of them gives intervals that are too narrow, Student's t knows
    how few they are.

    Args:
        values: [seed], positive.
        level: confidence level.

    Raises:
        ValueError: no values, or one that is not positive.

    Example:
        >>> round(geometric_mean([90.0, 100.0, 111.0]).estimate)
        100
    """
    array = finite("values", values)
    checked_level(level, 1)
    if (array <= 0).any():
        raise ValueError(f"a geometric mean takes positive numbers; one is {array.min():g}.")
    one = student_mean(np.log(array), level)
    ends = math.exp(one.low), (math.exp(one.high) if one.high < 700 else math.inf)
    return Interval(math.exp(one.estimate), *ends, level, array.size)


def student_mean(values: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of a few numbers with Student's t interval (Student 1908); (-inf, inf) for one.

    Raises:
        ValueError: no values, or some that are not finite.
    """
    array = finite("values", values)
    mean, n = float(array.mean()), array.size
    if n == 1:
        return Interval(mean, -math.inf, math.inf, level, 1)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * array.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, level, n)


def fit_s_curve(steps: ArrayLike, scores: ArrayLike) -> SCurve:
    """Fit one curve by least squares.

    Args:
        steps: [step], positive and growing.
        scores: [step], such as the mean accuracy at each.

    Raises:
        NoTransitionError: a straight line fits as well (`LEAST_GAIN`), or the midpoint lies at the
            edge of the steps, so that one of the two levels was never seen.
        ValueError: too few steps, or numbers that are not finite.

    Example:
        >>> fit_s_curve([1, 2, 4, 8, 16, 32], [0.1] * 6)
        Traceback (most recent call last):
        cutaway.evidence.s_curve.NoTransitionError: there is no transition: ...
    """
    x, y = _checked(steps, finite("scores", scores)[None])
    curve, why = _curves(x, y)[0]
    if curve is None:
        raise NoTransitionError(why)
    return curve


def fit_s_curves(
    steps: ArrayLike,
    scores: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 200,
) -> SCurveFits:
    """Fit the curve of every run, and of resamples of its prompts.

    Within a run, the interval comes from resampling prompts (the same ones at all steps); over
    runs, from their own midpoints by Student's t, which holds what prompts add as well.

    Args:
        steps: [step], positive and growing.
        scores: [seed, step, prompt], or [seed, step] where there are no prompts to resample.
        seed: of the resamples.
        level: of the intervals.
        n_resamples: resamples of the prompts of each run.

    Raises:
        ValueError: shapes that do not fit, too few steps, numbers that are not finite.

    Example:
        >>> fits = fit_s_curves(steps, accuracy)
        >>> fits.midpoint().estimate, fits.width().estimate
    """
    checked_level(level, n_resamples)
    array = finite("scores", scores)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise ValueError(f"scores must be [seed, step, prompt]; their shape is {array.shape}.")
    x, means = _checked(steps, array.mean(-1))
    found = _curves(x, means)
    resampled = np.full((len(array), 2, n_resamples), np.nan)
    for at, (curve, _) in enumerate(found):
        if curve is None:
            continue
        n = array.shape[-1]
        rows = [
            counts @ array[at].T / n for _, counts in resample_counts(n, seed + at, n_resamples)
        ]
        mid, s, *_ = _fit(x, np.concatenate(rows))
        resampled[at] = mid, _TENTHS * s
    return SCurveFits(
        tuple(curve for curve, _ in found), tuple(why for _, why in found), resampled, level
    )


def _checked(steps: ArrayLike, scores: Floats) -> tuple[Floats, Floats]:
    """ln(step), and the scores [curve, step]."""
    at = growing_steps(steps, FEWEST_STEPS, "a curve")
    if scores.shape[-1] != at.size:
        raise ValueError(f"there are {at.size} steps and scores of {scores.shape[-1]}.")
    return np.log(at), scores


def _curves(x: Floats, y: Floats) -> list[tuple[SCurve | None, str]]:
    """The curve of each row of scores, or why there is none."""
    mid, s, lower, upper, left = _fit(x, y)
    whole = ((y - y.mean(-1, keepdims=True)) ** 2).sum(-1)
    line = _left_by_line(x, y)
    found: list[tuple[SCurve | None, str]] = []
    for i in range(len(y)):
        why = _why_not(x, mid[i], s[i], left[i], line[i], whole[i])
        if why:
            found.append((None, why))
            continue
        after = int(np.searchsorted(x, mid[i]))
        gap = x[min(after, x.size - 1)] - x[max(after - 1, 0)]
        curve = SCurve(
            lower=float(lower[i]),
            upper=float(upper[i]),
            midpoint=math.exp(mid[i]),
            width=math.exp(_TENTHS * s[i]),
            r_squared=float(1 - left[i] / whole[i]),
            left_of_line=float(left[i] / line[i]) if line[i] > 0 else 0.0,
            is_jump=bool(_TENTHS * s[i] < gap),
        )
        found.append((curve, ""))
    return found


def _why_not(x: Floats, mid: float, s: float, left: float, line: float, whole: float) -> str:
    if whole <= 1e-12 * x.size:
        return "there is no transition: the score is the same at all steps."
    if left > LEAST_GAIN * line:
        return (
            f"there is no transition: an S-curve leaves {left / whole:.2f} of the variance, a "
            f"straight line in ln(step) {line / whole:.2f}, which is no worse than "
            f"{1 / LEAST_GAIN:g} times that."
        )
    if not x[1] <= mid <= x[-2]:
        return (
            f"there is no transition within the steps: the midpoint would be {math.exp(mid):.0f}, "
            f"and one level was never seen; measure from {math.exp(x[0]):.0f} to "
            f"{math.exp(x[-1]):.0f} and beyond."
        )
    if _TENTHS * s > x[-1] - x[0]:
        return (
            f"there is no transition: the rise would take a factor {math.exp(_TENTHS * s):.3g} of "
            "steps, more than were measured."
        )
    return ""


def _left_by_line(x: Floats, y: Floats) -> Floats:
    t = x - x.mean()
    y = y - y.mean(-1, keepdims=True)
    return np.asarray((y**2).sum(-1) - (y @ t) ** 2 / (t @ t))


def _fit(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Least squares of every row: midpoint and s in ln(step), levels, and what is left, [row].

    For a midpoint and an s both levels follow by a linear fit (Golub and Pereyra 1973), so that
    two numbers are searched for: on a grid, and then on ever smaller grids around the best point.
    """
    spacing = float(np.diff(x).min())
    mids = np.linspace(x[0], x[-1], _N_MID)
    scales = np.geomspace(spacing / 10, (x[-1] - x[0]) / 2, _N_SCALE)
    M, S = (axis.ravel() for axis in np.meshgrid(mids, scales, indexing="ij"))
    basis = _rise(x, M[:, None], S[:, None])  # [grid, step]
    best = _left(basis[None], y).argmin(-1)
    mid, log_s = M[best], np.log(S[best])
    reach = np.array([mids[1] - mids[0], math.log(scales[1] / scales[0])])
    around = np.linspace(-1, 1, 5)
    du, dv = (axis.ravel() for axis in np.meshgrid(around, around, indexing="ij"))
    rows = max(1, _AT_ONCE // (du.size * x.size))
    for start in range(0, len(y), rows):
        part = slice(start, start + rows)
        size = reach.copy()
        for _ in range(_N_ZOOMS):
            m = np.clip(mid[part, None] + size[0] * du, x[0], x[-1])
            v = np.clip(log_s[part, None] + size[1] * dv, math.log(scales[0]), None)
            left = _left(_rise(x, m[..., None], np.exp(v)[..., None]), y[part])
            at = left.argmin(-1)
            pick = np.arange(len(at))
            mid[part], log_s[part] = m[pick, at], v[pick, at]
            size *= _ZOOM
    s = np.exp(log_s)
    rise = _rise(x, mid[:, None], s[:, None])  # [row, step]
    t, z = rise - rise.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    height = (t * z).sum(-1) / np.maximum((t**2).sum(-1), 1e-300)
    lower = y.mean(-1) - height * rise.mean(-1)
    left = ((z - height[:, None] * t) ** 2).sum(-1)
    return mid, s, lower, lower + height, left


def _rise(x: Floats, mid: Floats, s: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(np.clip(-(x - mid) / s, -500, 500))))


def _left(basis: Floats, y: Floats) -> Floats:
    """What each curve [row or 1, grid, step] leaves of each row [row, step]: [row, grid]."""
    t = basis - basis.mean(-1, keepdims=True)
    z = y - y.mean(-1, keepdims=True)
    length = np.maximum((t**2).sum(-1), 1e-300)
    dot = z @ t[0].T if len(t) == 1 else np.einsum("rgs,rs->rg", t, z)
    return np.asarray((z**2).sum(-1)[:, None] - dot**2 / length)
