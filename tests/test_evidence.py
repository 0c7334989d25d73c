"""Intervals against scipy's, against closed forms, and by what must always hold."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cutaway import evidence
from cutaway.evidence import (
    Interval,
    bootstrap_mean,
    bootstrap_means,
    bootstrap_ratio,
    difference_of_proportions,
    proportion,
    resampling,
)


def sample(*shape: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, shape)


def test_the_package_loads_numpy_and_nothing_heavier() -> None:
    code = "import sys, cutaway.evidence; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"scipy", "torch", "jaxtyping", "matplotlib"} & set(done.stdout.split())


def test_the_mean_has_scipys_percentile_interval() -> None:
    values = sample(64, mean=2.0)
    ours = bootstrap_mean(values)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=1
    ).confidence_interval
    assert ours.estimate == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert (ours.n, ours.level) == (64, 0.95)


def test_many_means_are_the_means_of_each_row() -> None:
    rows = sample(3, 2, 20, mean=1.0)
    estimate, low, high = bootstrap_means(rows, seed=4, level=0.9)
    for at in np.ndindex(3, 2):
        alone = bootstrap_mean(rows[at], seed=4, level=0.9)
        assert (estimate[at], low[at], high[at]) == pytest.approx(
            (alone.estimate, alone.low, alone.high)
        )


def test_a_ratio_has_scipys_paired_interval() -> None:
    bottom = sample(40, seed=1, mean=4.0)
    top = 0.5 * bottom + 0.2 * sample(40, seed=2)
    estimate, low, high = bootstrap_ratio(top, bottom)
    theirs = stats.bootstrap(
        (top, bottom),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        rng=1,
    ).confidence_interval
    assert estimate == pytest.approx(top.mean() / bottom.mean())
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    held = [
        bootstrap_mean(sample(50, seed=i), n_resamples=500, level=0.9).contains(0.0)
        for i in range(300)
    ]
    assert 0.84 < np.mean(held) < 0.95


def test_ratios_do_not_depend_on_how_they_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    top, bottom = sample(3, 5, 30), sample(30, seed=1, mean=3.0)
    whole = bootstrap_ratio(top, bottom, n_resamples=300)
    monkeypatch.setattr(resampling, "CELLS", 1200)
    np.testing.assert_allclose(bootstrap_ratio(top, bottom, n_resamples=300), whole, rtol=1e-12)
    assert [part.shape for part in whole] == [(3, 5)] * 3


def test_a_ratio_is_the_same_alone_and_among_others() -> None:
    top, bottom = sample(6, 20), sample(20, seed=1, mean=3.0)
    among = np.array(bootstrap_ratio(top, bottom, n_resamples=400))[:, 4]
    alone = np.array(bootstrap_ratio(top[4], bottom, n_resamples=400))
    np.testing.assert_allclose(among, alone, rtol=1e-12)


def test_the_denominator_over_itself_is_exactly_one() -> None:
    bottom = sample(16, mean=5.0)
    assert np.array(bootstrap_ratio(bottom, bottom)).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_a_denominator_of_uncertain_sign_bounds_nothing() -> None:
    estimate, low, high = bootstrap_ratio(sample(20, mean=1.0), sample(20, seed=3))
    assert np.isfinite(estimate)
    assert (low, high) == (-np.inf, np.inf)


def test_the_seed_decides() -> None:
    values = sample(20)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_one_prompt_has_no_interval() -> None:
    found = bootstrap_mean([2.5])
    assert (found.low, found.estimate, found.high) == (-np.inf, 2.5, np.inf)
    assert str(found) == "2.500 (one prompt: no interval)"
    estimate, low, high = bootstrap_ratio([[1.0], [4.0]], [2.0])
    assert estimate.tolist() == [0.5, 2.0]
    assert (low == -np.inf).all() and (high == np.inf).all()
    assert "n=1" in str(proportion(1, 1))  # Wilson's interval holds for one trial too


def test_an_effect_matters_by_its_interval_and_its_size() -> None:
    effect = np.array([0.5, 0.019, -0.3, 0.5, 0.5])
    low = np.array([0.4, 0.01, -0.4, -0.1, -np.inf])
    high = np.array([0.6, 0.03, -0.2, 1.1, np.inf])
    assert evidence.matters(effect, low, high).tolist() == [True, False, True, False, False]
    assert evidence.matters(effect, low, high, least=0.4).tolist() == [True] + [False] * 4


@settings(max_examples=30)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.floats(0.5, 0.99))
def test_an_interval_lies_within_the_values(values: list[float], level: float) -> None:
    found = bootstrap_mean(values, level=level, n_resamples=200)
    slack = 1e-9 * max(1.0, max(abs(v) for v in values))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (3, 7), (62, 64), (1, 1000)])
def test_a_share_has_scipys_wilson_interval(successes: int, n: int) -> None:
    theirs = stats.binomtest(successes, n).proportion_ci(method="wilson")
    ours = proportion(successes, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert ours.estimate == successes / n


def test_faults_are_named() -> None:
    with pytest.raises(ValueError, match="values is empty"):
        bootstrap_mean([])
    with pytest.raises(ValueError, match="1 of the 2 numbers in values are not finite"):
        bootstrap_mean([1.0, float("nan")])
    with pytest.raises(ValueError, match="over the same prompts"):
        bootstrap_ratio([[1.0, 2.0]], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="clean and corrupted do not differ on this metric"):
        bootstrap_ratio([1.0, 2.0], [1.0, -1.0])
    with pytest.raises(ValueError, match=r"level=1\.5"):
        bootstrap_mean([1.0, 2.0], level=1.5)
    with pytest.raises(ValueError, match="no share of 5 in 4"):
        proportion(5, 4)


def test_an_interval_reads_well() -> None:
    interval = Interval(3.17, 2.9, 3.4, 0.95, 64)
    assert str(interval) == "3.170 [2.900, 3.400] (95%, n=64)"
    assert interval.contains(3.4)
    assert not interval.contains(3.41)


def test_the_difference_of_two_shares_is_newcombes() -> None:
    """56/70 less 48/80: the example of Newcombe (1998), table II, which gives 0.0524 to 0.3339."""
    found = difference_of_proportions(proportion(56, 70), proportion(48, 80))
    assert found.estimate == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    back = difference_of_proportions(proportion(48, 80), proportion(56, 70))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    with pytest.raises(ValueError, match="two levels"):
        difference_of_proportions(proportion(1, 2), proportion(1, 2, level=0.9))
