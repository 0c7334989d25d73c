"""The IOI model: who is spoken to, found by leaving out the name that occurs twice.

    BOS f Anna f Paul f f Paul f f -> Anna        (f: any filler)

Three layers in the manner of Wang et al. (2022), "Interpretability in the Wild": a duplicate-token
head at the second subject (S2) notes which name it repeats; an S-inhibition head at the end finds
the note and carries it on; the name mover copies a name, but not an inhibited one. A negative name
mover looks where the name mover looks, and writes against it.
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
from .building import Read, Recipe, Term, WrittenHead, indicator, only
from .parts import rest_at_bos, same_further_back

NAMES = range(1, 9)
FILLERS = range(9, 17)
N_VOCAB = 17
N_CTX = 10
DUPLICATE, INHIBITION, MOVER, NEGATIVE = "0.1", "1.2", "2.0", "2.3"
_AGAINST = -0.25  # what the negative name mover writes, in units of what the name mover writes

WRITTEN = frozenset(
    {
        "embed->0.1.q",
        "embed->0.1.k",
        "embed->0.1.v",
        "embed->1.2.k",  # BOS, the place of rest
        "0.1->1.2.k",  # that there is a note
        "0.1->1.2.v",  # what it says
        "1.2->2.0.q",
        "embed->2.0.k",
        "embed->2.0.v",
        "2.0->logits",
        "1.2->2.3.q",
        "embed->2.3.k",
        "embed->2.3.v",
        "2.3->logits",
    }
)

# Never detectable: embed->1.2.k reads only whether a token is BOS, which is so in all runs.
# The negative name mover's edges have the sign -1 wherever the name mover's have +1.
DETECTABLE: dict[str, Signs] = {
    # S2 becomes IO. The query at S2 now finds IO, and IO is inhibited all the way: 0.1.q, 1.2.v,
    # 2.x.q. Not: the key and value of 0.1 at S2 (no name comes after S2, and S2 does not look at
    # itself); 1.2.k (there is a note in both runs, and the key does not read what it says); the
    # values at S2 (inhibited in the clean run). The key of 2.x at S2: seen, as S2 is then a second
    # place with a name that is not inhibited, and half of the attention goes there.
    "s2-flip": {
        "embed->0.1.q": +1,
        "0.1->1.2.v": +1,
        "1.2->2.0.q": +1,
        "embed->2.0.k": +1,
        "2.0->logits": +1,
        "1.2->2.3.q": -1,
        "embed->2.3.k": -1,
        "2.3->logits": -1,
    },
    # Three names that differ from each other and from the clean ones. Nothing is repeated, so there
    # is no note: seen at all inputs of 0.1, in 1.2.k as well (no note, no place to look at), and
    # further on. New keys of 2.x are names that are not inhibited; new values are other names.
    "abc": {
        "embed->0.1.q": +1,
        "embed->0.1.k": +1,
        "embed->0.1.v": +1,
        "0.1->1.2.k": +1,
        "0.1->1.2.v": +1,
        "1.2->2.0.q": +1,
        "embed->2.0.k": +1,
        "embed->2.0.v": +1,
        "2.0->logits": +1,
        "1.2->2.3.q": -1,
        "embed->2.3.k": -1,
        "embed->2.3.v": -1,
        "2.3->logits": -1,
    },
    # Every token becomes another: IO and S are two new names, in the same roles. As "abc", but for
    # 1.2.k: there is a note at S2 in both runs, and the key does not read what it says.
    "all-tokens": {
        "embed->0.1.q": +1,
        "embed->0.1.k": +1,
        "embed->0.1.v": +1,
        "0.1->1.2.v": +1,
        "1.2->2.0.q": +1,
        "embed->2.0.k": +1,
        "embed->2.0.v": +1,
        "2.0->logits": +1,
        "1.2->2.3.q": -1,
        "embed->2.3.k": -1,
        "embed->2.3.v": -1,
        "2.3->logits": -1,
    },
}


def recipe(settings: KnownSettings = DEFAULT_SETTINGS) -> Recipe:
    """Scores, in units of sharpness: what is meant 2, BOS 1, everything else 0."""
    sharpness = settings.sharpness
    rest = rest_at_bos(N_VOCAB, sharpness)
    name = Read("token", only(N_VOCAB, NAMES))
    a_note = Read("duplicate", torch.ones(N_VOCAB, 1))  # is there one, whatever it says
    a_name = Read("token", indicator(N_VOCAB, NAMES))
    names_but_the_inhibited = (
        Term(key=a_name, strength=2 * sharpness),
        Term(query=Read("inhibit"), key=Read("token"), strength=-2 * sharpness),
        rest,
    )
    against = Read("token", _AGAINST * only(N_VOCAB, NAMES))
    return Recipe(
        name="known-ioi",
        n_layers=3,
        n_vocab=N_VOCAB,
        n_ctx=N_CTX,
        further_spaces={"duplicate": N_VOCAB, "inhibit": N_VOCAB, "output": N_VOCAB},
        heads={
            # The value reads names only: whoever rests at BOS leaves no note.
            DUPLICATE: WrittenHead(
                attend=(*same_further_back(name, sharpness), rest),
                value=name,
                into="duplicate",
            ),
            INHIBITION: WrittenHead(
                attend=(Term(key=a_note, strength=2 * sharpness), rest),
                value=Read("duplicate"),
                into="inhibit",
            ),
            MOVER: WrittenHead(attend=names_but_the_inhibited, value=name, into="output"),
            NEGATIVE: WrittenHead(attend=names_but_the_inhibited, value=against, into="output"),
        },
        unembed=Read("output", settings.logit_scale * torch.eye(N_VOCAB)),
    )


def ioi(seed: int = 0, settings: KnownSettings = DEFAULT_SETTINGS) -> KnownModel:
    """The IOI model in the basis of this seed.

    Example:
        >>> known = ioi(0)
        >>> known.tasks["s2-flip"].baseline(known.model).accuracy.estimate
        1.0
    """
    return known_model(
        "ioi",
        recipe(settings),
        _pairs,
        roles={
            DUPLICATE: "duplicate-token",
            INHIBITION: "S-inhibition",
            MOVER: "name mover",
            NEGATIVE: "negative name mover",
        },
        written=WRITTEN,
        detectable=DETECTABLE,
        seed=seed,
        settings=settings,
    )


def _pairs(corruption: str, settings: KnownSettings) -> list[Pair]:
    """Three names between fillers; the subject is the first in one half of the prompts."""
    rng = random.Random(settings.prompt_seed)
    pairs = []
    for number in range(settings.n_prompts):
        subject, indirect, *others = rng.sample(NAMES, 5)
        fillers = dict(zip(FILLERS, _all_moved(rng), strict=True))
        places = sorted(rng.sample(range(1, N_CTX - 1), 3))  # the last position is a filler
        clean = [BOS, *rng.choices(FILLERS, k=N_CTX - 1)]
        subject_first = number % 2 == 0
        s1, io = places[:2] if subject_first else (places[1], places[0])
        s2 = places[2]
        for place, token in ((s1, subject), (io, indirect), (s2, subject)):
            clean[place] = token
        corrupted = {
            "s2-flip": with_token(clean, s2, indirect),
            "abc": with_token(
                exchanged(clean, {subject: others[0], indirect: others[1]}), s2, others[2]
            ),
            "all-tokens": exchanged(clean, {subject: others[0], indirect: others[1], **fillers}),
        }[corruption]
        named = {"IO": io, "S1": s1, "S2": s2}
        pairs.append(Pair(clean, corrupted, indirect, subject, named))
    return pairs


def _all_moved(rng: random.Random) -> list[int]:
    """The fillers in an order in which none stands in its own place."""
    shift = rng.randrange(1, len(FILLERS))
    return [*FILLERS[shift:], *FILLERS[:shift]]
