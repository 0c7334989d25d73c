"""At which steps a model is kept."""

from __future__ import annotations

import math

from .config import KeepSettings


def log_spaced(n: int, last: int) -> list[int]:
    """About `n` steps from 1 to `last`, spaced evenly on a logarithmic scale, without repeats.

    Early ones lie closer than 1 apart and fall together, so that there may be fewer.

    Example:
        >>> log_spaced(5, 1000)
        [1, 6, 32, 178, 1000]
    """
    if n < 1 or last < 1:
        return []
    if n == 1:
        return [last]
    ratio = math.log(last) / (n - 1)
    return sorted({min(last, round(math.exp(ratio * i))) for i in range(n)})


def kept_steps(keep: KeepSettings, n_steps: int) -> frozenset[int]:
    """The steps whose model stays: log-spaced ones, every k-th, and with either the fresh model
    (step 0) and the last one.

    Example:
        >>> sorted(kept_steps(KeepSettings(model_every=4), 10))
        [0, 4, 8, 10]
    """
    steps = set(log_spaced(keep.log_spaced, n_steps))
    if keep.model_every:
        steps |= set(range(0, n_steps + 1, keep.model_every))
    return frozenset(steps | {0, n_steps} if steps else ())
