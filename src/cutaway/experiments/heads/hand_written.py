"""Models whose heads are known: those of `circuits.known`, and one with a head for each place.

The circuits that were written for tasks hold no head that looks at BOS, at itself, near itself or
everywhere alike. So one more model is written here, of four heads that do just that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ...circuits.known import KNOWN, KnownSettings
from ...circuits.known.base import BOS
from ...circuits.known.building import Read, Recipe, Term, WrittenHead, write_model
from ...circuits.known.ioi import NAMES
from ...circuits.known.parts import rest_at_bos
from ...heads.scores import WINDOW
from ...model.transformer import HookedTransformer

PLACES_CTX, PLACES_VOCAB = 17, 33

# What a head with this role in a hand-written circuit is on random prompts. Roles of IOI are no
# class of attention on random prompts: there is no IO.
CLASSES_OF_ROLE: dict[str, tuple[str, ...]] = {
    "previous-token": ("previous-token", "local-window", "position-only"),
    "duplicate-token": ("duplicate-token", "equal-tokens"),
    "induction": ("induction",),
    "S-inhibition": (),
    "name mover": (),
    "negative name mover": (),
    "first-token": ("first-token", "position-only"),
    "current-token": ("current-token", "position-only"),
    "local-window": ("local-window", "position-only"),
    "uniform": ("uniform",),
}


@dataclass(frozen=True, eq=False)
class LabelledModel:
    """A hand-written model, and what each of its heads is."""

    name: str
    model: HookedTransformer
    roles: dict[str, str]
    """Head -> its role; heads that have none are idle."""
    vocabulary: tuple[int, ...] | None
    """What its heads can tell apart; None means all tokens but BOS."""

    def classes(self, head: str) -> tuple[str, ...]:
        """The classes that a head has on random prompts; none for idle heads."""
        return CLASSES_OF_ROLE[self.roles[head]] if head in self.roles else ()


def labelled_models(seed: int, sharpness: float) -> Iterator[LabelledModel]:
    """Every hand-written model in the basis of this seed, one at a time."""
    for name, write in KNOWN.items():
        known = write(seed, KnownSettings(sharpness=sharpness, n_prompts=2))
        # Its duplicate-token head compares names, and no other tokens.
        vocabulary = tuple(NAMES) if name == "ioi" else None
        yield LabelledModel(name, known.model, known.roles, vocabulary)
    model = write_model(places(sharpness), seed)
    roles = {"0.0": "first-token", "0.1": "current-token", "0.2": "local-window", "0.3": "uniform"}
    yield LabelledModel("places", model, roles, None)


def places(sharpness: float) -> Recipe:
    """One layer: to BOS; to itself; to each of the four before itself; to all alike."""
    position, width = Read("position"), PLACES_CTX
    near = sum(torch.eye(width).roll(-back, dims=1).tril(-1) for back in range(1, WINDOW + 1))
    assert isinstance(near, torch.Tensor)
    nowhere = Term(key=Read("token", torch.zeros(PLACES_VOCAB, 1)))
    attend = {
        "0.0": rest_at_bos(PLACES_VOCAB, 2 * sharpness),
        "0.1": Term(query=position, key=position, strength=2 * sharpness),
        "0.2": Term(query=Read("position", near), key=position, strength=2 * sharpness),
        "0.3": nowhere,
    }
    return Recipe(
        name="known-places",
        n_layers=1,
        n_vocab=PLACES_VOCAB,
        n_ctx=PLACES_CTX,
        further_spaces={"output": PLACES_VOCAB},
        heads={
            head: WrittenHead(attend=(term,), value=Read("token"), into="output")
            for head, term in attend.items()
        },
        unembed=Read("output", torch.eye(PLACES_VOCAB)),
    )


assert BOS == 0  # the first token of every prompt here
