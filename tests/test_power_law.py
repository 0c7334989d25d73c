"""Power laws: exponents come back, with the intervals of ordinary least squares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cutaway.evidence.power_law import power_law


def test_exponents_come_back() -> None:
    rng = np.random.default_rng(0)
    batch, context = (2.0 ** rng.integers(3, 8, 60) for _ in range(2))
    y = 5 * batch**-0.7 * context**0.4 * np.exp(rng.normal(0, 0.1, 60))
    law = power_law(y, {"batch": batch, "context": context})
    assert law.exponents["batch"].contains(-0.7) and law.exponents["context"].contains(0.4)
    assert law.exponents["batch"].high < -0.6
    assert law.constant == pytest.approx(5, rel=0.3) and law.r_squared > 0.95
    doubled = law.doubled("batch")
    assert doubled.estimate == pytest.approx(2 ** law.exponents["batch"].estimate)


def test_one_factor_is_scipys_linear_regression() -> None:
    rng = np.random.default_rng(1)
    x = np.repeat([16.0, 32.0, 64.0], 3)
    y = x**0.5 * np.exp(rng.normal(0, 0.3, 9))
    ours, theirs = power_law(y, {"x": x}).exponents["x"], stats.linregress(np.log(x), np.log(y))
    half = stats.t.ppf(0.975, 7) * theirs.stderr
    assert ours.estimate == pytest.approx(theirs.slope)
    assert (ours.low, ours.high) == pytest.approx((theirs.slope - half, theirs.slope + half))


def test_what_cannot_be_told_apart_is_refused() -> None:
    x = [1.0, 2.0, 4.0, 8.0]
    with pytest.raises(ValueError, match="do not tell 2 exponents"):
        power_law(x, {"a": x, "b": [2 * one for one in x]})
    with pytest.raises(ValueError, match="do not tell 1 exponents"):
        power_law([1.0, 2.0], {"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match="positive numbers only"):
        power_law(x, {"a": [0.0, 1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="same observations"):
        power_law(x, {"a": [1.0, 2.0]})
