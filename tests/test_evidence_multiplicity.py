"""False discoveries: against scipy, the rule as published, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from cutaway.evidence import benjamini_hochberg as hochberg
from cutaway.evidence import sign_flips

P_VALUES = arrays(
    np.float64, array_shapes(max_dims=3), elements=st.floats(0, 1, allow_subnormal=False)
)


@given(P_VALUES, st.floats(0.01, 0.5), st.booleans())
def test_the_survivors_are_scipys_and_those_of_the_step_up_rule(p, rate, dependent) -> None:
    ours = hochberg(p, rate, any_dependence=dependent)
    theirs = stats.false_discovery_control(p, axis=None, method="by" if dependent else "bh")
    np.testing.assert_allclose(ours.adjusted, theirs.reshape(p.shape), rtol=1e-12)
    factor = sum(1 / i for i in range(1, p.size + 1)) if dependent else 1
    # A hair of tolerance on both sides: at the very border rounding decides.
    for slack, holds in ((1 - 1e-9, np.less_equal), (1 + 1e-9, np.greater_equal)):
        bounds = slack * rate * np.arange(1, p.size + 1) / (p.size * factor)
        below = np.flatnonzero(np.sort(p, axis=None) <= bounds)
        last = below[-1] + 1 if below.size else 0
        assert holds(last, ours.n)
    assert ours.found.shape == p.shape and ours.n == ours.found.sum()


@given(P_VALUES)
def test_adjusting_keeps_the_order_and_never_lowers(p) -> None:
    adjusted = hochberg(p).adjusted
    assert (adjusted >= p).all() and (adjusted <= 1).all()
    order = np.argsort(p, axis=None)
    assert (np.diff(adjusted.ravel()[order]) >= 0).all()


def test_the_example_of_benjamini_and_hochberg() -> None:
    # Their section 3.2: 15 p-values, of which four survive at 0.05; Bonferroni keeps three.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
         0.4262, 0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    assert hochberg(p).n == 4


def test_few_of_the_findings_are_false() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(60):
        values = rng.normal(0, 1, (200, 12))
        values[:40] += 1.2
        found = hochberg(sign_flips(values).p, 0.1).found
        shares.append(found[40:].sum() / max(1, found.sum()))
    # The rate times the share that do nothing, 0.1 * 160 / 200, is what independent tests have.
    assert 0.05 < np.mean(shares) < 0.1


def test_bad_p_values_are_refused() -> None:
    with pytest.raises(ValueError, match="There are no p-values"):
        hochberg([])
    with pytest.raises(ValueError, match="2 of the 3 p-values do not lie in 0 to 1"):
        hochberg([0.5, 1.5, np.nan])
    with pytest.raises(ValueError, match="rate=1.0 must lie between 0 and 1"):
        hochberg([0.5], rate=1.0)
