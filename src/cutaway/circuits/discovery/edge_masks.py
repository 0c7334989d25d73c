"""Learned edge masks: a weight for every edge, trained so that few edges do what all do.

Each edge has a gate between 0 (what stands outside) and 1 (this run's value), drawn from a hard
concrete distribution (Louizos, Welling and Kingma 2018), as in subnetwork probing (Cao, Sanh and
Rush 2021) and edge pruning (Bhaskar et al. 2024). The loss is how far the circuit's metric is from
the whole model's, plus a price for each edge that is expected to be open; the price rises from 0.
Unlike the methods that look at one edge at a time it sees what edges do together, redundancy
included; unlike them it is not exact, and depends on its seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...model.transformer import HookedTransformer
from ...patching.measure import Progress
from ...tasks.task import Task
from ..runs import CircuitRuns
from ..scores import PAIR, EdgeScores, mean_gap
from .settings import DiscoverySettings, no_progress

# Of the hard concrete distribution (Louizos et al. 2018, section 4): its temperature, and how far
# it is stretched below 0 and above 1.
_TEMPERATURE, _LOW, _HIGH = 2 / 3, -0.1, 1.1
_OPEN = 2.0  # the log-odds that gates start from: nearly all open


@dataclass(frozen=True)
class EdgeMaskSettings(DiscoverySettings):
    """Train a gate for every edge."""

    steps: int = 300
    """Updates."""
    learning_rate: float = 0.1
    """Of Adam."""
    price: float = 1.0
    """What all edges together cost when the price is full, in units of the squared difference
    between clean and corrupted."""
    prompts_per_step: int = 16
    """How many prompts, drawn anew, each update looks at."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "learning_rate", "price", "prompts_per_step"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} is not positive.")
        if self.mode != "noising":
            raise ValueError("mode='denoising' is not for edge masks, which take edges out.")


def edge_masks(
    model: HookedTransformer,
    task: Task,
    settings: EdgeMaskSettings,
    progress: Progress = no_progress,
) -> EdgeScores:
    """The gate of every edge after training: 0 closed, 1 open.

    The sign of an edge is not known: all scores are positive.

    Raises:
        ValueError: clean and corrupted prompts have one mean metric; a metric without gradient.
    """
    runs = CircuitRuns(model, task, max_memory=settings.max_memory)
    gap = mean_gap(task.metric.name, runs.clean.numpy(), runs.corrupted.numpy(), PAIR)
    generator = torch.Generator().manual_seed(settings.seed)
    odds = torch.full((int(runs.wiring.allowed.sum()),), _OPEN, requires_grad=True)
    optimizer = torch.optim.Adam([odds], lr=settings.learning_rate)
    for step in range(settings.steps):
        price = settings.price * min(1.0, 2 * step / settings.steps)
        loss = _distance(runs, odds, gap, settings.prompts_per_step, generator)
        # Not backward(), which would leave gradients in the model's weights too.
        (odds.grad,) = torch.autograd.grad(loss + price * _share_open(odds), odds)
        optimizer.step()
        progress((step + 1) / settings.steps)
    values = _expected_gate(odds.detach()).double().numpy()
    return EdgeScores(
        model.cfg, "edge-masks", values, "gate: 0 closed, 1 open", settings=settings.described()
    )


def _distance(
    runs: CircuitRuns, odds: Float[Tensor, " edge"], gap: float, n: int, generator: torch.Generator
) -> Tensor:
    """Mean squared distance from the whole model's metric, in units of gap squared."""
    allowed = torch.from_numpy(runs.wiring.allowed)
    gates = _drawn(odds, generator)
    weights = torch.zeros(allowed.shape).masked_scatter(allowed, gates)
    weights = weights.to(runs.model.device)
    chosen = torch.randperm(len(runs.task), generator=generator)[:n]
    total = torch.zeros((), dtype=torch.float64)
    for prompts in runs.prompts():
        first, last = prompts.batch.prompts.start, prompts.batch.prompts.stop
        for rows in runs.rows(prompts, torch.zeros(1, dtype=torch.long), 0):
            rows = rows.only(torch.isin(rows.prompt + first, chosen))
            if not len(rows.prompt):
                continue
            found = runs.run_rows(prompts, rows, weights.expand(len(rows.prompt), -1, -1))
            wanted = runs.clean[first:last][rows.prompt]
            total = total + ((found - wanted) / gap).square().sum()
    return total / len(chosen)


def _drawn(odds: Float[Tensor, " edge"], generator: torch.Generator) -> Float[Tensor, " edge"]:
    """One gate for each edge, by the distribution's own noise: differentiable in the odds."""
    uniform = torch.rand(odds.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    open_by = ((uniform.log() - (1 - uniform).log() + odds) / _TEMPERATURE).sigmoid()
    return (open_by * (_HIGH - _LOW) + _LOW).clamp(0, 1)


def _share_open(odds: Float[Tensor, " edge"]) -> Tensor:
    """The expected share of gates that are not 0 (Louizos et al. 2018, equation 12)."""
    return (odds - _TEMPERATURE * math.log(-_LOW / _HIGH)).sigmoid().mean()


def _expected_gate(odds: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
    """The gate without noise (their equation 13): 0 where it is closed; not cut at 1, so that open
    ones keep an order."""
    return (odds.sigmoid() * (_HIGH - _LOW) + _LOW).clamp(min=0)
