"""What a probe's number is held against: control tasks, shuffled labels, a guess."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from .labels import Labels
from .splits import Split

Values = NDArray[np.float64] | NDArray[np.int64]


def control_labels(
    labels: Labels, word_types: Int[NDArray[np.int64], " prompt"], seed: int
) -> Labels:
    """A control task: a label for each word type, drawn from how often the real labels occur.

    The label says nothing but which word it was dealt to. A probe can know it only by learning
    words by heart, so that what it gains on the real labels beyond that (its selectivity) is in
    the representation (Hewitt and Liang 2019, section 2).

    Args:
        labels: the real ones, whose frequencies are kept on average.
        word_types: the word of each prompt.
        seed: of the draw.

    Example:
        >>> control = control_labels(labels, data.word_types[0], seed=0)
    """
    rng = np.random.default_rng(seed)
    types, of_prompt = np.unique(word_types, return_inverse=True)
    dealt = rng.choice(labels.values, size=len(types))
    return Labels(f"control task {seed}", dealt[of_prompt.ravel()], labels.classes)


def shuffled_labels(labels: Labels, groups: tuple[str, ...], seed: int) -> Labels:
    """The labels in another order, so that no prompt's activation has to do with its own.

    Where a label is the same throughout every group, whole groups exchange theirs.
    """
    return Labels(f"shuffled {seed}", _rearranged(labels.values, groups, seed), labels.classes)


def seen_types(
    word_types: Int[NDArray[np.int64], "position prompt"], parts: Split
) -> Float[NDArray[np.float64], " position"]:
    """The share of test prompts whose word the train prompts have too.

    Only for those can a control task be known by heart; where the share is small, it is easy to be
    more selective than that.
    """
    return np.array([float(np.isin(of[parts.test], of[parts.train]).mean()) for of in word_types])


def rearrangements(values: Values, groups: tuple[str, ...], n: int, seed: int) -> list[Values]:
    """Labels of some prompts in n random orders, as of `shuffled_labels`."""
    return [_rearranged(values, groups, seed + 1 + i) for i in range(n)]


def guess(labels: Labels, parts: Split) -> Float[NDArray[np.float64], " prompt"]:
    """The score on each test prompt without any activation: the most frequent class of the train
    prompts, or their mean."""
    train, test = labels.values[parts.train], labels.values[parts.test]
    if labels.is_numeric:
        error = (test - train.mean()) ** 2
        return np.asarray(1 - error / error.mean())
    most = np.bincount(train.astype(np.int64)).argmax()
    return np.asarray(test == most, dtype=np.float64)


def _rearranged(values: Values, groups: tuple[str, ...], seed: int) -> Values:
    rng = np.random.default_rng(seed)
    _, first, of_prompt = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    whole, of_prompt = values[first], of_prompt.ravel()
    if len(first) < len(values) and bool((whole[of_prompt] == values).all()):
        return np.asarray(rng.permutation(whole)[of_prompt])
    return np.asarray(rng.permutation(values))
