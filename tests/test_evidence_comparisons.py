"""Permutation tests and comparisons against scipy's and against counting by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cutaway.evidence import paired_difference, permutation, regroupings, resampling, sign_flips
from cutaway.evidence import two_sample_difference as two_samples

SMALL = st.integers(-4, 4).map(float)  # whole numbers have ties


def by_hand_signs(values: list[float]) -> float:
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=len(values))]
    return float(np.mean([total >= abs(sum(values)) for total in sums]))


def by_hand_groups(first: list[float], second: list[float]) -> float:
    pooled, k = [*first, *second], len(first)

    def far(chosen: tuple[int, ...]) -> float:
        inside = [pooled[i] for i in chosen]
        outside = [pooled[i] for i in range(len(pooled)) if i not in chosen]
        return abs(np.mean(inside) - np.mean(outside))

    choices = list(itertools.combinations(range(len(pooled)), k))
    observed = far(tuple(range(k)))
    return float(np.mean([far(one) >= observed - 1e-9 for one in choices]))


@given(st.lists(SMALL, min_size=1, max_size=9))
def test_few_prompts_are_tested_by_counting_every_sign(values) -> None:
    found = sign_flips(values)
    assert found.exact and found.smallest == 2 ** (1 - len(values))
    assert float(found.p) == pytest.approx(by_hand_signs(values))


@given(st.lists(SMALL, min_size=1, max_size=5), st.lists(SMALL, min_size=1, max_size=5))
def test_two_small_samples_are_tested_by_counting_every_grouping(first, second) -> None:
    found = regroupings(first, second)
    assert found.exact and found.p >= found.smallest
    assert float(found.p) == pytest.approx(by_hand_groups(first, second))


def test_the_smallest_p_value_is_that_of_samples_that_do_not_overlap() -> None:
    for first, second in (([5.0, 6.0, 7.0], [1.0, 2.0, 3.0]), ([9.0, 8.0], [1.0, 2.0, 3.0])):
        found = regroupings(first, second)
        assert float(found.p) == pytest.approx(found.smallest)


def test_many_prompts_have_scipys_p_values() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal([[0.0], [0.2], [0.35]], 1.0, (3, 40))
    found = sign_flips(values, n_resamples=20_000)
    assert not found.exact
    for row, p in zip(values, found.p, strict=True):
        theirs = stats.permutation_test(
            (row,), np.mean, permutation_type="samples", vectorized=True, n_resamples=20_000, rng=1
        ).pvalue
        assert p == pytest.approx(theirs, abs=4 * np.sqrt(2 * p * (1 - p) / 20_000))
        assert p == pytest.approx(stats.ttest_1samp(row, 0).pvalue, abs=0.02)


def test_two_large_samples_have_scipys_p_value() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.5, 1, 30), rng.normal(0, 1, 20)
    ours = regroupings(first, second, n_resamples=20_000)
    theirs = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.abs(a.mean(axis) - b.mean(axis)),
        alternative="greater",
        vectorized=True,
        n_resamples=20_000,
        rng=1,
    ).pvalue
    assert not ours.exact
    assert float(ours.p) == pytest.approx(theirs, abs=0.01)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.sampled_from([9, 30]))
@settings(max_examples=20)
def test_p_values_do_not_depend_on_unit_sign_or_neighbours(seed, unit, n) -> None:
    values = np.random.default_rng(seed).normal(0.3, 1, (2, 3, n))
    whole = sign_flips(values, n_resamples=500)
    assert whole.p.shape == (2, 3) and (whole.p >= whole.smallest).all() and (whole.p <= 1).all()
    np.testing.assert_array_equal(sign_flips(-unit * values, n_resamples=500).p, whole.p)
    np.testing.assert_array_equal(sign_flips(values[1, 2], n_resamples=500).p, whole.p[1, 2])


def test_p_values_do_not_depend_on_how_they_are_chunked(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    values, first, second = rng.normal(0.4, 1, (7, 30)), rng.normal(1, 1, 20), rng.normal(0, 1, 9)

    def found() -> list[np.ndarray]:
        many = sign_flips(values, n_resamples=400, finest=1 / 3000)
        return [many.p, sign_flips(values[:, :9]).p, regroupings(first, second).p]

    whole = found()
    monkeypatch.setattr(resampling, "CELLS", 700)
    for chunked, at_once in zip(found(), whole, strict=True):
        np.testing.assert_array_equal(chunked, at_once)


def test_zero_is_no_evidence_and_a_drawn_p_value_is_never_zero() -> None:
    values = np.stack([np.zeros(50), np.ones(50)])
    assert sign_flips(values, n_resamples=99).p.tolist() == [1.0, 0.01]
    assert float(sign_flips([5.0]).p) == 1.0
    assert float(regroupings(np.ones(30), np.zeros(30), n_resamples=99).p) == 0.01


def test_finer_p_values_are_drawn_only_where_they_are_needed() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal([[0.0], [3.0]], 1.0, (2, 40))
    coarse = sign_flips(values, n_resamples=200)
    fine = sign_flips(values, n_resamples=200, finest=1e-4)
    assert fine.p[0] == coarse.p[0]
    assert fine.p[1] == pytest.approx(1e-4) and fine.smallest == pytest.approx(1e-4)
    assert coarse.p[1] == pytest.approx(1 / 201)


def test_where_nothing_is_p_values_are_below_a_bound_as_often_as_it_says() -> None:
    values = np.random.default_rng(0).normal(0, 1, (20_000, 25))
    for found in (
        sign_flips(values, n_resamples=199),
        sign_flips(values, n_resamples=199, finest=1 / 2000),  # in two steps
        sign_flips(values[:, :8]),
    ):
        for bound in (0.02, 0.05, 0.0625, 0.25):
            share = np.mean(found.p <= bound)
            # Items share their signs, so the share varies a little more than binomially.
            assert 0.6 * bound < share < bound + 5 * np.sqrt(bound / 20_000) + 0.15 * bound


def test_draws_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(permutation, "MOST_DRAWS", 999)
    found = sign_flips(np.ones(40), n_resamples=100, finest=1e-12)
    assert float(found.p) == found.smallest == 1e-3


# ---- comparisons ----


def test_pairs_are_told_apart_where_two_samples_are_not() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(0, 5, 40)
    first, second = common + 0.5 + rng.normal(0, 0.3, 40), common + rng.normal(0, 0.3, 40)
    paired, apart = paired_difference(first, second), two_samples(first, second)
    assert paired.p_value < 0.001 and paired.interval.low > 0
    assert apart.p_value > 0.5 and apart.interval.contains(0)
    assert paired.interval.estimate == pytest.approx(apart.interval.estimate)
    assert (paired.interval.n, apart.interval.n) == (40, 80)


def test_two_samples_have_scipys_interval() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(1, 1, 30), rng.normal(0, 2, 50)
    theirs = stats.bootstrap(
        (first, second),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        method="percentile",
        n_resamples=10_000,
        rng=1,
    ).confidence_interval
    ours = two_samples(first, second).interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_samples_of_one_size_are_not_resampled_alike() -> None:
    values = np.random.default_rng(0).normal(0, 1, 30)
    interval = two_samples(values, values).interval
    assert interval.low < -0.2 and interval.high > 0.2


def test_one_value_has_no_interval() -> None:
    assert two_samples([1.0], [1.0, 2.0]).interval.low == -np.inf
    assert paired_difference([1.0], [2.0]).interval.high == np.inf


def test_a_comparison_reads_well() -> None:
    exact = paired_difference([3.0, 4.0, 6.0, 5.0], [2.0, 3.0, 3.0, 4.0])
    assert str(exact) == "1.500 [1.000, 2.500] (95%, n=4), p = 0.125 (exact)"
    drawn = paired_difference(np.ones(40), np.zeros(40), n_resamples=999)
    assert str(drawn).endswith("p = 0.001 (at least 0.001)")


def test_faults_are_named() -> None:
    with pytest.raises(ValueError, match="over the same prompts; two_sample_difference"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="1 of the 2 numbers in second are not finite"):
        two_samples([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(ValueError, match=r"must be \[prompt\] each"):
        regroupings([[1.0]], [1.0])
    with pytest.raises(ValueError, match="level=2"):
        two_samples([1.0, 2.0], [1.0], level=2)
    with pytest.raises(ValueError, match="n_resamples=0"):
        sign_flips([1.0], n_resamples=0)
    with pytest.raises(ValueError, match="finest=0"):
        sign_flips([1.0], finest=0.0)
    with pytest.raises(ValueError, match="values is empty"):
        sign_flips(np.zeros((3, 0)))
