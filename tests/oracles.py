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
    pos_axis, head_axis = (2, 1) if site in ("pattern", "attn_scores") else (1, 2)

    def replace(value: torch.Tensor, hook: object) -> torch.Tensor:
        where = torch.ones(value.shape[0], value.shape[pos_axis], dtype=torch.bool)
        if position is not None:
            where = torch.arange(value.shape[pos_axis]) == position[:, None]
        new = value.clone()
        if head is None:
            new[where] = source[name][where]
        else:
            new.select(head_axis, head)[where] = source[name].select(head_axis, head)[where]
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
    n_heads = {"k": model.cfg.n_key_value_heads, "v": model.cfg.n_key_value_heads}
    of_heads = site in ("z", "result", "q", "k", "v", "pattern", "attn_scores")
    heads = range(n_heads.get(site, model.cfg.n_heads)) if of_heads else [None]
    options = [None] if positions is None else list(positions)
    values = [
        patch_one(model, task, site, layer, mode, head, option)
        for layer, head, option in itertools.product(range(model.cfg.n_layers), heads, options)
    ]
    return np.array(values).reshape(model.cfg.n_layers, len(heads), len(options), -1)
