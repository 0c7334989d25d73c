"""How much a head looks at the previous token, the first, itself, and earlier copies of a token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

RATES = ("previous token", "first token", "itself", "earlier copy")
"""What is measured of each head."""


def rates(
    patterns: Float[np.ndarray, "head query key"], tokens: Int[np.ndarray, " pos"]
) -> dict[str, NDArray[np.float64]]:
    """The mean attention of each head to four kinds of keys: name to [head].

    The mean is over all queries but the first token, which can only look at itself. For "earlier
    copy" it is over the queries whose token has occurred before, of the attention to all those
    occurrences together; NaN where there are none. The four can overlap: the previous token of
    the second one is the first.

    Args:
        patterns: attention after the softmax, causal.
        tokens: their numbers.

    Example:
        >>> rates(np.eye(3)[None], np.array([5, 6, 5]))["itself"]
        array([1.])
    """
    weights = np.asarray(patterns, dtype=np.float64)
    after = np.arange(1, len(tokens))
    copies = np.tril(tokens[:, None] == tokens[None, :], -1)  # [query, key]
    has_copy = copies.any(1)
    to_copies = (weights * copies).sum(-1)[:, has_copy]  # [head, query]
    nothing = np.full(len(weights), np.nan)
    return {
        "previous token": weights[:, after, after - 1].mean(-1),
        "first token": weights[:, after, 0].mean(-1),
        "itself": weights[:, after, after].mean(-1),
        "earlier copy": to_copies.mean(-1) if has_copy.any() else nothing,
    }


def uniform_rates(tokens: Int[np.ndarray, " pos"]) -> dict[str, float]:
    """The same of a head that looks at all tokens so far alike: what the numbers are beside."""
    size = len(tokens)
    alike = np.tril(np.ones((1, size, size))) / np.arange(1, size + 1)[:, None]
    return {name: float(value[0]) for name, value in rates(alike, tokens).items()}


def mean_rates(
    found: Sequence[dict[str, NDArray[np.float64]]],
) -> dict[str, NDArray[np.float64]]:
    """The mean over prompts, of those that have a number; NaN where none has."""
    means = {}
    for name in RATES:
        stacked = np.stack([one[name] for one in found])  # [prompt, head]
        known = np.isfinite(stacked)
        total = np.where(known, stacked, 0.0).sum(0)
        means[name] = np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)
    return means
