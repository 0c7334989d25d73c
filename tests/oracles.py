"""Slow, obvious versions of what the package computes fast."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from cutaway.model.cache import get_act_name
from cutaway.model.transformer import HookedTransformer
from cutaway.tasks.task import Task


@torch.no_grad()
def patch_one(
    model: HookedTransformer,
    task: Task,
    site: str,
    layer: int,
    mode: str,
    head: int | None = None,
    position: torch.Tensor | None = None,
) -> np.ndarray:
    """One intervention by one full run with one hook: the metric of every prompt.

    `position` holds the token index that is replaced in each prompt; None replaces all.
    """
    into, out_of = task.corrupted, task.clean
    if mode == "noising":
        into, out_of = out_of, into
    name = get_act_name(site, layer)
    _, source = model.run_with_cache(out_of, names_filter=name)

    def replace(value: torch.Tensor, hook: object) -> torch.Tensor:
        where = torch.ones(value.shape[:2], dtype=torch.bool)
        if position is not None:
            where = torch.arange(value.shape[1]) == position[:, None]
        new = value.clone()
        if head is None:
            new[where] = source[name][where]
        else:
            new[:, :, head][where] = source[name][:, :, head][where]
        return new

    logits = model.run_with_hooks(into, fwd_hooks=[(name, replace)])
    return task.metric(task.metric.read(logits)).numpy()


def sweep_by_hooks(
    model: HookedTransformer,
    task: Task,
    site: str,
    mode: str,
    positions: torch.Tensor | None,
) -> np.ndarray:
    """The whole sweep, one intervention at a time: [layer, unit, option, prompt]."""
    heads = range(model.cfg.n_heads) if site == "z" else [None]
    options = [None] if positions is None else list(positions)
    values = [
        patch_one(model, task, site, layer, mode, head, option)
        for layer, head, option in itertools.product(range(model.cfg.n_layers), heads, options)
    ]
    return np.array(values).reshape(model.cfg.n_layers, len(heads), len(options), -1)
