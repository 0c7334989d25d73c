"""AdamW in the usual two groups, and the learning rate of each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .settings import TrainSettings


def learning_rate_at(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then a cosine from the peak to `final_share` of it.

    Args:
        step: counted from 0.
        settings: of the run.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    span = max(settings.n_steps - settings.warmup_steps, 1)
    progress = min((step - settings.warmup_steps) / span, 1.0)
    rest = (1 - settings.final_share) / 2
    return settings.learning_rate * (
        settings.final_share + rest * (1 + math.cos(math.pi * progress))
    )


def make_optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019): matrices decay, vectors (biases, norm weights) do not."""
    vectors = ("b_", "b", "w")
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in module.named_parameters():
        tail = name.rsplit(".", 1)[-1]
        (plain if tail.startswith(vectors) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=betas, fused=settings.fused or None
    )
