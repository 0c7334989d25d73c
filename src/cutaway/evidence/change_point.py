"""A change-point test: did a score break, or did it bend smoothly?

Two descriptions with equally many coefficients are held against each other: one smooth curve (a
cubic in ln step), and two straight lines with a break between them, wherever it fits best. The
statistic is ln(what the curve leaves over / what the lines leave over), so that a break must
explain more than a bend does. Searching for the best place makes the lines look good by chance
(Andrews 1993), and the two descriptions do not contain each other (Cox 1961): so the null
distribution is made by simulation. Series of the smooth curve plus noise like the one that it left
over go through the same search (Davidson and MacKinnon 2002). Noise of neighbouring steps may hang
together: it is drawn as an autoregressive series of the first order (the sieve of Buhlmann 1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from .resampling import Floats, finite, growing_steps

FEWEST = 10
_DEGREE = 3
_LEAST_SIDE = 3  # points on each side of a break
_PHIS = np.linspace(0.0, 0.9, 19)


@dataclass(frozen=True)
class ChangePoint:
    """Where a series breaks, if it does.

    Example:
        >>> found = change_point(steps, loss)  # doctest: +SKIP
        >>> found.at, found.p  # doctest: +SKIP
        (212.5, 0.001)
    """

    at: float
    """The step in the middle (on a logarithmic scale) of the two that the best break lies
    between."""
    jump: float
    """How far the second line is above the first one there."""
    statistic: float
    """ln(left over by the smooth curve / left over by the broken lines)."""
    p: float
    """Share of smooth series whose statistic is as large, the observed one counted among them."""
    phi: float
    """Correlation of what the smooth curve leaves over at neighbouring steps, corrected for how
    few they are."""
    n_simulated: int


def change_point(
    steps: ArrayLike, scores: ArrayLike, seed: int = 0, n_simulated: int = 999
) -> ChangePoint:
    """Test one series for a break, against the null of a smooth bend.

    Args:
        steps: [step], positive and growing; best about evenly spaced in ln(step).
        scores: [step], the mean score at each.
        seed: of the simulated series.
        n_simulated: how many; no p is below 1 / (1 + n_simulated).

    Raises:
        ValueError: fewer than 10 steps, numbers that are not finite, a score that never changes.

    Example:
        >>> steps = np.geomspace(1, 1000, 30)
        >>> change_point(steps, np.where(steps < 100, 0.0, 1.0) + noise).at  # doctest: +SKIP
        92.4
    """
    at, y = growing_steps(steps, FEWEST, "a break"), finite("scores", scores)
    if at.shape != y.shape:
        raise ValueError(f"steps {at.shape} and scores {y.shape} must be [step] both.")
    if n_simulated < 1:
        raise ValueError(f"n_simulated={n_simulated} is too few: at least 1.")
    if np.ptp(y) == 0:
        raise ValueError("the score is the same at all steps: nothing can break.")
    x = np.log(at)
    x = (x - x.mean()) / np.ptp(x)
    test = _Test(x)
    observed, place = test.statistic(y[None])
    smooth = test.smooth @ y
    noise, phi = test.noise(y - smooth)
    rng = np.random.default_rng(seed)
    simulated, _ = test.statistic(smooth + _series(rng, noise, phi, n_simulated))
    p = (1 + int((simulated >= observed[0] - 1e-12).sum())) / (1 + n_simulated)
    k = int(place[0])
    edge = (x[k - 1] + x[k]) / 2
    left, right = (np.polyval(np.polyfit(x[s], y[s], 1), edge) for s in (slice(k), slice(k, None)))
    return ChangePoint(
        at=float(np.sqrt(at[k - 1] * at[k])),
        jump=float(right - left),
        statistic=float(observed[0]),
        p=p,
        phi=phi,
        n_simulated=n_simulated,
    )


class _Test:
    """Everything that depends on the steps alone."""

    def __init__(self, x: Floats) -> None:
        n = x.size
        self.x = x
        self.smooth = _projection(np.vander(x, _DEGREE + 1))
        self.places = range(_LEAST_SIDE, n - _LEAST_SIDE + 1)
        rest = []
        for k in self.places:
            design = np.zeros((n, 4))
            design[:k, 0], design[k:, 1] = 1, 1
            design[:k, 2], design[k:, 3] = x[:k], x[k:]
            rest.append(np.eye(n) - _projection(design))
        self.rest_broken = np.stack(rest)  # [place, step, step]
        self.rest_smooth = np.eye(n) - self.smooth

    def statistic(self, y: Floats) -> tuple[Floats, Floats]:
        """ln(smooth / broken) of every series [series, step], and the index after the break."""
        smooth = ((y @ self.rest_smooth) ** 2).sum(-1)
        broken = np.stack([((y @ rest) ** 2).sum(-1) for rest in self.rest_broken], axis=-1)
        best = broken.argmin(-1)
        # Rounding is all that is left of a series that one of the two fits exactly.
        tiny = 1e-20 * np.maximum((y**2).sum(-1), 1e-300)
        least = broken.min(-1)
        return np.log((smooth + tiny) / (least + tiny)), np.asarray(list(self.places))[best]

    def noise(self, left: Floats) -> tuple[Floats, float]:
        """Innovations of what the smooth curve leaves over, and their autoregression."""
        n = left.size
        raw = float(left[1:] @ left[:-1]) / max(float(left[:-1] @ left[:-1]), 1e-300)
        phi = float(np.interp(raw, self.expected, _PHIS))
        new = left[1:] - phi * left[:-1]
        new = new - new.mean()
        return new * np.sqrt(n / (n - _DEGREE - 1)), phi

    @cached_property
    def expected(self) -> Floats:
        """The raw correlation that each of `_PHIS` gives on average: a fit takes the slow part of
        the noise away, so that what is left hangs together less than the noise did."""
        n = self.x.size
        apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        found = []
        for phi in _PHIS:
            left = self.rest_smooth @ phi**apart @ self.rest_smooth  # its covariance
            found.append(np.trace(left, 1) / np.trace(left[:-1, :-1]))
        return np.array(found)


def _projection(design: Floats) -> Floats:
    Q, _ = np.linalg.qr(design)
    return np.asarray(Q @ Q.T)


def _series(rng: np.random.Generator, noise: Floats, phi: float, n_series: int) -> Floats:
    """Autoregressive series [series, step] of resampled innovations, begun in their long run."""
    n = noise.size + 1
    begin = 0 if phi == 0 else 50
    drawn = rng.choice(noise, size=(n_series, n + begin))
    series = np.zeros_like(drawn)
    series[:, 0] = drawn[:, 0]
    for step in range(1, n + begin):
        series[:, step] = phi * series[:, step - 1] + drawn[:, step]
    return series[:, begin:]
