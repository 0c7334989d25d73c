"""`head_scores`: every score of `SCORES` for every head of a model, prompt by prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .. import evidence
from ..array_files import Array
from ..model.cache import get_act_name
from ..model.transformer import HookedTransformer
from .random_prompts import Kind, RandomPrompts, random_prompts
from .scores import SCORES


@dataclass(frozen=True, eq=False)
class HeadScores:
    """What every head attends to on random prompts, prompt by prompt.

    Example:
        >>> found = head_scores(model)
        >>> value, low, high = found.interval("induction")  # each [layer, head]
    """

    per_prompt: dict[str, Float[Array, "layer head prompt"]]
    """By the name of the score, as in `SCORES`."""
    by_chance: dict[str, float]
    """What uniform attention has of each; 0 for scores that are no share of attention."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What made them: model, prompts, seed."""

    def mean(self, name: str) -> Float[Array, "layer head"]:
        """The score of every head."""
        return np.asarray(self._of(name).mean(-1, dtype=np.float64))

    def interval(
        self, name: str, level: float = 0.95, seed: int = 0
    ) -> tuple[Float[Array, "layer head"], Float[Array, "layer head"], Float[Array, "layer head"]]:
        """(score, low, high) of every head: percentile bootstrap over prompts."""
        return evidence.bootstrap_means(self._of(name), seed, level, n_resamples=2000)

    def above_chance(self, name: str) -> Float[Array, "layer head prompt"]:
        """(score - chance) / (1 - chance): 0 is uniform attention, 1 all there can be."""
        chance = self.by_chance[name]
        return np.asarray((self._of(name).astype(np.float64) - chance) / (1 - chance))

    def _of(self, name: str) -> Array:
        if name not in self.per_prompt:
            raise ValueError(f"there is no score {name!r}; there are {', '.join(self.per_prompt)}.")
        return self.per_prompt[name]


@torch.no_grad()
def head_scores(
    model: HookedTransformer,
    n_prompts: int = 32,
    half_length: int | None = None,
    seed: int = 0,
    vocabulary: Sequence[int] | None = None,
    bos_token: int | None = None,
    names: Sequence[str] | None = None,
) -> HeadScores:
    """Score every head of a model on random prompts.

    Args:
        model: any; it needs no tokenizer.
        n_prompts: prompts of each kind; position-only needs two.
        half_length, vocabulary, bos_token: as in `random_prompts`.
        seed: of the prompts.
        names: which scores; None means all of `SCORES` that mean something on prompts as short
            as these (`HeadScore.shortest`).

    Raises:
        ValueError: an unknown score; prompts that the model cannot have, or too short ones for a
            score that was asked for.

    Example:
        >>> head_scores(model).mean("previous-token").argmax()
    """
    chosen = tuple(SCORES) if names is None else tuple(names)
    for name in chosen:
        if name not in SCORES:
            raise ValueError(f"there is no score {name!r}; there are {', '.join(SCORES)}.")
    found: dict[str, Array] = {}
    by_chance: dict[str, float] = {}
    settings: dict[str, Any] = {"model": model.cfg.model_name, "n_prompts": n_prompts, "seed": seed}
    for kind in get_args(Kind):
        of_kind = [name for name in chosen if SCORES[name].kind == kind]
        if not of_kind:
            continue
        prompts = random_prompts(model, kind, n_prompts, half_length, seed, vocabulary, bos_token)
        T = prompts.half_length
        settings["half_length"], settings["n_before"] = T, prompts.n_before
        short = [name for name in of_kind if SCORES[name].shortest > T]
        if short and names is not None:
            raise ValueError(
                f"{short[0]} needs halves of at least {SCORES[short[0]].shortest} tokens; these "
                f"have {T}."
            )
        of_kind = [name for name in of_kind if name not in short]
        by_chance |= {name: SCORES[name].by_chance(prompts) for name in of_kind}
        found |= _on(model, prompts, of_kind)
    measured = [name for name in chosen if name in found]
    return HeadScores(
        {name: found[name] for name in measured},
        {name: by_chance[name] for name in measured},
        settings,
    )


def _on(
    model: HookedTransformer, prompts: RandomPrompts, names: Sequence[str]
) -> dict[str, Float[Array, "layer head prompt"]]:
    """The scores that are measured on these prompts; patterns are read as they pass."""
    layers: dict[str, list[Array]] = {name: [] for name in names}

    def read(pattern: Tensor, *, hook: object) -> None:
        pattern = pattern.float()  # [prompt, head, query, key]
        for name in names:
            score = SCORES[name].of(pattern, prompts)  # [prompt, head]
            layers[name].append(score.T.cpu().numpy().astype(np.float32))

    hooks = [(get_act_name("pattern", layer), read) for layer in range(model.cfg.n_layers)]
    model.run_with_hooks(prompts.tokens, fwd_hooks=hooks, return_type=None)
    # In one order in memory, so that sums are the same after saving and loading.
    return {name: np.ascontiguousarray(np.stack(rows)) for name, rows in layers.items()}
