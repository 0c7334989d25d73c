"""The previous-token model: one layer, one head that looks one position back and copies.

    ... x A y -> A

The smallest circuit with both kinds of edges: its value path can be seen by any corruption that
changes the token, while its queries and keys read positions, which no corruption changes.
"""

from __future__ import annotations

import random

import torch

from .base import (
    BOS,
    DEFAULT_SETTINGS,
    KnownModel,
    KnownSettings,
    Pair,
    Signs,
    known_model,
    with_token,
)
from .building import Read, Recipe, WrittenHead
from .parts import one_back

N_VOCAB = 17
N_CTX = 8
HEAD = "0.1"

WRITTEN = frozenset({"embed->0.1.q", "embed->0.1.k", "embed->0.1.v", "0.1->logits"})

# The value is copied, and the head's output is all that the logits read: each of the two edges is
# the whole effect. Queries and keys read "position", and positions are the same in both runs.
_COPYING = {"embed->0.1.v": +1, "0.1->logits": +1}

DETECTABLE: dict[str, Signs] = {
    "previous": _COPYING,  # the token before the last becomes another
    "all-tokens": _COPYING,  # every token becomes one that the clean prompt does not have
}


def recipe(settings: KnownSettings = DEFAULT_SETTINGS) -> Recipe:
    """One head: to position i - 1, copy the token into "output"."""
    back = one_back(N_CTX, settings.sharpness)
    return Recipe(
        name="known-previous-token",
        n_layers=1,
        n_vocab=N_VOCAB,
        n_ctx=N_CTX,
        further_spaces={"output": N_VOCAB},
        heads={HEAD: WrittenHead(attend=(back,), value=Read("token"), into="output")},
        unembed=Read("output", settings.logit_scale * torch.eye(N_VOCAB)),
    )


def previous_token(seed: int = 0, settings: KnownSettings = DEFAULT_SETTINGS) -> KnownModel:
    """The previous-token model in the basis of this seed.

    Example:
        >>> known = previous_token(0)
        >>> known.tasks["previous"].baseline(known.model).accuracy.estimate
        1.0
    """
    return known_model(
        "previous-token",
        recipe(settings),
        _pairs,
        roles={HEAD: "previous-token"},
        written=WRITTEN,
        detectable=DETECTABLE,
        seed=seed,
        settings=settings,
    )


def _pairs(corruption: str, settings: KnownSettings) -> list[Pair]:
    """BOS and 7 tokens, all different; the answer is the last but one."""
    rng, n = random.Random(settings.prompt_seed), N_CTX - 1
    pairs = []
    for _ in range(settings.n_prompts):
        tokens = rng.sample(range(BOS + 1, N_VOCAB), 2 * n)
        clean, others = [BOS, *tokens[:n]], [BOS, *tokens[n:]]
        corrupted = others if corruption == "all-tokens" else with_token(clean, -2, others[-2])
        pairs.append(Pair(clean, corrupted, clean[-2], others[-2], {"PREVIOUS": N_CTX - 2}))
    return pairs
