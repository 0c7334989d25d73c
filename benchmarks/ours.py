"""Cutaway's side of the benchmarks: the model and the task that the peers are given as tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from common import Prompts, Shape
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.tasks.task import Task


def make_model(shape: Shape, state: dict[str, Tensor]) -> HookedTransformer:
    """Cutaway's model of that shape with these weights."""
    cfg = ModelConfig(
        n_layers=shape.n_layers,
        d_model=shape.d_model,
        n_heads=shape.n_heads,
        d_vocab=shape.d_vocab,
        n_ctx=shape.n_ctx,
        model_name=shape.name,
    )
    return HookedTransformer.from_state(cfg, state)


def make_task(prompts: Prompts) -> Task:
    """The same prompts and answers; the metric is the logit difference at the last token."""
    return Task.from_tokens(prompts.clean, prompts.corrupted, prompts.correct, prompts.wrong)


def count_flop(function: Callable[[], Any]) -> float:
    """The matrix arithmetic of a call, as torch's own counter has it."""
    with FlopCounterMode(display=False) as counter:
        function()
    return float(counter.get_total_flops())
