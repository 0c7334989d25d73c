"""Power: the textbook's numbers, scipy's noncentral t, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cutaway.evidence import minimum_detectable_effect, prompts_needed, sign_flips


@pytest.mark.parametrize(("d", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_numbers_of_pairs_in_the_textbook(d, n) -> None:
    # Two-sided t test of paired values at 0.05 with power 0.8, as G*Power gives them.
    values = [1.0, 2.0, 3.0]  # of spread 1
    assert prompts_needed(d, values) == prompts_needed(-10 * d, [10.0, 20.0, 30.0]) == n
    assert minimum_detectable_effect(values, n) <= d < minimum_detectable_effect(values, n - 1)


@pytest.mark.parametrize(("n", "alpha", "power"), [(10, 0.05, 0.8), (40, 0.001, 0.9)])
def test_the_effect_is_found_as_often_as_it_says(n, alpha, power) -> None:
    least = minimum_detectable_effect([0.0, 1.0, 2.0], n, alpha, power)
    tail = stats.t.isf(alpha / 2, n - 1)
    assert stats.nct.sf(tail, n - 1, least * np.sqrt(n)) == pytest.approx(power, abs=1e-4)


def test_sign_flips_find_it_as_often() -> None:
    least = float(minimum_detectable_effect([0.0, 1.0, 2.0], 20))
    values = np.random.default_rng(0).normal(least, 1, (4000, 20))
    assert np.mean(sign_flips(values, n_resamples=999).p <= 0.05) == pytest.approx(0.8, abs=0.03)


def test_it_falls_with_the_prompts_and_is_infinite_below_what_signs_can_say() -> None:
    values = np.random.default_rng(0).normal(0, [[1.0], [3.0]], (2, 50))
    found = np.array([minimum_detectable_effect(values, n) for n in (5, 6, 20, 50, 100_000)])
    assert np.isinf(found[0]).all() and (np.diff(found[1:], axis=0) < 0).all()
    np.testing.assert_allclose(found[3], minimum_detectable_effect(values))
    np.testing.assert_allclose(found[2, 1] / found[2, 0], values[1].std() / values[0].std())
    assert prompts_needed(1e6, [1.0, 2.0]) == prompts_needed(1.0, [2.0, 2.0]) == 6


def test_bad_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="how they spread takes at least two"):
        minimum_detectable_effect([1.0])
    with pytest.raises(ValueError, match="alpha=0.05 and power=0.01"):
        minimum_detectable_effect([1.0, 2.0], power=0.01)
    with pytest.raises(ValueError, match="n_prompts=0"):
        minimum_detectable_effect([1.0, 2.0], n_prompts=0)
    with pytest.raises(ValueError, match="effect=0 cannot be found"):
        prompts_needed(0, [1.0, 2.0])
    with pytest.raises(ValueError, match="more than a million prompts"):
        prompts_needed(1e-9, [1.0, 2.0])
    with pytest.raises(ValueError, match="ask for one at a time"):
        prompts_needed(1.0, [[1.0, 2.0]])
