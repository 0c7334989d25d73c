"""Permutation tests: p-values from rearranging the data, with no shape of distribution assumed.

An arrangement is a row of numbers, and its statistic is its product with the values: signs for
paired values, membership of the first group for two samples. If nothing is there, the data as
they came are one arrangement among equals, so

    p = (arrangements whose statistic is at least as far from 0 as the observed) / (arrangements)

Where there are few arrangements all are counted and p is exact. Else some are drawn, and the one
that was observed counts among them: p = (1 + reached) / (1 + drawn). Without the 1 a p-value could
be 0, and tests would find too much (Phipson and Smyth 2010).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import resampling
from .resampling import Floats, finite

Draw: TypeAlias = Callable[[np.random.Generator, int], Floats]
"""(generator, rows) -> that many arrangements at random, [row, value]."""

MOST_DRAWS = 1_000_000
"""Arrangements that are drawn at most, however fine a p-value is asked for."""

_TIE = 1e-12  # of the sum of sizes: what differs by rounding alone is a tie, and counts
_FEW = 10  # an item that fewer of the first draws reached is held against more


@dataclass(frozen=True)
class PValues:
    """The p-values of a family of tests, and how fine they could be.

    Example:
        >>> sign_flips([[1.0, 2.0, 3.0], [1.0, -1.0, 0.5]]).p
        array([0.25, 1.  ])
    """

    p: Floats
    """[...], two-sided."""
    exact: bool
    """All arrangements were counted; otherwise some were drawn."""
    smallest: float
    """The smallest p-value that any effect could have had here."""


def sign_flips(
    values: ArrayLike, seed: int = 0, n_resamples: int = 10_000, finest: float | None = None
) -> PValues:
    """Tests of mean zero over prompts, of a whole sweep at once (Fisher 1935, section 21).

    Where an intervention does nothing, its change on a prompt may as well be -x as x. The
    statistic is the mean, two-sided. Student's t puts the arrangements in the same order, so it
    would give the same p. Every item is held against the same signs.

    With n prompts no p-value is below 2 / 2**n. Where 2**(n - 1) is at most `n_resamples`, all
    signs are counted; otherwise that many are drawn, and no p-value is below 1 / (1 + n_resamples).
    In a large sweep that may be too coarse for any to count, so `finest` asks for more: items that
    fewer than 10 of the first draws reached are held against as many as it takes. That is valid:
    below 11 / (1 + n_resamples) only p-values from all the draws can lie, and what ends below a
    larger bound was below it after the first draws.

    Args:
        values: [..., prompt], finite: the change on each prompt, or a paired difference.
        seed: of the signs; the same seed gives the same p-values.
        n_resamples: how many signs are counted at most, or else drawn for every item.
        finest: a p-value that shall be attainable; at most `MOST_DRAWS` signs are drawn for it.

    Raises:
        ValueError: no values, values that are not finite, no resamples, a bad `finest`.

    Example:
        >>> float(sign_flips([0.3, 0.2, 0.4, 0.1, 0.5, 0.2]).p)
        0.03125
    """
    array = finite("values", values)
    if n_resamples < 1 or (finest is not None and not 0 < finest <= 1):
        raise ValueError(f"n_resamples={n_resamples} must be >= 1, finest={finest} in (0, 1].")
    n, shape = array.shape[-1], array.shape[:-1]
    items = array.reshape(-1, n)
    half = 2 ** (n - 1)  # turning all signs leaves the size of the mean as it is
    as_it_came = np.ones(n)
    if half <= n_resamples:
        p = _reached(items, as_it_came, _all_signs(n)) / half
        return PValues(p.reshape(shape), True, 1 / half)
    most = n_resamples
    if finest is not None:
        most = max(n_resamples, min(MOST_DRAWS, math.ceil(1 / finest) - 1))

    def signs(rng: np.random.Generator, rows: int) -> Floats:
        return np.where(rng.random((rows, n)) < 0.5, -1.0, 1.0)

    p = _drawn(items, as_it_came, signs, seed, n_resamples, most)
    return PValues(p.reshape(shape), False, 1 / (1 + most))


def regroupings(
    first: ArrayLike, second: ArrayLike, seed: int = 0, n_resamples: int = 10_000
) -> PValues:
    """Test that two samples come from one distribution, by the difference of their means.

    Two-sided. All ways to deal the values out to two groups of these sizes are counted if they are
    at most `n_resamples`, else that many are drawn.

    Args:
        first: [prompt], finite.
        second: [other prompt], finite; the samples share no prompts.
        seed: of the groups that are drawn.
        n_resamples: how many groupings are counted at most, or else drawn.

    Raises:
        ValueError: a sample is empty, not finite or not one-dimensional; no resamples.

    Example:
        >>> float(regroupings([3.0, 4.0, 5.0], [0.0, 1.0, 2.0]).p)
        0.1
    """
    a, b = finite("first", first), finite("second", second)
    if a.ndim != 1 or b.ndim != 1 or n_resamples < 1:
        raise ValueError(
            f"first {a.shape} and second {b.shape} must be [prompt] each, "
            f"n_resamples={n_resamples} >= 1."
        )
    pooled = np.concatenate([a, b])
    n, k = pooled.size, a.size
    # Without the mean of all, the difference of means is proportional to the first group's sum.
    items = (pooled - pooled.mean())[None]
    as_it_came = np.repeat([1.0, 0.0], [k, n - k])
    ways = math.comb(n, k)
    if ways <= n_resamples:
        p = _reached(items, as_it_came, _all_groups(n, k)) / ways
        alike = 2 if 2 * k == n else 1  # groups of one size can swap, and differ as much
        return PValues(p.reshape(()), True, alike / ways)

    def groups(rng: np.random.Generator, rows: int) -> Floats:
        return rng.permuted(np.tile(as_it_came, (rows, 1)), axis=1)

    p = _drawn(items, as_it_came, groups, seed, n_resamples, n_resamples)
    return PValues(p.reshape(()), False, 1 / (1 + n_resamples))


def _drawn(
    items: Floats, as_it_came: Floats, draw: Draw, seed: int, first: int, most: int
) -> Floats:
    """p-values [item] from `first` draws, and from `most` where few of the first reached."""
    rng = np.random.default_rng(seed)
    n = len(as_it_came)
    reached = _reached(items, as_it_came, _chunks(draw, rng, n, first))
    drawn = np.full(len(items), first)
    more = np.flatnonzero(reached < _FEW)
    if most > first and more.size:
        further = _chunks(draw, rng, n, most - first)
        reached[more] += _reached(items[more], as_it_came, further)
        drawn[more] = most
    return np.asarray((1 + reached) / (1 + drawn), dtype=np.float64)


def _reached(
    items: Floats, as_it_came: Floats, arrangements: Iterable[Floats]
) -> NDArray[np.int64]:
    """How many arrangements are at least as far from 0 as the observed one: [item]."""
    bound = np.abs(items @ as_it_came) - _TIE * np.abs(items).sum(-1)
    count = np.zeros(len(items), dtype=np.int64)
    for rows in arrangements:
        step = max(1, resampling.CELLS // max(rows.shape))
        for i in range(0, len(items), step):
            far = np.abs(rows @ items[i : i + step].T) >= bound[i : i + step]  # [row, item]
            count[i : i + step] += far.sum(0)
    return count


def _chunks(draw: Draw, rng: np.random.Generator, n: int, total: int) -> Iterator[Floats]:
    """`total` arrangements, so many at a time that memory stays bounded."""
    step = _rows_at_a_time(n)
    for start in range(0, total, step):
        yield draw(rng, min(step, total - start))


def _all_signs(n: int) -> Iterator[Floats]:
    """All signs of n values whose last is +: [row, n], 2**(n - 1) rows in all."""
    step, half = _rows_at_a_time(n), 2 ** (n - 1)
    for start in range(0, half, step):
        number = np.arange(start, min(start + step, half))[:, None]
        yield np.where((number >> np.arange(n)) & 1, -1.0, 1.0)


def _all_groups(n: int, k: int) -> Iterator[Floats]:
    """Every choice of k out of n as ones among zeros: [row, n]."""
    choices = itertools.combinations(range(n), k)
    while some := list(itertools.islice(choices, _rows_at_a_time(n))):
        rows = np.zeros((len(some), n))
        rows[np.arange(len(some))[:, None], np.array(some)] = 1.0
        yield rows


def _rows_at_a_time(n: int) -> int:
    return max(1, min(16_384, resampling.CELLS // n))
