"""The induction model: a previous-token head, and a head that reads it in its keys.

    ... A B ... C D ... A -> B

Two layers, composed through keys (K-composition), as in Elhage et al. (2021, "Induction heads")
and Olsson et al. (2022, "In-context Learning and Induction Heads"). The first head writes at every
position which token stood before it; the second looks for the place before which the current token
stood, and copies what stands there.
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
    exchanged,
    known_model,
    with_token,
)
from .building import Read, Recipe, Term, WrittenHead
from .parts import one_back, rest_at_bos

N_VOCAB = 17
N_CTX = 9
PREVIOUS, INDUCTION = "0.1", "1.2"

WRITTEN = frozenset(
    {
        "embed->0.1.q",
        "embed->0.1.k",
        "embed->0.1.v",
        "0.1->1.2.k",
        "embed->1.2.q",
        "embed->1.2.k",  # BOS, the place of rest
        "embed->1.2.v",
        "1.2->logits",
    }
)

# Never detectable: embed->0.1.q and embed->0.1.k read positions, embed->1.2.k reads whether a
# token is BOS; both are the same in all runs.
DETECTABLE: dict[str, Signs] = {
    # The last token becomes C. Only its query matters: nothing looks at the last position, neither
    # 1.2 nor 0.1, which looks one back, so that 0.1 writes the same in both runs.
    "query": {"embed->1.2.q": +1, "1.2->logits": +1},
    # B and D change places. 1.2 looks at the same place and copies D. 0.1 writes something else
    # one position after each of them, where neither is the token that 1.2 looks for.
    "value": {"embed->1.2.v": +1, "1.2->logits": +1},
    # A and C change places, the last token stays A. 0.1 writes C at B and A at D, so 1.2 looks at
    # D. Values at A and C change, and are not looked at; the query is the same.
    "key": {"embed->0.1.v": +1, "0.1->1.2.k": +1, "1.2->logits": +1},
    # Every token becomes one that the clean prompt does not have; the answer is then the new B,
    # which is the wrong token of this task. A new query finds nothing among old keys, nor an old
    # query among new ones: 1.2 rests at BOS, half of the effect. A new value is the whole.
    "all-tokens": {
        "embed->0.1.v": +1,
        "0.1->1.2.k": +1,
        "embed->1.2.q": +1,
        "embed->1.2.v": +1,
        "1.2->logits": +1,
    },
}


def recipe(settings: KnownSettings = DEFAULT_SETTINGS) -> Recipe:
    """0.1 writes "previous"; 1.2 looks for it (score 2, BOS 1, else 0) and copies the token."""
    sharpness = settings.sharpness
    match = Term(query=Read("token"), key=Read("previous"), strength=2 * sharpness)
    return Recipe(
        name="known-induction",
        n_layers=2,
        n_vocab=N_VOCAB,
        n_ctx=N_CTX,
        further_spaces={"previous": N_VOCAB, "output": N_VOCAB},
        heads={
            PREVIOUS: WrittenHead(
                attend=(one_back(N_CTX, sharpness),), value=Read("token"), into="previous"
            ),
            INDUCTION: WrittenHead(
                attend=(match, rest_at_bos(N_VOCAB, sharpness)),
                value=Read("token"),
                into="output",
            ),
        },
        unembed=Read("output", settings.logit_scale * torch.eye(N_VOCAB)),
    )


def induction(seed: int = 0, settings: KnownSettings = DEFAULT_SETTINGS) -> KnownModel:
    """The induction model in the basis of this seed.

    Example:
        >>> known = induction(0)
        >>> known.tasks["key"].baseline(known.model).accuracy.estimate
        1.0
    """
    return known_model(
        "induction",
        recipe(settings),
        _pairs,
        roles={PREVIOUS: "previous-token", INDUCTION: "induction"},
        written=WRITTEN,
        detectable=DETECTABLE,
        seed=seed,
        settings=settings,
    )


def _pairs(corruption: str, settings: KnownSettings) -> list[Pair]:
    """BOS, then A B, C D and three single tokens in any order, all different, and A again."""
    rng = random.Random(settings.prompt_seed)
    pairs = []
    for _ in range(settings.n_prompts):
        tokens = rng.sample(range(BOS + 1, N_VOCAB), 14)
        a, b, c, d, *single = tokens[:7]
        groups = [[a, b], [c, d], *([token] for token in single)]
        rng.shuffle(groups)
        body = [token for group in groups for token in group]
        clean = [BOS, *body, a]
        fresh = dict(zip(tokens[:7], tokens[7:], strict=True))
        corrupted = {
            "query": with_token(clean, -1, c),
            "value": exchanged(clean, {b: d, d: b}),
            "key": [BOS, *exchanged(body, {a: c, c: a}), a],
            "all-tokens": exchanged(clean, fresh),
        }[corruption]
        wrong = fresh[b] if corruption == "all-tokens" else d
        places = {"A": clean.index(a), "B": clean.index(b), "D": clean.index(d)}
        pairs.append(Pair(clean, corrupted, b, wrong, places))
    return pairs
