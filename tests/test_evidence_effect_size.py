"""Effect sizes against scipy: bootstrap, Mann and Whitney's U, Wilson's end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cutaway.evidence import auroc, cliffs_delta, cohens_d_z


def test_cohens_d_has_scipys_bootstrap_interval() -> None:
    values = np.random.default_rng(0).normal(0.6, 1, 50)

    def d(sample, axis):
        return sample.mean(axis) / sample.std(axis, ddof=1)

    theirs = stats.bootstrap((values,), d, method="percentile", rng=1, n_resamples=10_000)
    ours = cohens_d_z(values)
    assert ours.estimate == pytest.approx(d(values, 0))
    expected = (theirs.confidence_interval.low, theirs.confidence_interval.high)
    assert (ours.low, ours.high) == pytest.approx(expected, abs=0.02)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_cohens_d_has_no_unit(seed, unit) -> None:
    values = np.random.default_rng(seed).normal(1, 1, 12)
    base, other = cohens_d_z(values, n_resamples=100), cohens_d_z(-unit * values, n_resamples=100)
    assert (other.estimate, other.low, other.high) == pytest.approx(
        (-base.estimate, -base.high, -base.low)
    )


def test_cohens_d_of_two_prompts_is_bounded_by_nothing() -> None:
    assert cohens_d_z([1.0, 2.0]).low == -np.inf
    with pytest.raises(ValueError, match="of at least two prompts"):
        cohens_d_z([1.0])
    with pytest.raises(ValueError, match="All 3 differences are 2: without spread"):
        cohens_d_z([2.0, 2.0, 2.0])


@given(
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8),
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8),
)
def test_cliffs_delta_is_mann_whitneys_u_rescaled(first, second) -> None:
    u = stats.mannwhitneyu(first, second, method="asymptotic").statistic
    found = cliffs_delta(first, second, n_resamples=50)
    assert found.estimate == pytest.approx(2 * u / (len(first) * len(second)) - 1)
    assert -1 <= found.low <= found.high <= 1
    turned = cliffs_delta(second, first, n_resamples=50)
    assert turned.estimate == pytest.approx(-found.estimate)


def test_cliffs_delta_has_scipys_bootstrap_interval() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.5, 1, 30), rng.normal(0, 1, 25)

    def delta(a, b):
        return np.sign(a[:, None] - b).mean()

    theirs = stats.bootstrap(
        (first, second), delta, method="percentile", vectorized=False, n_resamples=2000, rng=1
    ).confidence_interval
    ours = cliffs_delta(first, second)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.04)


def test_samples_that_do_not_overlap_have_wilsons_end() -> None:
    above, below = [5.0, 6.0, 7.0, 8.0, 9.0], [1.0, 2.0, 3.0, 4.0]
    wilson = stats.binomtest(4, 4).proportion_ci(method="wilson").low
    found = cliffs_delta(above, below)
    assert (found.low, found.high) == pytest.approx((2 * wilson - 1, 1.0))
    assert cliffs_delta(below, above).high == pytest.approx(1 - 2 * wilson)
    assert cliffs_delta([3.0], [1.0, 5.0]).low == -1.0  # one value says nothing of its sample
    with pytest.raises(ValueError, match=r"must be \[prompt\] each"):
        cliffs_delta([[1.0]], [1.0])


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
)
def test_the_area_counts_pairs_and_ties_half(positive: list[int], negative: list[int]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in positive for b in negative]
    found = auroc(positive, negative, n_resamples=50)
    assert found.estimate == pytest.approx(sum(pairs) / len(pairs))
    assert 0 <= found.low <= found.estimate <= found.high <= 1
