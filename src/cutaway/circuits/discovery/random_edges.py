"""Random: every edge gets a random score. The control that every method has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...model.transformer import HookedTransformer
from ...patching.measure import Progress
from ...tasks.task import Task
from ..random_circuits import random_circuits
from ..scores import EdgeScores
from ..wiring import Wiring
from .settings import DiscoverySettings, no_progress


@dataclass(frozen=True)
class RandomSettings(DiscoverySettings):
    """Draw the edges."""


def random_edges(
    model: HookedTransformer,
    task: Task,
    settings: RandomSettings,
    progress: Progress = no_progress,
) -> EdgeScores:
    """Scores drawn between 0 and 1; the circuit of n edges is a random connected one."""
    wiring = Wiring(model.cfg)
    rng = np.random.default_rng(settings.seed)
    values = rng.random(len(wiring.graph.edges))
    kept = None
    if settings.n_edges is not None:
        kept = random_circuits(wiring, settings.n_edges, 1, settings.seed)[0]
    progress(1.0)
    return EdgeScores(
        model.cfg, "random", values, "drawn between 0 and 1", None, kept, settings.described()
    )
