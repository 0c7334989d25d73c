"""Features turned up, down or off in any run, also while text is made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..model.transformer import HookedTransformer
from .config import DictionaryError
from .dictionary import Dictionary
from .splicing import features_hook, spliced

Operation = Literal["set", "add", "scale"]


@contextmanager
def steered(
    model: HookedTransformer,
    dictionary: Dictionary,
    amounts: Mapping[int, float],
    operation: Operation = "set",
    *,
    hook: str = "",
) -> Iterator[HookedTransformer]:
    """Inside the `with` block, some features are other than they would be, at every token.

    The error term is held, so with no feature changed nothing changes; "set" to 0 is the ablation
    of a feature, "set" to ten times its largest value the clamping of Templeton et al. (2024). For
    an effect on a task, `ca.intervene` with `ca.sae.features(dictionary)` is exact as well and
    keeps to named positions.

    Args:
        model: whose runs are changed; generation too.
        dictionary: whose features.
        amounts: feature -> how much, in the units in which `encode` gives features.
        operation: "set" gives the feature that value, "add" adds it, "scale" multiplies by it.
        hook: where the dictionary writes, if its configuration does not say.

    Raises:
        DictionaryError: no such feature or operation, an amount that is not finite; and what
            `spliced` refuses.

    Example:
        >>> with ca.sae.steered(model, dictionary, {17: 8.0}):
        ...     model.generate("Paul and Mary went to the", 10, temperature=0)
    """
    if operation not in get_args(Operation):
        raise DictionaryError(
            f"operation={operation!r} is none of {', '.join(get_args(Operation))}."
        )
    n = dictionary.cfg.d_features
    for feature, amount in amounts.items():
        if not 0 <= feature < n:
            raise DictionaryError(f"there is no feature {feature}: the dictionary has {n}.")
        if not math.isfinite(amount):
            raise DictionaryError(f"the amount {amount} of feature {feature} is not finite.")
    index = torch.tensor(list(amounts), dtype=torch.long, device=dictionary.device)
    values = torch.tensor(list(amounts.values()), dtype=dictionary.dtype, device=dictionary.device)

    def change(features: Tensor, hook: Any) -> Tensor:
        old = features[..., index]
        changed = {"set": values.expand_as(old), "add": old + values, "scale": old * values}
        return features.index_copy(-1, index, changed[operation])

    place: Any = {hook: dictionary} if hook else dictionary
    with spliced(model, place), model.hooks([(features_hook(dictionary, hook), change)]):
        yield model
