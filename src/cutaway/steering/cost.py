"""What steering costs on text that has nothing to do with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..patching.measure import Progress
from ..patching.targets import Positions
from .norms import real_tokens_of
from .rows import Measure, Steered, measure_steered
from .vectors import SteeringVector


def neutral_cost(
    runs: Steered,
    vectors: dict[int, list[SteeringVector]],
    factors: dict[int, list[float]],
    neutral: list[str] | Int[Tensor, "text pos"] | None,
    positions: Positions,
    seed: int,
    progress: Progress | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """KL and loss [2, line, layer, coefficient, text], and the loss without steering [text]."""
    (some,) = {len(made) for made in vectors.values()}
    shape = (some, len(vectors), len(next(iter(factors.values()))))
    if neutral is None:
        if progress is not None:
            progress(1.0)
        return np.zeros((2, *shape, 0)), np.zeros(0)
    tokens, real = real_tokens_of(runs.model, neutral)
    n, n_pos = tokens.shape
    if n_pos < 2 or bool((real.sum(1) < 2).any()):
        raise ValueError("a neutral text has one token only: there is no next token to predict.")
    counts = runs.where.sum(1).tolist()
    where = real.cpu() if positions == "all" else _drawn(real.cpu(), counts, seed)
    turn = torch.arange(n)
    own = {
        layer: [v if v.n_prompts is None else v.subset(turn % v.n_prompts) for v in made]
        for layer, made in vectors.items()
    }
    read = torch.arange(n_pos, device=tokens.device).expand(n, -1)
    texts = dataclasses.replace(runs, tokens=tokens, read=read, where=where)
    measured = (where.long().cumsum(1) > 0) & real.cpu()
    measure = _cost_of(tokens.cpu(), measured)
    found = measure_steered(texts, own, factors, measure, progress)
    return found[:2], found[2, 0, 0, 0]


def _drawn(
    real: Bool[Tensor, "text pos"], counts: list[int], seed: int
) -> Bool[Tensor, "text pos"]:
    """As many random positions in each text as prompts have in turn, none of them the last."""
    rng = np.random.default_rng(seed)
    where = torch.zeros_like(real)
    for text, row in enumerate(real):
        places = row.nonzero().flatten()[:-1].numpy()
        inner = places[1:] if len(places) > 1 else places  # not at BOS, if there is another place
        size = max(1, min(counts[text % len(counts)], len(inner)))
        where[text, rng.choice(inner, size=size, replace=False)] = True
    return where


def _cost_of(tokens: Int[Tensor, "text pos"], measured: Bool[Tensor, "text pos"]) -> Measure:
    """Three numbers of each row: KL, loss, and the loss without steering."""
    next_real = torch.nn.functional.pad(measured[:, 1:], (0, 1))
    following = torch.nn.functional.pad(tokens[:, 1:], (0, 1))

    def measure(
        text: Int[Tensor, " row"],
        logits: Float[Tensor, "row read vocab"],
        before: Float[Tensor, "row read vocab"],
    ) -> Float[Tensor, "row quantity"]:
        new, old = logits.log_softmax(-1), before.log_softmax(-1)
        # Tokens that have a next one, from the first steered one on.
        counted = (measured & next_real)[text].to(new.device, new.dtype)
        wanted = following[text].to(new.device)[..., None]
        per_token = [
            (old.exp() * (old - new)).sum(-1),
            -new.gather(-1, wanted)[..., 0],
            -old.gather(-1, wanted)[..., 0],
        ]
        total = counted.sum(1)
        return torch.stack([(x * counted).sum(1) / total for x in per_token], dim=1)

    return measure
