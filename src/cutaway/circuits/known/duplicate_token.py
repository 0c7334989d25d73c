"""The duplicate-token model: one layer, one head that looks for the current token further back.

    ... A ... A -> A        ... A ... B -> BOS

The answer is whether the last token has occurred: if it has, the head attends to where and copies
it; if not, it rests at BOS and copies that.
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
from .parts import rest_at_bos, same_further_back

N_VOCAB = 19
N_CTX = 9
HEAD = "0.2"

WRITTEN = frozenset({"embed->0.2.q", "embed->0.2.k", "embed->0.2.v", "0.2->logits"})

DETECTABLE: dict[str, Signs] = {
    # The earlier occurrence becomes another token. Keys: nothing matches any more, so the head
    # rests at BOS, the whole effect. Values: the head looks at the same place and copies the other
    # token, so the answer's logit is gone and BOS's does not come, half of the effect. Queries:
    # the last token is the same.
    "key": {"embed->0.2.k": +1, "embed->0.2.v": +1, "0.2->logits": +1},
    # The last token becomes one that has not occurred. Its query matches nothing: the whole
    # effect. Its own key and value change too, but no position looks at itself.
    "query": {"embed->0.2.q": +1, "0.2->logits": +1},
    # Every token becomes one that the clean prompt does not have, and no two are the same. New
    # queries do not match old keys, nor old queries new keys; the value is another token's.
    "all-tokens": {
        "embed->0.2.q": +1,
        "embed->0.2.k": +1,
        "embed->0.2.v": +1,
        "0.2->logits": +1,
    },
}


def recipe(settings: KnownSettings = DEFAULT_SETTINGS) -> Recipe:
    """One head: to the same token further back or to BOS, copy the token into "output"."""
    sharpness = settings.sharpness
    return Recipe(
        name="known-duplicate-token",
        n_layers=1,
        n_vocab=N_VOCAB,
        n_ctx=N_CTX,
        further_spaces={"output": N_VOCAB},
        heads={
            HEAD: WrittenHead(
                attend=(
                    *same_further_back(Read("token"), sharpness),
                    rest_at_bos(N_VOCAB, sharpness),
                ),
                value=Read("token"),
                into="output",
            )
        },
        unembed=Read("output", settings.logit_scale * torch.eye(N_VOCAB)),
    )


def duplicate_token(seed: int = 0, settings: KnownSettings = DEFAULT_SETTINGS) -> KnownModel:
    """The duplicate-token model in the basis of this seed.

    Example:
        >>> known = duplicate_token(0)
        >>> known.tasks["query"].baseline(known.model).accuracy.estimate
        1.0
    """
    return known_model(
        "duplicate-token",
        recipe(settings),
        _pairs,
        roles={HEAD: "duplicate-token"},
        written=WRITTEN,
        detectable=DETECTABLE,
        seed=seed,
        settings=settings,
    )


def _pairs(corruption: str, settings: KnownSettings) -> list[Pair]:
    """BOS, 7 tokens, all different, and one of them again; the answer is that one, not BOS."""
    rng, n = random.Random(settings.prompt_seed), N_CTX - 2
    pairs = []
    for _ in range(settings.n_prompts):
        tokens = rng.sample(range(BOS + 1, N_VOCAB), 2 * n + 1)
        first = rng.randrange(1, n + 1)
        clean = [BOS, *tokens[:n]]
        clean.append(clean[first])
        corrupted = {
            "key": with_token(clean, first, tokens[n]),
            "query": with_token(clean, -1, tokens[n]),
            "all-tokens": [BOS, *tokens[n:]],
        }[corruption]
        pairs.append(Pair(clean, corrupted, clean[first], BOS, {"FIRST": first}))
    return pairs
