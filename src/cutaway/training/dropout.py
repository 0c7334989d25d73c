"""Dropout by hooks: the model itself knows nothing of it, and there is none once they are gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..model.hooks import HookPoint
from ..model.transformer import HookedTransformer


@contextmanager
def dropout(model: HookedTransformer, share: float, seed: tuple[int, ...]) -> Iterator[None]:
    """Inside the block, a share of what each part writes is zero and the rest larger to match.

    It acts where GPT-2 has it (Srivastava et al. 2014; Radford et al. 2019): on the embedding, on
    each part's output and on each pattern. Patterns are therefore written out, which takes more
    time and memory than the fused attention.

    Args:
        model: hooked inside the block.
        share: of the values that become zero; 0 hooks nothing.
        seed: of the draws, so that a step draws the same ones again when it is done again.

    Example:
        >>> with dropout(model, 0.2, (0, 17)):  # doctest: +SKIP
        ...     loss = model(tokens, return_type="loss")
    """
    if not share:
        yield
        return
    number = 0
    for part in seed:  # one number below 2^63 for each tuple of small ones
        number = (number * 1_000_003 + part + 1) % 2**63
    generator = torch.Generator(model.device).manual_seed(number)

    def drop(value: Tensor, hook: HookPoint) -> Tensor:
        kept = torch.empty_like(value).bernoulli_(1 - share, generator=generator)
        return value * kept / (1 - share)

    tails = ("attn.hook_pattern", "hook_attn_out", "hook_mlp_out")
    names = [
        name
        for name in model.hook_dict
        if name.endswith(tails) or name == "blocks.0.hook_resid_pre"
    ]
    with model.hooks([(name, drop) for name in names]):
        yield
