"""Ablation: take heads out of the clean run together, and see what is left of the behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval, bootstrap_mean
from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .edits import Intervention
from .interventions import run_cases
from .measure import Progress
from .values import Mean, Resample, Value, Zero

Head = tuple[int, int]
AblationMethod = Literal["zero", "mean", "resample"]
_METHODS = ("zero", "mean", "resample")


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


def ablate_many(
    model: HookedTransformer,
    task: Task,
    head_sets: Sequence[Sequence[Head | str]],
    method: AblationMethod = "mean",
    *,
    reference: Task | None = None,
    seed: int = 0,
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> list[Ablation]:
    """`ablate` for several sets of heads; the reference is run only once."""
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is not one of {', '.join(_METHODS)}.")
    sets = [parse_heads(model, heads) for heads in head_sets]
    values = {"zero": Zero(), "mean": Mean(reference), "resample": Resample(reference, seed)}
    cases = [knock_outs(heads, values[method]) for heads in sets]
    ablated, measurement = run_cases(model, task, cases, "noising", max_memory, progress)
    clean = measurement.clean.numpy()
    return [
        Ablation(heads, method, clean, of_heads.numpy(), task.metric.name)
        for heads, of_heads in zip(sets, ablated, strict=True)
    ]


def knock_outs(heads: Sequence[Head], value: str | Value, site: str = "z") -> list[Intervention]:
    """One intervention for each layer that puts a value at all of these heads."""
    layers = sorted({layer for layer, _ in heads})
    return [
        Intervention(site, layer, value, units=[head for at, head in heads if at == layer])
        for layer in layers
    ]


def random_heads(
    model: HookedTransformer, n: int, n_sets: int, exclude: Sequence[Head | str] = (), seed: int = 0
) -> list[tuple[Head, ...]]:
    """Random sets of n different heads, none of them excluded: the control for any choice.

    Raises:
        ValueError: fewer than n heads are left to draw from.
    """
    for name, number in (("n", n), ("n_sets", n_sets)):
        if number < 0:
            raise ValueError(f"{name}={number} is negative.")
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
        except (TypeError, ValueError):
            raise ValueError(f"{given!r} is not a head: write '9.6' or (9, 6).") from None
        if not (0 <= layer < model.cfg.n_layers and 0 <= head < model.cfg.n_heads):
            raise ValueError(
                f"there is no head {layer}.{head} in {model.cfg.model_name}, which has "
                f"{model.cfg.n_layers} layers of {model.cfg.n_heads} heads."
            )
        parsed.append((layer, head))
    return tuple(dict.fromkeys(parsed))
