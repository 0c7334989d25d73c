"""What components do on a reference's prompts: the distribution that ablations put in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.task import Task


def reference_values(
    model: HookedTransformer,
    task: Task,
    reference: Task,
    prompts: slice,
    hooks: Sequence[str],
    seed: int | None,
    prompts_at_once: int,
) -> dict[str, Float[Tensor, "prompt ..."]]:
    """For each of the task's `prompts`, values of the reference's corrupted prompts at some hooks.

    A prompt takes them from the prompts of its own group and length. Without a seed it takes
    their mean, position by position; with one, those of a single prompt drawn at random.

    Returns:
        hook -> [prompt, pos, ...] (patterns [prompt, head, query, key]), 0 behind the reference's
        last position.

    Raises:
        ValueError: a prompt whose group and length the reference lacks.
    """
    _check_padding(model, task, reference)
    # In float32, also for models in half precision: a mean of many is not rounded on the way.
    weights = _weights(task, reference, seed)[prompts].to(model.device, torch.float32)
    n_pos = task.clean.shape[1]
    found: dict[str, Tensor] = {}
    for chosen in torch.arange(len(reference)).split(prompts_at_once):
        _, values = model.record(
            reference.corrupted[chosen], names_filter=list(hooks), return_type=None
        )
        for hook, value in values.items():
            # Scores are -inf where masked, and 0 * -inf would be NaN: what is masked stays masked.
            value = _fitted(value.float().nan_to_num(neginf=0.0), n_pos, _is_square(hook))
            part = torch.einsum("pr,r...->p...", weights[:, chosen], value)
            found[hook] = found[hook] + part if hook in found else part
    return {hook: value.to(model.dtype) for hook, value in found.items()}


def _check_padding(model: HookedTransformer, task: Task, reference: Task) -> None:
    """Positions are counted from the front: padding there has to be as wide."""
    masks = [model.to_input(t.corrupted, None, None, None, None)[1] for t in (task, reference)]
    same_width = task.clean.shape[1] == reference.clean.shape[1]
    if any(mask is not None for mask in masks) and not same_width:
        raise ValueError(
            f"prompts are padded on the left, to {task.clean.shape[1]} tokens in the task and to "
            f"{reference.clean.shape[1]} in the reference: pad both to one length, or on the right."
        )


def _is_square(hook: str) -> bool:
    return hook.endswith(("hook_pattern", "hook_attn_scores"))


def _fitted(value: Tensor, n_pos: int, square: bool) -> Tensor:
    """Cut to, or filled with zeros up to, n_pos positions."""
    for axis in (2, 3) if square else (1,):
        n = value.shape[axis]
        if n > n_pos:
            value = value.narrow(axis, 0, n_pos)
        elif n < n_pos:
            shape = list(value.shape)
            shape[axis] = n_pos - n
            value = torch.cat([value, value.new_zeros(shape)], dim=axis)
    return value


def _weights(task: Task, reference: Task, seed: int | None) -> Float[Tensor, "prompt reference"]:
    """How much of each reference prompt goes into each prompt's value; rows sum to 1."""
    number = {group: i for i, group in enumerate(dict.fromkeys((*task.group, *reference.group)))}
    of_task, of_reference = (torch.tensor([number[g] for g in t.group]) for t in (task, reference))
    same = of_task[:, None] == of_reference[None]
    same &= task.lengths.cpu()[:, None] == reference.lengths.cpu()[None]
    if not bool(same.any(1).all()):
        prompt = int((~same.any(1)).nonzero()[0])
        raise ValueError(
            f"the reference has no prompts of the group {task.group[prompt]!r} with "
            f"{int(task.lengths[prompt])} tokens: draw it from the same templates, or more prompts."
        )
    weights = same.double()
    if seed is None:
        return weights / weights.sum(1, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(weights, 1, generator=generator)
    return torch.zeros_like(weights).scatter(1, drawn, 1.0)
