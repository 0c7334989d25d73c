"""S-curves: known parameters come back, intervals hold, and no transition is an error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from cutaway.evidence.s_curve import (
    NoTransitionError,
    SCurve,
    fit_s_curve,
    fit_s_curves,
    geometric_mean,
    student_mean,
)

STEPS = np.geomspace(2, 1000, 30)


def curve(lower=0.3, upper=0.95, midpoint=150.0, width=2.0) -> SCurve:
    return SCurve(lower, upper, midpoint, width, 1.0, 0.0, False)


# --- oracle and invariants


@given(
    lower=st.floats(-5, 5),
    rise=st.floats(0.1, 10),
    falls=st.booleans(),
    midpoint=st.floats(10, 200),
    width=st.floats(1.5, 4.0),
)
def test_parameters_come_back_without_noise(lower, rise, falls, midpoint, width) -> None:
    upper = lower - rise if falls else lower + rise
    found = fit_s_curve(STEPS, curve(lower, upper, midpoint, width)(STEPS))
    assert found.midpoint == pytest.approx(midpoint, rel=0.01)
    assert found.width == pytest.approx(width, rel=0.02)
    assert found.lower == pytest.approx(lower, abs=0.01 * rise)
    assert found.upper == pytest.approx(upper, abs=0.01 * rise)
    assert found.r_squared > 0.999 and not found.is_jump


def test_it_is_the_least_squares_fit_that_scipy_finds() -> None:
    rng = np.random.default_rng(0)
    x = np.log(STEPS)

    def logistic(x, lower, upper, mid, s):
        return lower + (upper - lower) / (1 + np.exp(-(x - mid) / s))

    for _ in range(5):
        y = curve()(STEPS) + rng.normal(0, 0.05, STEPS.size)
        found = fit_s_curve(STEPS, y)
        (lower, upper, mid, s), _ = curve_fit(logistic, x, y, p0=(0.3, 0.9, 5.0, 0.2))
        assert found.midpoint == pytest.approx(math.exp(mid), rel=1e-2)
        assert found.width == pytest.approx(math.exp(2 * math.log(9) * s), rel=3e-2)
        assert (found.lower, found.upper) == pytest.approx((lower, upper), abs=3e-3)


def test_the_scale_of_steps_and_scores_changes_nothing_else() -> None:
    y = curve()(STEPS) + np.random.default_rng(1).normal(0, 0.03, STEPS.size)
    one, other = fit_s_curve(STEPS, y), fit_s_curve(7 * STEPS, 5 - 3 * y)
    assert other.midpoint == pytest.approx(7 * one.midpoint, rel=1e-6)
    assert other.width == pytest.approx(one.width, rel=1e-6)
    assert other.lower == pytest.approx(5 - 3 * one.lower, abs=1e-6)
    assert other.left_of_line == pytest.approx(one.left_of_line, rel=1e-6)


def test_a_jump_is_called_one_and_lies_between_its_steps() -> None:
    found = fit_s_curve(STEPS, np.where(STEPS < 100, 0.0, 1.0))
    before, after = STEPS[STEPS < 100][-1], STEPS[STEPS >= 100][0]
    assert found.is_jump and before < found.midpoint < after
    assert found.width < after / before


# --- no transition


@pytest.mark.parametrize(
    "scores, why",
    [
        (np.full(30, 0.2), "the same at all steps"),
        (np.linspace(0, 1, 30), "a straight line"),
        (np.random.default_rng(0).normal(size=30), "a straight line"),
        (curve(0, 1, 1500, 2)(STEPS), "one level was never seen"),
    ],
)
def test_no_transition_is_an_error_that_says_why(scores, why) -> None:
    with pytest.raises(NoTransitionError, match=why):
        fit_s_curve(STEPS, scores)


def test_noise_alone_is_no_transition() -> None:
    rng = np.random.default_rng(0)
    fits = fit_s_curves(STEPS, rng.normal(size=(100, 30)), n_resamples=1)
    assert fits.found.sum() == 0
    assert all(fits.why_not)


@pytest.mark.parametrize(
    "steps, scores, why",
    [
        ([1, 2, 3], [0, 0, 1], "3 steps are too few"),
        ([0, *range(1, 9)], [0] * 4 + [1] * 5, "leave step 0 out"),
        ([1, 2, 2, 4, 5, 6], [0] * 3 + [1] * 3, "must be positive and grow"),
        ([1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 1, math.nan], "not finite"),
        ([1, 2, 3, 4, 5, 6], [0, 1], "6 steps and scores of 2"),
    ],
)
def test_what_cannot_be_fitted_is_refused(steps, scores, why) -> None:
    with pytest.raises(ValueError, match=why):
        fit_s_curve(steps, scores)


# --- several seeds


@pytest.fixture(scope="module")
def fits():
    rng = np.random.default_rng(3)
    shares = np.stack([curve(midpoint=m)(STEPS) for m in (100, 150, 220)])
    answers = rng.random((3, 1, 80)) < shares[..., None]
    flat = np.zeros((1, 30, 80))
    return fit_s_curves(STEPS, np.concatenate([answers.astype(float), flat]), n_resamples=60)


def test_each_seed_has_its_curve_or_the_reason(fits) -> None:
    assert fits.found.tolist() == [True, True, True, False]
    assert fits.of_seeds("midpoint")[:3] == pytest.approx([100, 150, 220], rel=0.15)
    assert math.isnan(fits.of_seeds("midpoint")[3])
    rows = fits.to_frame()
    assert "same at all steps" in rows[3]["why_not"] and "midpoint" not in rows[3]
    assert rows[1]["midpoint_low"] < rows[1]["midpoint"] < rows[1]["midpoint_high"]
    with pytest.raises(NoTransitionError, match="same at all steps"):
        fits.over_prompts("midpoint", 3)


def test_intervals_over_seeds_are_students_of_the_logarithms(fits) -> None:
    logs = np.log(fits.of_seeds("midpoint")[:3])
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)  # t of 2 degrees of freedom
    found = fits.midpoint()
    assert found.n == 3
    assert math.log(found.low) == pytest.approx(logs.mean() - half, abs=1e-4)
    assert math.log(found.high) == pytest.approx(logs.mean() + half, abs=1e-4)
    assert fits.width().low > 1


def test_the_same_seed_gives_the_same_intervals_and_more_prompts_narrower_ones() -> None:
    rng = np.random.default_rng(5)
    answers = (rng.random((1, 1, 400)) < curve()(STEPS)[None, :, None]).astype(float)
    one, again = (fit_s_curves(STEPS, answers, n_resamples=80) for _ in range(2))
    few = fit_s_curves(STEPS, answers[..., :40], n_resamples=80)
    assert np.array_equal(one.resampled, again.resampled)

    def spread(fits) -> float:
        interval = fits.over_prompts("midpoint", 0)
        return interval.high / interval.low

    assert spread(one) < spread(few)


@pytest.mark.slow
def test_both_intervals_hold_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    over_seeds, over_prompts, n = 0, 0, 40
    for i in range(n):
        true = 150 * np.exp(rng.normal(0, 0.2, 6))
        shares = np.stack([curve(midpoint=m)(STEPS) for m in true])
        answers = (rng.random((6, 1, 50)) < shares[..., None]).astype(float)
        fits = fit_s_curves(STEPS, answers, seed=i, n_resamples=50)
        over_seeds += fits.midpoint().contains(150)
        over_prompts += sum(fits.over_prompts("midpoint", k).contains(true[k]) for k in range(6))
    assert over_seeds / n > 0.87
    assert over_prompts / (6 * n) > 0.9


def test_few_numbers_have_students_interval() -> None:
    found = student_mean([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)
    assert student_mean([1.0]).high == math.inf
    assert geometric_mean([4.0, 9.0]).estimate == pytest.approx(6)
    with pytest.raises(ValueError, match="one is -1"):
        geometric_mean([1.0, -1.0])


def test_golden() -> None:
    y = curve()(STEPS) + np.random.default_rng(1).normal(0, 0.03, STEPS.size)
    found = fit_s_curve(STEPS, y)
    assert (found.midpoint, found.width) == pytest.approx(GOLDEN, rel=1e-3)


GOLDEN = (149.155, 1.81377)
