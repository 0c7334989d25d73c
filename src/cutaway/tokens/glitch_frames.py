"""The sequences that a token is traced in: lists of ordinary tokens with a place for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.random_tokens import first_tokens

LIST = 5  # tokens of a list; the third is the place of the token
PLACE = 2
ROUTES: Mapping[str, tuple[str, str]] = {
    "say to token": ("say", "X"),
    "follower to token": ("next", "X"),
    "again to follower": ("again", "next"),
}
"""Name of a route -> (query, key), as places of a sequence."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Sequences with a hole, and the tokens that are put into it.

    a b X c d a b X, with BOS before it where the model wants it.
    """

    token: int
    ordinary: tuple[int, ...]
    """What else is put into the hole."""
    whole: Int[Tensor, "prompt pos"]
    """The sequences with the token in the hole."""
    at: Mapping[str, int]
    """Where is what: X (the token), next (its follower), say (the place before it comes again),
    again (where it has come again)."""

    @property
    def n_runs(self) -> int:
        """The token's run and those of the ordinary tokens."""
        return 1 + len(self.ordinary)

    def sequences(self, run: int) -> Int[Tensor, "prompt pos"]:
        """Run 0 holds the token, run k the k-th ordinary one."""
        put = (self.token, *self.ordinary)[run]
        return self.mixed([put] * len(self.whole))

    def mixed(self, put: Sequence[int]) -> Int[Tensor, "prompt pos"]:
        """A token of its own in the hole of every sequence."""
        found = self.whole.clone()
        values = torch.tensor(put, device=found.device)
        found[:, self.at["X"]] = found[:, self.at["again"]] = values
        return found


def draw_frames(
    model: HookedTransformer, token: int, ordinary: Sequence[int], n_prompts: int, seed: int
) -> Frames:
    """Sequences of ordinary tokens, with a hole for the token.

    Half of the ordinary tokens, at least 2, are kept for the hole; no sequence holds them.

    Raises:
        ValueError: too few tokens, one that cannot be, too few prompts, or too short a context.
    """
    pool = [int(one) for one in dict.fromkeys(ordinary)]
    least = 2 * LIST
    if len(pool) < least:
        raise ValueError(f"{len(pool)} ordinary tokens are too few for a trace: at least {least}.")
    if token in pool:
        raise ValueError(f"token {token} is among the ordinary tokens: leave it out of them.")
    for one in (token, *pool):
        if not 0 <= one < model.cfg.d_vocab:
            raise ValueError(
                f"token {one} is not in the vocabulary of {model.cfg.model_name}: 0 to "
                f"{model.cfg.d_vocab - 1}."
            )
    if n_prompts < 2:
        raise ValueError(f"n_prompts={n_prompts} is too few: at least 2.")
    if model.cfg.n_layers == 0:
        raise ValueError(f"{model.cfg.model_name} has no layers to trace a token through.")
    start = first_tokens(model)
    n = len(start)
    at = {"X": n + PLACE, "next": n + PLACE + 1, "say": n + LIST + PLACE - 1}
    at["again"] = at["say"] + 1
    if at["again"] >= model.cfg.n_ctx:
        raise ValueError(
            f"the context of {model.cfg.model_name} holds {model.cfg.n_ctx} tokens; a trace needs "
            f"{at['again'] + 1}."
        )
    n_put = len(pool) // 2
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n_prompts):
        a, b, c, d = rng.permutation(pool[n_put:])[: LIST - 1].tolist()
        rows.append([*start, a, b, token, c, d, a, b, token])
    whole = torch.tensor(rows, device=model.device)
    return Frames(int(token), tuple(pool[:n_put]), whole, at)
