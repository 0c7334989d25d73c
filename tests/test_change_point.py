"""The change-point test: breaks are found, smooth bends are not called breaks."""

from __future__ import annotations

import numpy as np
import pytest

from cutaway.evidence.change_point import change_point
from cutaway.evidence.s_curve import SCurve

STEPS = np.geomspace(2, 1000, 30)
X = np.log(STEPS)


def noise(rng: np.random.Generator, phi: float, size: float) -> np.ndarray:
    """An autoregressive series in its long run."""
    drawn, series = rng.normal(0, size, X.size + 50), np.zeros(X.size + 50)
    for at in range(1, series.size):
        series[at] = phi * series[at - 1] + drawn[at]
    return series[50:]


SMOOTH = {
    "flat": 0 * X,
    "line": X / 7,
    "parabola": (X / 7) ** 2,
    "cubic": (X / 7) ** 3 - X / 14,
    "slow S": SCurve(0, 1, 50, 600, 1, 0, False)(STEPS),
}


@pytest.mark.parametrize("trend", SMOOTH)
@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_a_smooth_trend_is_rarely_called_a_break(trend: str, phi: float) -> None:
    """At most 1 in 20; 60 series at 5% give 8 or more in 1 case of 100."""
    rng = np.random.default_rng(7)
    p = [
        change_point(STEPS, SMOOTH[trend] + noise(rng, phi, 0.05), seed=i, n_simulated=99).p
        for i in range(60)
    ]
    assert sum(one <= 0.05 for one in p) <= 7


@pytest.mark.slow
def test_p_values_are_no_smaller_than_they_say_under_the_null() -> None:
    for phi in (0.0, 0.5):
        rng = np.random.default_rng(1)
        p = np.array(
            [
                change_point(STEPS, X / 7 + noise(rng, phi, 0.05), seed=i, n_simulated=199).p
                for i in range(400)
            ]
        )
        for level in (0.05, 0.1, 0.2):
            assert (p <= level).mean() <= level + 2.6 * np.sqrt(level * (1 - level) / 400)
        assert (p <= 0.5).mean() > 0.3  # not so careful that nothing is ever found


def test_a_break_is_found_where_it_is() -> None:
    rng = np.random.default_rng(0)
    for size in (0.3, 1.0):
        found = change_point(STEPS, np.where(X < 5, 0, size) + X / 20 + noise(rng, 0, 0.05))
        assert found.p <= 0.01
        assert np.exp(4.7) < found.at < np.exp(5.3)
        assert found.jump == pytest.approx(size, abs=0.15)


def test_a_sharp_s_curve_breaks_and_a_wide_one_bends() -> None:
    rng = np.random.default_rng(2)
    sharp = SCurve(0.3, 1, 150, 1.7, 1, 0, False)(STEPS) + noise(rng, 0, 0.03)
    wide = SCurve(0.3, 1, 50, 100, 1, 0, False)(STEPS) + noise(rng, 0, 0.03)
    assert change_point(STEPS, sharp).p < 0.01
    assert change_point(STEPS, wide).p > 0.1


def test_broken_lines_are_those_of_a_plain_search() -> None:
    y = np.random.default_rng(3).normal(size=30).cumsum()
    x = (X - X.mean()) / np.ptp(X)

    def left(part: slice, degree: int) -> float:
        fitted = np.polyval(np.polyfit(x[part], y[part], degree), x[part])
        return float(((y[part] - fitted) ** 2).sum())

    places = {k: left(slice(k), 1) + left(slice(k, None), 1) for k in range(3, 28)}
    best = min(places, key=places.__getitem__)
    found = change_point(STEPS, y, n_simulated=19)
    assert found.statistic == pytest.approx(np.log(left(slice(None), 3) / places[best]))
    assert found.at == pytest.approx(np.sqrt(STEPS[best - 1] * STEPS[best]))


def test_units_change_nothing_and_the_seed_decides() -> None:
    y = np.random.default_rng(4).normal(size=30).cumsum()
    one, same, scaled = (
        change_point(STEPS, y, seed=1, n_simulated=99),
        change_point(STEPS, y, seed=1, n_simulated=99),
        change_point(10 * STEPS, 3 - 2 * y, seed=1, n_simulated=99),
    )
    assert one == same
    assert scaled.p == one.p and scaled.at == pytest.approx(10 * one.at)
    assert scaled.jump == pytest.approx(-2 * one.jump)


@pytest.mark.parametrize(
    "steps, scores, why",
    [
        (STEPS[:9], np.arange(9.0), "9 steps are too few"),
        (STEPS, np.zeros(30), "nothing can break"),
        (np.arange(30.0), np.arange(30.0), "leave step 0 out"),
        (STEPS, np.arange(29.0), "must be"),
    ],
)
def test_what_cannot_be_tested_is_refused(steps, scores, why) -> None:
    with pytest.raises(ValueError, match=why):
        change_point(steps, scores)
