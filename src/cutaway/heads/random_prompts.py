"""Prompts of random tokens, on which a head can only show what it does by itself.

Three kinds, since no one of them shows everything: repeated (what comes next is known from the
first time), distinct (nothing is ever found), and few (equal tokens at all distances).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.prompts import TaskError
from ..tasks.random_tokens import drawable_tokens, first_tokens

Kind = Literal["repeated", "distinct", "few"]
SHORTEST = 3  # of a half: with two tokens the one before is the one that induction looks at
LONGEST = 25  # unless asked otherwise: long enough that chance is small, short enough to be quick


@dataclass(frozen=True, eq=False)
class RandomPrompts:
    """Random tokens of one kind, and where their halves lie.

    Example:
        >>> prompts = random_prompts(model, "repeated", half_length=4, bos_token=0)
        >>> prompts.tokens[0]
        tensor([ 0, 11,  3,  7,  5, 11,  3,  7,  5])
        >>> prompts.second_half
        range(5, 9)
    """

    kind: Kind
    tokens: Int[Tensor, "prompt pos"]
    n_before: int
    """Tokens before the first half: 1 where BOS goes first, otherwise 0."""
    half_length: int
    """T. Prompts that repeat nothing have 2T random tokens too, so that all are as long."""

    @property
    def length(self) -> int:
        """Tokens of each prompt."""
        return self.n_before + 2 * self.half_length

    @property
    def second_half(self) -> range:
        """Positions of the last T tokens; of repeated prompts the second copy."""
        return range(self.n_before + self.half_length, self.length)


def random_prompts(
    model: HookedTransformer,
    kind: Kind = "repeated",
    n_prompts: int = 32,
    half_length: int | None = None,
    seed: int = 0,
    vocabulary: Sequence[int] | None = None,
    bos_token: int | None = None,
) -> RandomPrompts:
    """Prompts of random tokens. They need no tokenizer.

    Args:
        model: gives the vocabulary, the context length, and BOS if it has a tokenizer.
        kind: "repeated": [BOS, r, r], r of T different tokens (Elhage et al. 2021; Olsson et al.
            2022). "distinct": [BOS, s], s of 2T different tokens. "few": [BOS, s], s of 2T tokens
            drawn with replacement from T / 2 (at least 3), others in each prompt, so that equal
            tokens stand at all distances.
        n_prompts: how many.
        half_length: T; None takes what fits, at most 25.
        seed: of the draws; each kind has draws of its own.
        vocabulary: the tokens to draw from; None means all but special ones.
        bos_token: what goes first; None means BOS if the model wants it and has a tokenizer.

    Raises:
        TaskError: too short or too long a half, too few tokens, a token that is not there.

    Example:
        >>> random_prompts(model, "few", n_prompts=8, half_length=10).tokens.shape
        torch.Size([8, 21])
    """
    if kind not in get_args(Kind):
        raise TaskError(f"kind={kind!r} is not one of {', '.join(get_args(Kind))}.")
    if n_prompts < 1:
        raise TaskError(f"n_prompts={n_prompts} is too few: at least 1.")
    start = first_tokens(model, bos_token)
    tokens = drawable_tokens(model, vocabulary, start)
    T = _half_length(model, half_length, len(start), len(tokens))
    rng = np.random.default_rng([get_args(Kind).index(kind), seed])
    rows = [
        [*start, *(tokens[i] for i in _drawn(rng, kind, len(tokens), T))] for _ in range(n_prompts)
    ]
    return RandomPrompts(kind, torch.tensor(rows, device=model.device), len(start), T)


def _half_length(model: HookedTransformer, given: int | None, n_before: int, n_tokens: int) -> int:
    """T as given, or what fits."""
    # Within a sliding window every query still sees all keys before it.
    n_ctx = min(model.cfg.n_ctx, model.cfg.sliding_window or model.cfg.n_ctx)
    fits = min((n_ctx - n_before) // 2, n_tokens // 2)
    if fits < SHORTEST:
        raise TaskError(
            f"{model.cfg.model_name} has a context of {n_ctx} tokens and {n_tokens} "
            f"tokens to draw from: two halves of {SHORTEST} different tokens need "
            f"{n_before + 2 * SHORTEST} places and {2 * SHORTEST} tokens."
        )
    if given is None:
        return min(fits, LONGEST)
    if not SHORTEST <= given <= fits:
        raise TaskError(
            f"half_length={given} is not from {SHORTEST} to {fits}: the context of "
            f"{model.cfg.model_name} is {n_ctx} tokens, and {n_tokens} tokens can be drawn."
        )
    return given


def _drawn(rng: np.random.Generator, kind: Kind, n: int, T: int) -> list[int]:
    """2T indices of tokens."""
    if kind == "distinct":
        whole: list[int] = rng.choice(n, size=2 * T, replace=False).tolist()
        return whole
    half: list[int] = rng.choice(n, size=T, replace=False).tolist()
    if kind == "repeated":
        return half + half
    few = half[: max(SHORTEST, T // 2)]
    return [few[i] for i in rng.integers(len(few), size=2 * T)]
