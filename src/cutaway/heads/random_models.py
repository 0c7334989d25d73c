"""Whole models with random weights, of a given model's shape: the control of what heads are called.

Two kinds, since they are random in different ways. A *fresh* one has the weights that training
would start from: nearly uniform attention, which is easily told from anything. A *shuffled* one has
the model's own numbers, each matrix of each head in random order, and queries scaled until every
head attends as sharply as its counterpart. Its attention is as focused, and about nothing.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.cache import get_act_name
from ..model.transformer import HookedTransformer
from .random_prompts import RandomPrompts
from .scores import uniform

RandomWeights = Literal["fresh", "shuffled"]
_WIDEST = 12.0  # ln of the factor by which queries are scaled, at most
_STEPS = 30  # of the bisection


@torch.no_grad()
def random_weight_model(
    model: HookedTransformer, weights: RandomWeights, seed: int, prompts: RandomPrompts
) -> HookedTransformer:
    """A model of the same shape without anything that was learned.

    Args:
        model: whose shape, and for "shuffled" whose numbers; it stays as it is.
        weights: "fresh": as `HookedTransformer` starts from. "shuffled": the entries of every
            weight matrix (of every head's, where there are several) in random order, biases and
            norms as they are; then the queries of every head scaled so that the mean entropy of
            its attention is that of the same head of `model`.
        seed: of the draws.
        prompts: those that entropies are compared on.

    Raises:
        ValueError: an unknown kind.

    Example:
        >>> prompts = random_prompts(model, "distinct", n_prompts=8)
        >>> random_weight_model(model, "shuffled", 0, prompts).cfg == model.cfg
        True
    """
    if weights == "fresh":
        return model.fresh(seed)
    if weights != "shuffled":
        raise ValueError(f"weights={weights!r} is neither 'fresh' nor 'shuffled'.")
    shuffled = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in shuffled.named_parameters():
        if not name.rpartition(".")[2].startswith("W_"):
            continue
        matrices = parameter if parameter.ndim == 3 else parameter[None]  # [head, in, out]
        for matrix in matrices:
            order = torch.randperm(matrix.numel(), generator=generator)
            matrix.copy_(matrix.flatten()[order.to(matrix.device)].view_as(matrix))
    _sharpen(shuffled, _entropies(model, prompts), prompts)
    return shuffled


def _entropies(model: HookedTransformer, prompts: RandomPrompts) -> Float[Tensor, "layer head"]:
    """Mean entropy of every head's attention, over that of uniform attention."""
    found: list[Tensor] = []

    def read(pattern: Tensor, *, hook: object) -> None:
        found.append(uniform(pattern.float(), prompts).mean(0))

    hooks = [(get_act_name("pattern", layer), read) for layer in range(model.cfg.n_layers)]
    model.run_with_hooks(prompts.tokens, fwd_hooks=hooks, return_type=None)
    return torch.stack(found)


def _sharpen(
    model: HookedTransformer, wanted: Float[Tensor, "layer head"], prompts: RandomPrompts
) -> None:
    """Scale the queries of every head, in place, until its attention has the entropy wanted.

    One run is enough: a layer's scores are scaled as they pass, so that the next layer reads what
    it will read.
    """
    factors: list[Tensor] = []

    def scale(scores: Tensor, *, hook: object) -> Tensor:
        factor = _factor(scores.float(), wanted[len(factors)], prompts)
        factors.append(factor)
        return scores * factor[:, None, None].to(scores.dtype)

    hooks = [(get_act_name("attn_scores", layer), scale) for layer in range(model.cfg.n_layers)]
    model.run_with_hooks(prompts.tokens, fwd_hooks=hooks, return_type=None)
    for block, factor in zip(model.blocks, factors, strict=True):
        block.attn.W_Q.mul_(factor[:, None, None].to(model.dtype))
        block.attn.b_Q.mul_(factor[:, None].to(model.dtype))


def _factor(
    scores: Float[Tensor, "prompt head query key"],
    wanted: Float[Tensor, " head"],
    prompts: RandomPrompts,
) -> Float[Tensor, " head"]:
    """By bisection: the larger the factor, the lower the entropy."""
    low = torch.full_like(wanted, -_WIDEST)
    high = torch.full_like(wanted, _WIDEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        pattern = (scores * middle.exp()[:, None, None]).softmax(-1)
        too_broad = uniform(pattern, prompts).mean(0) > wanted
        low, high = torch.where(too_broad, middle, low), torch.where(too_broad, high, middle)
    return ((low + high) / 2).exp()
