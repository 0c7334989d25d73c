"""Exact edges: every edge patched by itself, and the ones with an effect kept.

The score of an edge is its normalised effect, measured and not estimated (`sweep_edges`). What it
cannot see is redundancy: of two edges that can each do the work alone, noising finds neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...model.transformer import HookedTransformer
from ...patching.edges import sweep_edges
from ...patching.measure import Progress
from ...tasks.task import Task
from ..scores import EdgeScores, scores_of_effects
from .settings import DiscoverySettings, no_progress


@dataclass(frozen=True)
class ExactEdgesSettings(DiscoverySettings):
    """Patch every edge by itself."""


def exact_edges(
    model: HookedTransformer,
    task: Task,
    settings: ExactEdgesSettings,
    progress: Progress = no_progress,
) -> EdgeScores:
    """The exact effect of every edge.

    Example:
        >>> exact_edges(model, task, ExactEdgesSettings()).top(3)
    """
    effects = sweep_edges(
        model, task, mode=settings.mode, max_memory=settings.max_memory, progress=progress
    )
    return scores_of_effects(model.cfg, "exact-edges", effects, settings.described())
