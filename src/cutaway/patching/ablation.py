"""Ablation: take heads out of the clean run together, and see what is left of the behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..evidence import Interval, bootstrap_mean
from ..model.cache import get_act_name
from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .cone import take_positions
from .measure import Progress, check_no_hooks, read_metric

Head = tuple[int, int]
AblationMethod = Literal["zero", "mean", "resample"]
_METHODS = ("zero", "mean", "resample")
_PROMPTS_AT_ONCE = 64


@dataclass(frozen=True)
class Ablation:
    """The metric on the clean prompts with some heads taken out, beside the whole model's.

    Example:
        >>> result = ca.ablate(model, task, ["9.9", "10.0"])
        >>> print(result.change())
    """

    heads: tuple[Head, ...]
    """(layer, head) of what was taken out."""
    method: AblationMethod
    """What stood in its place."""
    clean: NDArray[np.float64]
    """The metric of the whole model, [prompt]."""
    ablated: NDArray[np.float64]
    """The metric without the heads, [prompt]."""
    metric: str

    def change(self, level: float = 0.95, seed: int = 0) -> Interval:
        """Mean of ablated - clean, in the metric's unit: negative where the heads helped."""
        return bootstrap_mean(self.ablated - self.clean, seed=seed, level=level)

    def mean(self, level: float = 0.95, seed: int = 0) -> Interval:
        """Mean of the metric without the heads."""
        return bootstrap_mean(self.ablated, seed=seed, level=level)

    @property
    def name(self) -> str:
        """The heads as text, as in "9.9 10.0"."""
        return " ".join(f"{layer}.{head}" for layer, head in self.heads)


def ablate(
    model: HookedTransformer,
    task: Task,
    heads: Sequence[Head | str],
    method: AblationMethod = "mean",
    *,
    reference: Task | None = None,
    seed: int = 0,
) -> Ablation:
    """Take heads out of the clean run, all at once, and measure the task's metric.

    Args:
        model: without hooks attached.
        task: whose clean prompts are run.
        heads: (layer, head) pairs, or names as "9.6".
        method: what replaces the heads' z. "zero": zeros. "mean": the mean over the reference's
            corrupted prompts of the same group, position by position (Wang et al. 2022 call
            this mean ablation, with the ABC distribution as reference). "resample": the value of
            one such prompt, drawn anew for each prompt (Chan et al. 2022).
        reference: a task with the same groups, whose corrupted prompts are the distribution;
            None takes the task itself.
        seed: of the draws of "resample".

    Raises:
        ValueError: a head that does not exist, an unknown method, a group of prompts that the
            reference lacks or whose prompts have another length there.
    """
    return ablate_many(model, task, [heads], method, reference=reference, seed=seed)[0]


@torch.no_grad()
def ablate_many(
    model: HookedTransformer,
    task: Task,
    head_sets: Sequence[Sequence[Head | str]],
    method: AblationMethod = "mean",
    *,
    reference: Task | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Ablation]:
    """`ablate` for several sets of heads, one after the other; the reference is run only once."""
    check_no_hooks(model)
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is not one of {', '.join(_METHODS)}.")
    sets = [parse_heads(model, heads) for heads in head_sets]
    layers = sorted({layer for heads in sets for layer, _ in heads})
    values = _replacements(model, task, reference or task, layers, method, seed)
    clean = _metric(model, task, values, ())
    results = []
    for i, heads in enumerate(sets):
        ablated = _metric(model, task, values, heads)
        results.append(Ablation(heads, method, clean, ablated, task.metric.name))
        if progress is not None:
            progress((i + 1) / len(sets))
    return results


def random_heads(
    model: HookedTransformer, n: int, n_sets: int, exclude: Sequence[Head | str] = (), seed: int = 0
) -> list[tuple[Head, ...]]:
    """Random sets of n different heads, none of them excluded: the control for any choice.

    Raises:
        ValueError: fewer than n heads are left to draw from.
    """
    taken = set(parse_heads(model, exclude))
    cfg = model.cfg
    pool = [
        (at, h) for at in range(cfg.n_layers) for h in range(cfg.n_heads) if (at, h) not in taken
    ]
    if n > len(pool):
        raise ValueError(f"cannot draw {n} heads: only {len(pool)} are left of {cfg.model_name}'s.")
    rng = np.random.default_rng(seed)
    return [tuple(sorted(pool[i] for i in rng.permutation(len(pool))[:n])) for _ in range(n_sets)]


def parse_heads(model: HookedTransformer, heads: Sequence[Head | str]) -> tuple[Head, ...]:
    """(layer, head) pairs from pairs or names such as "9.6", in order and without repetition.

    Raises:
        ValueError: a head that the model does not have.
    """
    if isinstance(heads, str):
        heads = heads.split()
    parsed = []
    for given in heads:
        try:
            layer, head = map(int, given.split(".")) if isinstance(given, str) else map(int, given)
        except ValueError:
            raise ValueError(f"{given!r} is not a head: write '9.6' or (9, 6).") from None
        if not (0 <= layer < model.cfg.n_layers and 0 <= head < model.cfg.n_heads):
            raise ValueError(
                f"there is no head {layer}.{head} in {model.cfg.model_name}, which has "
                f"{model.cfg.n_layers} layers of {model.cfg.n_heads} heads."
            )
        parsed.append((layer, head))
    return tuple(dict.fromkeys(parsed))


class _Replace:
    """Puts other values of some heads into z [prompt, pos, head, d_head]."""

    def __init__(self, values: Tensor, heads: list[int]) -> None:
        self.values, self.heads = values, heads

    def __call__(self, value: Tensor, *, hook: object) -> Tensor:
        value = value.clone()
        value[:, :, self.heads] = self.values[:, :, self.heads]
        return value


def _metric(
    model: HookedTransformer, task: Task, values: dict[int, Tensor], heads: Sequence[Head]
) -> NDArray[np.float64]:
    """The metric of the clean prompts with z of these heads replaced, some prompts at a time."""
    measured = []
    for prompts in torch.arange(len(task)).split(_PROMPTS_AT_ONCE):
        hooks = [
            (
                get_act_name("z", layer),
                _Replace(values[layer][prompts], [head for at, head in heads if at == layer]),
            )
            for layer in sorted({layer for layer, _ in heads})
        ]
        resid = model.run_with_hooks(
            task.clean[prompts], fwd_hooks=hooks, stop_at_layer=model.cfg.n_layers
        )
        metric = task.metric.subset(prompts)
        final = take_positions(resid, metric.positions.to(resid.device))
        measured.append(read_metric(model, metric, final).cpu().double())
    values_of_all: NDArray[np.float64] = torch.cat(measured).numpy()
    return values_of_all


def _replacements(
    model: HookedTransformer,
    task: Task,
    reference: Task,
    layers: list[int],
    method: AblationMethod,
    seed: int,
) -> dict[int, Float[Tensor, "prompt pos head d_head"]]:
    """What stands in place of z, for every layer that is needed."""
    names = {layer: get_act_name("z", layer) for layer in layers}
    if not layers:
        return {}
    if method == "zero":
        shape = (*task.clean.shape, model.cfg.n_heads, model.cfg.d_head)
        return {
            layer: torch.zeros(shape, device=model.device, dtype=model.dtype) for layer in layers
        }
    weights = _weights(task, reference, method, seed).to(model.device, model.dtype)
    n_pos = min(task.clean.shape[1], reference.clean.shape[1])
    shape = (*task.clean.shape, model.cfg.n_heads, model.cfg.d_head)
    out = {layer: weights.new_zeros(shape) for layer in layers}
    for prompts in torch.arange(len(reference)).split(_PROMPTS_AT_ONCE):
        _, values = model.record(
            reference.corrupted[prompts],
            names_filter=list(names.values()),
            stop_at_layer=layers[-1] + 1,
        )
        for layer, name in names.items():
            z = values[name][:, :n_pos]
            out[layer][:, :n_pos] += torch.einsum("pr,rthe->pthe", weights[:, prompts], z)
    return out


def _weights(
    task: Task, reference: Task, method: AblationMethod, seed: int
) -> Float[Tensor, "prompt reference"]:
    """How much of each reference prompt goes into each prompt's replacement; rows sum to 1."""
    same = torch.tensor([[a == b for b in reference.group] for a in task.group])
    lengths = task.lengths.cpu()[:, None] == reference.lengths.cpu()[None]
    if not bool((same & lengths).any(1).all()):
        prompt = int((~(same & lengths).any(1)).nonzero()[0])
        raise ValueError(
            f"the reference has no prompts of the group {task.group[prompt]!r} with "
            f"{int(task.lengths[prompt])} tokens: draw it from the same templates, or more prompts."
        )
    weights = (same & lengths).double()
    if method == "mean":
        return weights / weights.sum(1, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(weights, 1, generator=generator)
    return torch.zeros_like(weights).scatter(1, drawn, 1.0)
