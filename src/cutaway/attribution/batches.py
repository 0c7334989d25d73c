"""Estimates for all prompts of a task: how many fit at a time, and what comes out together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..patching.effects import Axis, Effects, Mode
from ..patching.measure import Progress, TellMemory, check_mode, check_no_hooks
from ..patching.memory import allowed_memory
from ..tasks.task import Task
from .gradients import PairedRuns, Window


@dataclass(frozen=True)
class Estimate:
    """What gradients say of some prompts."""

    change: Float[Tensor, "*axes prompt"]
    """By how much each intervention would change the metric of the base run."""
    base: Float[Tensor, " prompt"]
    """The metric of the base run."""
    source: Float[Tensor, " prompt"]
    """The metric of the source run."""


class Estimator(Protocol):
    """Estimates for some prompts; `report` is called with the share that is done."""

    def __call__(self, pair: PairedRuns, report: Progress) -> Estimate: ...


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that attribution takes at its peak, beside the model and the result."""

    per_prompt: int
    """With gradients, so many for each prompt that is run at once."""
    prompts_per_batch: int
    """Prompts that are run at once."""

    @property
    def peak(self) -> int:
        """At the peak."""
        return self.per_prompt * self.prompts_per_batch


def plan_batches(
    model: HookedTransformer, task: Task, per_prompt: int, max_memory: int | None
) -> MemoryNeed:
    """How many prompts are run at once.

    Args:
        model: says where memory is taken.
        task: the prompts.
        per_prompt: bytes that one prompt takes.
        max_memory: bytes that may be used; None means a quarter of what is free.

    Raises:
        ValueError: not even one prompt fits.
    """
    allowed = allowed_memory(model.device, max_memory)
    n_batch = min(len(task), allowed // per_prompt)
    if n_batch < 1:
        window = Window.of(task, slice(0, len(task)))
        raise ValueError(
            f"max_memory={allowed:,} bytes is too little: one prompt, run with gradients over "
            f"{len(window)} positions, needs {per_prompt:,}. Raise max_memory, or use shorter "
            "prompts or a corruption that begins later."
        )
    return MemoryNeed(per_prompt, n_batch)


def run_bytes(model: HookedTransformer, task: Task) -> int:
    """Bytes that one prompt takes while it is run with gradients.

    Counted are the values that the backward pass needs, of all layers over the window, with the
    keys and values of all positions; or one layer's working values of all positions, where they
    are more. It is about twice what tensors were measured to take, since memory that is freed is
    not always used again.
    """
    cfg = model.cfg
    window = Window.of(task, slice(0, len(task)))
    n_window, end = len(window), window.end
    width, kv = cfg.n_heads * cfg.d_head, cfg.n_key_value_heads * cfg.d_head
    hidden = 0 if cfg.attn_only else (6 if cfg.gated_mlp else 3) * cfg.d_mlp
    streams = 14 if cfg.normalization_type in ("RMS", "RMSPre") else 10
    position = streams * cfg.d_model + 8 * width + 4 * kv + hidden
    attention = 5 * cfg.n_heads * n_window * end
    layer = n_window * position + end * (4 * kv + 2 * width) + attention
    working = end * position + 4 * cfg.n_heads * end * end
    n_read = task.metric.positions.shape[1]
    if task.metric.tokens is None:
        reading = 6 * n_read * cfg.d_vocab
    else:
        reading = task.metric.tokens.shape[1] * (2 * cfg.d_model + 4 * n_read)
    size = max(torch.empty((), dtype=model.dtype).element_size(), 4)
    ends = 12 * n_window * cfg.d_model  # embeddings of both prompts, the final stream
    runs = max(cfg.n_layers * layer, working) + ends
    return size * (runs + reading + 8 * n_read * cfg.d_model)


def estimated_effects(
    model: HookedTransformer,
    task: Task,
    *,
    site: str,
    axes: tuple[Axis, ...],
    mode: Mode,
    per_prompt: int,
    max_memory: int | None,
    progress: Progress | None,
    tell_memory: TellMemory | None,
    estimate: Estimator,
    settings: dict[str, Any],
) -> Effects:
    """The effects that an estimator finds, prompts in batches.

    Args:
        model: without hooks attached.
        task: the pairs and the metric.
        site: what is attributed to, for the result.
        axes: of the estimates, for the result.
        mode: the direction.
        per_prompt: bytes that one prompt takes.
        max_memory: bytes that may be used.
        progress: called with the share that is done.
        tell_memory: called with the bytes that will be held at most.
        estimate: called with each batch.
        settings: of the method, for the result.
    """
    check_no_hooks(model)
    check_mode(mode)
    need = plan_batches(model, task, per_prompt, max_memory)
    if tell_memory is not None:
        tell_memory(need.peak)
    shape = tuple(len(axis.labels) for axis in axes)
    patched = np.empty((*shape, len(task)))
    base, source = np.empty((2, len(task)))
    for first in range(0, len(task), need.prompts_per_batch):
        prompts = slice(first, min(first + need.prompts_per_batch, len(task)))
        found = estimate(PairedRuns(model, task, prompts, mode), _part(progress, prompts, task))
        change = found.change.cpu().double().numpy().reshape(*shape, -1)
        base[prompts], source[prompts] = found.base.cpu().numpy(), found.source.cpu().numpy()
        patched[..., prompts] = base[prompts] + change
    clean, corrupted = (source, base) if mode == "denoising" else (base, source)
    made_of = {"model": model.cfg.model_name, "task": task.name}
    memory = {"predicted_bytes": need.peak, "prompts_per_batch": need.prompts_per_batch}
    return Effects(
        site=site,
        mode=mode,
        axes=axes,
        patched=patched,
        clean=clean,
        corrupted=corrupted,
        metric=task.metric.name,
        settings={**made_of, **settings, **memory, "task_settings": dict(task.settings)},
    )


def _part(progress: Progress | None, prompts: slice, task: Task) -> Callable[[float], None]:
    """Progress of one batch as progress of the whole."""

    def report(share: float) -> None:
        if progress is not None:
            progress((prompts.start + share * (prompts.stop - prompts.start)) / len(task))

    return report
