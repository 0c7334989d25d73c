"""Runs that keep their gradients: how the metric of each prompt changes with every value.

Two prompts of a pair are equal up to their first difference, and nothing after the last position
that the metric reads can matter. So only that window is run with gradients; what comes before it
is run once, without, and only its keys and values are kept.

Gradients are of the metric's sum over prompts, never of its mean: a prompt's gradient is then its
own, whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.kv_cache import KVCache
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from ..patching.cone import take_positions
from ..patching.effects import Mode
from ..patching.measure import read_metric, same_mask
from ..tasks.task import Task

Gradient = Literal["base", "both-ends", "integrated"]


@dataclass(frozen=True)
class Point:
    """A run between the two of a pair, and how much its gradient counts."""

    share: float
    """Its token embeddings are base + share * (source - base)."""
    weight: float
    """The weights of all points add up to 1."""


def points_between(gradient: Gradient, steps: int) -> tuple[Point, ...]:
    """Where a gradient is taken, between the base run (0) and the source run (1).

    "base" is the base run alone, "both-ends" the mean of both runs, and "integrated" the mean of
    `steps` runs in the middle of equal parts, at (k + 1/2) / steps: the midpoint rule for
    integrated gradients (Sundararajan, Taly and Yan 2017), whose error falls with the square of
    the number of steps.

    Raises:
        ValueError: no such gradient, or fewer than one step.

    Example:
        >>> [point.share for point in points_between("integrated", 2)]
        [0.25, 0.75]
    """
    if gradient not in get_args(Gradient):
        known = ", ".join(map(repr, get_args(Gradient)))
        raise ValueError(f"gradient={gradient!r} is unknown; it can be {known}.")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps={steps!r} is not a whole number of at least 1.")
    if gradient == "base":
        return (Point(0.0, 1.0),)
    if gradient == "both-ends":
        return (Point(0.0, 0.5), Point(1.0, 0.5))
    return tuple(Point((k + 0.5) / steps, 1 / steps) for k in range(steps))


@dataclass(frozen=True)
class Window:
    """The positions that are run: before `start` no prompt differs, from `end` on none is read."""

    start: int
    end: int

    @classmethod
    def of(cls, task: Task, prompts: slice) -> Window:
        """The window of some prompts of a task, of at least one position."""
        n_pos = task.clean.shape[1]
        start = min(int(first_changes(task)[prompts].min()), n_pos - 1)
        last = int(task.metric.positions[prompts].max())
        return cls(start, max(last, start) + 1)

    def __len__(self) -> int:
        return self.end - self.start


def first_changes(task: Task) -> Int[Tensor, " prompt"]:
    """The first position where each pair differs; the number of positions where none does."""
    same = (task.clean == task.corrupted).all(1)
    return task.first_difference.masked_fill(same, task.clean.shape[1])


@dataclass(frozen=True)
class Run:
    """The values of one run over the window, and its metric."""

    values: dict[str, Tensor]
    """Hook name -> value; part of the graph if the run was made with gradients."""
    metric: Float[Tensor, " prompt"]

    def gradients(self, hooks: Sequence[str]) -> dict[str, Tensor]:
        """The gradient of each prompt's metric with respect to its values; once for each run.

        Raises:
            ValueError: the metric cannot be differentiated.
        """
        if not self.metric.requires_grad:
            raise ValueError(
                "the metric has no gradient: it must come from the logits by steps that can be "
                "differentiated, with no comparison, rounding or detach in between. `sweep` "
                "measures the effects on any metric."
            )
        values = [self.values[hook] for hook in hooks]
        found = torch.autograd.grad(
            self.metric,
            values,
            torch.ones_like(self.metric),  # of the sum
            allow_unused=True,
            materialize_grads=True,
        )
        return dict(zip(hooks, found, strict=True))


class PairedRuns:
    """Some prompts of a task and their partners, run over their window.

    Args:
        model: without hooks attached.
        task: the pairs and the metric.
        prompts: which of them.
        mode: "denoising" has the corrupted prompts as base; "noising" the clean ones.
    """

    def __init__(self, model: HookedTransformer, task: Task, prompts: slice, mode: Mode) -> None:
        self.model, self.prompts = model, prompts
        base, source = task.corrupted[prompts], task.clean[prompts]
        if mode == "noising":
            base, source = source, base
        self._base, mask = model.to_input(base, None, None, None, None)
        self._source, other = model.to_input(source, None, None, None, None)
        if not same_mask(mask, other):
            raise ValueError(
                "clean and corrupted prompts are padded on the left differently (or one of them "
                "begins with the padding token): the way between them has no gradient. Pad both "
                "in the same places."
            )
        self.window = window = Window.of(task, prompts)
        self._mask = None if mask is None else mask[:, : window.end]
        self._read = task.metric.positions[prompts].to(self._base.device)
        self._metric = task.metric.subset(torch.arange(prompts.start, prompts.stop))
        positions = torch.arange(window.start, window.end)
        changed = positions >= first_changes(task)[prompts].cpu()[:, None]
        self.changed = changed.to(self._base.device)  # [prompt, window]
        self._past = KVCache(model, len(base), window.end, dtype=model.dtype)
        self._read_before = self._run_prefix()

    @torch.no_grad()
    def _run_prefix(self) -> Float[Tensor, "prompt read d_model"] | None:
        """Fill the keys and values before the window; the final stream where it is read there."""
        start = self.window.start
        if start == 0:
            return None
        mask = None if self._mask is None else self._mask[:, :start]
        resid = self._forward(self._base[:, :start], None, mask)
        return take_positions(resid, self._read.clamp(max=start - 1))

    def _forward(self, input: Tensor, layer: int | None, mask: Tensor | None) -> Tensor:
        final: Tensor = self.model(
            input,
            start_at_layer=layer,
            stop_at_layer=self.model.cfg.n_layers,
            attention_mask=mask,
            past_kv_cache=self._past,
        )
        return final

    @torch.no_grad()
    def base(self, keep: Iterable[str]) -> Run:
        """The base run, without gradients."""
        return self._run(self._tokens(self._base), keep)

    @torch.no_grad()
    def source(self, keep: Iterable[str]) -> Run:
        """The source run, without gradients."""
        return self._run(self._tokens(self._source), keep)

    def between(self, share: float, keep: Iterable[str]) -> Run:
        """The run whose token embeddings lie between the base run's (0) and the source run's (1),
        with gradients."""
        with torch.no_grad():
            embed = self.model.embed
            base, source = embed(self._tokens(self._base)), embed(self._tokens(self._source))
        return self.moved("hook_embed", share * (source - base), keep)

    def moved(
        self,
        hook: str,
        change: Float[Tensor, "prompt window d_model"],
        keep: Iterable[str],
        layer: int | None = None,
        stream: Float[Tensor, "prompt window d_model"] | None = None,
    ) -> Run:
        """The base run with `change` added at a hook, with gradients to what comes after it.

        Args:
            hook: where.
            change: what is added.
            keep: hooks whose values are kept.
            layer: the first layer to run; None runs all.
            stream: the residual stream there.
        """

        def move(value: Tensor, hook: Any) -> Tensor:
            # A leaf: so there are gradients whether or not the weights are frozen.
            return (value + change).detach().requires_grad_()

        input = self._tokens(self._base) if stream is None else stream
        with torch.enable_grad(), self.model.hooks([(hook, move)]):
            return self._run(input, keep, layer)

    def _tokens(self, tokens: Int[Tensor, "prompt pos"]) -> Int[Tensor, "prompt window"]:
        return tokens[:, self.window.start : self.window.end]

    def _run(self, input: Tensor, keep: Iterable[str], layer: int | None = None) -> Run:
        start, values = self.window.start, {}
        for held in self._past.layers:  # a run before this one has filled it up
            held.length = start
        self._past.mask = None if self._mask is None else self._mask[:, :start]

        def save(value: Tensor, hook: Any) -> None:
            values[hook.name] = value

        mask = None if self._mask is None else self._mask[:, start:]
        with self.model.hooks([(name, save) for name in keep]):
            final = self._forward(input, layer, mask)
        final = take_positions(final, (self._read - start).clamp(min=0))
        if self._read_before is not None:
            final = torch.where((self._read < start)[..., None], self._read_before, final)
        return Run(values, at_least_float32(read_metric(self.model, self._metric, final)))

    def change(self, hook: str, base: Run, source: Run) -> Tensor:
        """Source less base at a hook, without gradients; exactly 0 before a prompt's first
        difference, and where both are -inf (masked attention scores)."""
        old = base.values[hook].detach()
        change = source.values[hook].detach() - old
        changed = self.changed
        if hook.endswith(("hook_pattern", "hook_attn_scores")):  # [prompt, head, query, key]
            changed, change = changed[:, None], change.masked_fill_(old == -torch.inf, 0)
        unchanged = ~changed.view(*changed.shape, *[1] * (old.ndim - changed.ndim))
        return change.masked_fill_(unchanged, 0)
