"""Steered runs by the cone engine: prompts run once, and continued with a vector put in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..patching.cone import BaseRun, Cone, Entry
from ..patching.measure import POSITIONS_AT_FULL_RATE, Progress, check_no_hooks
from ..patching.memory import MemoryPlan, Workload, plan_memory
from ..patching.sites import get_site
from ..patching.targets import windows
from .values import Operation, at_positions, restricted, steered
from .vectors import SteeringVector

Measure = Callable[
    [Int[Tensor, " row"], Float[Tensor, "row read vocab"], Float[Tensor, "row read vocab"]],
    Float[Tensor, "row quantity"],
]
"""(prompt of each row, steered logits, unsteered logits) -> numbers of each row."""


@dataclass(frozen=True)
class Steered:
    """Which prompts are steered, where, and what is read of them."""

    model: HookedTransformer
    tokens: Int[Tensor, "prompt pos"]
    read: Int[Tensor, "prompt read"]
    """Columns whose logits are measured."""
    where: Bool[Tensor, "prompt pos"]
    """Which tokens are steered."""
    site: str
    operation: Operation
    max_memory: int | None = None

    def plan(self) -> MemoryPlan:
        """How many prompts and rows fit."""
        cfg, (n, n_pos) = self.model.cfg, self.tokens.shape
        # Both the steered logits and the unsteered ones, and a softmax of each, are held.
        work = Workload(n, n_pos, 4 * self.read.shape[1] * cfg.d_vocab, cfg.d_model, cfg.d_model)
        return plan_memory(cfg, work, self.model.dtype, self.model.device, self.max_memory)


@torch.no_grad()
def measure_steered(
    runs: Steered,
    vectors: Mapping[int, Sequence[SteeringVector]],
    factors: Mapping[int, Sequence[float]],
    measure: Measure,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """What `measure` says of every prompt under every vector and factor at every layer.

    Args:
        runs: the prompts.
        vectors: layer -> its vectors, as many for each layer.
        factors: layer -> what they are multiplied with, as many for each layer.
        measure: called with some rows at a time.
        progress: called with the share that is done.

    Returns:
        [quantity, vector, layer, factor, prompt].
    """
    check_no_hooks(runs.model)
    plan, n = runs.plan(), len(runs.tokens)
    found: list[Tensor] = []
    for first in range(0, n, plan.prompts_per_batch):
        prompts = torch.arange(first, min(first + plan.prompts_per_batch, n))
        base = BaseRun(runs.model, runs.tokens[prompts], runs.read[prompts])
        of_layers = []
        for number, layer in enumerate(vectors):
            batch = _Batch(runs, base, prompts, layer, vectors[layer], factors[layer], plan)
            of_layers.append(batch.measured(measure))
            if progress is not None:
                done = first + len(prompts) * (number + 1) / len(vectors)
                progress(min(1.0, done / n))
        found.append(torch.stack(of_layers, dim=2))
    values: NDArray[np.float64] = torch.cat(found, dim=-1).numpy()
    return values


class _Batch:
    """Some prompts, steered at one layer by all vectors and factors."""

    def __init__(
        self,
        runs: Steered,
        base: BaseRun,
        prompts: Int[Tensor, " prompt"],
        layer: int,
        vectors: Sequence[SteeringVector],
        factors: Sequence[float],
        plan: MemoryPlan,
    ) -> None:
        model = runs.model
        self.runs, self.base, self.prompts, self.plan = runs, base, prompts, plan
        self.entry: Entry = get_site(runs.site, model.cfg).entry(model.cfg, layer)
        self.where = runs.where[prompts].to(model.device)
        self.factors = torch.tensor(factors, device=model.device, dtype=model.dtype)
        index = torch.arange(base.tokens.shape[1], device=model.device)[None]
        if base.mask is not None:
            index = index - (~base.mask).sum(1, keepdim=True)
        index = index.expand(len(prompts), -1)
        of_prompts = (v.subset(prompts).vector.to(model.device, model.dtype) for v in vectors)
        self.laid = [at_positions(v, index) for v in of_prompts]  # views: [prompt, pos, d_model]

    def measured(self, measure: Measure) -> Float[Tensor, "quantity vector factor prompt"]:
        """In chunks of rows (vector, factor, prompt) whose windows begin together."""
        n_factors, n_prompts = len(self.factors), len(self.prompts)
        start = self.where.long().argmax(1).cpu()
        last = self.base.read.cpu().amax(1)
        unsteered = ~self.where.any(1).cpu() | (start > last)
        start = torch.where(unsteered, last, start)  # one token is run, and nothing changes
        factor = torch.arange(n_factors).repeat_interleave(n_prompts)
        prompt = torch.arange(n_prompts).repeat(n_factors)
        full = POSITIONS_AT_FULL_RATE.get(self.base.tokens.device.type, 1024)
        groups = list(windows(start[prompt], (last + 1 - start)[prompt], full))
        out: Tensor | None = None
        for number, laid in enumerate(self.laid):
            for first, members in groups:
                end = int(last[prompt[members]].max()) + 1
                for rows in members.split(self.plan.rows_per_chunk(end - first, end)):
                    values = self._rows(laid, factor[rows], prompt[rows], first, measure)
                    if out is None:
                        shape = (len(self.laid), n_factors, n_prompts)
                        out = torch.empty(values.shape[1], *shape, dtype=torch.float64)
                    out[:, number, factor[rows], prompt[rows]] = values.T.cpu().double()
        assert out is not None
        return out

    def _rows(
        self,
        laid: Float[Tensor, "prompt pos d_model"],
        factor: Int[Tensor, " row"],
        prompt: Int[Tensor, " row"],
        start: int,
        measure: Measure,
    ) -> Float[Tensor, "row quantity"]:
        base, model, device = self.base, self.runs.model, self.factors.device
        of = prompt.to(device)
        cone = Cone(base, of, start)
        window = slice(cone.start, cone.end)
        old = cone.stream(self.entry)
        size = self.factors[factor.to(device)][:, None, None]
        new = steered(old, laid[of, window], size, self.runs.operation)
        change = restricted(old, new, self.where[of, window]) - old
        final = cone.propagate(self.entry, change)
        logits, before = (model.unembed(model.ln_final(x)) for x in (final, base.final()[of]))
        return measure(self.prompts[prompt], logits, before)
