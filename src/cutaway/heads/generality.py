"""Specialised or general: how evenly a head's attention is spread over the places it could look."""

from __future__ import annotations

import math

import numpy as np

from ..array_files import Array
from ..evidence.resampling import resampled_means
from .measured import HeadScores
from .scores import PLACES

LEAST = 0.1
"""Above-chance attention to all places together below which nothing is said."""
_N_RESAMPLES = 1000


def generality(
    scores: HeadScores, seed: int = 0, level: float = 0.95
) -> tuple[Array, Array, Array]:
    """(entropy, low, high) of every head, each [layer, head]: 0 one place only, 1 all alike.

    With s_c the score of place c above chance (0 uniform attention, 1 all of it; negative ones
    count as 0) and p_c = s_c / sum of s, the entropy is -sum p_c ln p_c / ln n over the n = 5
    places (previous, duplicate, induction, first and current token), whose keys are different ones
    for the same queries. NaN where the s_c sum to less than 0.1: such a head looks elsewhere, or
    everywhere, and its entropy would be that of noise.

    The entropy is of means over prompts: a head that does one thing on half of the prompts and
    another on the rest counts as general. Intervals are of a bootstrap over prompts.

    Example:
        >>> entropy, low, high = generality(head_scores(model))
    """
    values = np.stack(
        [scores.above_chance(name) for name in PLACES]
    )  # [place, layer, head, prompt]
    shape = values.shape[1:3]
    estimate = _entropy(values.mean(-1))
    if values.shape[-1] == 1:
        return estimate, np.full(shape, np.nan), np.full(shape, np.nan)
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    drawn = resampled_means(rows, seed, _N_RESAMPLES).T  # [place x layer x head, resample]
    entropies = _entropy(drawn.reshape(len(PLACES), *shape, -1))  # [layer, head, resample]
    said = np.isfinite(estimate)
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    if said.any():
        tail = (1 - level) / 2
        low[said], high[said] = np.nanquantile(entropies[said], [tail, 1 - tail], axis=-1)
    return estimate, low, high


def _entropy(values: Array) -> Array:
    """Normalised entropy over the first axis; NaN where there is too little to share out."""
    s = np.clip(values, 0, None)
    total = s.sum(0)
    enough = total >= LEAST
    p = s / np.where(enough, total, 1)
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0)
    found: Array = np.where(enough, -terms.sum(0) / math.log(len(s)), np.nan)
    return np.where(enough, np.abs(found), np.nan)  # no minus zero
