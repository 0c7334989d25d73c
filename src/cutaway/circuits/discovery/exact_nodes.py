"""Exact nodes: every head and MLP patched by itself, and all edges between the chosen ones kept.

The score of an edge is the effect of the weaker of its two ends, so that a circuit of the largest
scores is one of whole nodes. It tells who takes part and not who talks to whom: the control for
what edges add.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...model.transformer import HookedTransformer
from ...patching.effects import Effects
from ...patching.measure import Progress
from ...patching.sweep import sweep
from ...tasks.task import Task
from ..scores import EdgeScores, normalised
from ..wiring import Wiring
from .settings import DiscoverySettings, no_progress


@dataclass(frozen=True)
class ExactNodesSettings(DiscoverySettings):
    """Patch every head and MLP by itself."""


def exact_nodes(
    model: HookedTransformer,
    task: Task,
    settings: ExactNodesSettings,
    progress: Progress = no_progress,
) -> EdgeScores:
    """The exact effect of every head and MLP, given to the edges between them."""
    cfg, wiring = model.cfg, Wiring(model.cfg)
    parts = 1 if cfg.attn_only else 2

    def swept(site: str, part: int) -> Effects:
        return sweep(
            model,
            task,
            site,
            positions="all",
            mode=settings.mode,
            max_memory=settings.max_memory,
            progress=lambda share: progress((part + share) / parts),
        )

    heads = normalised(swept("z", 0))  # [layer, head]
    mlps = None if cfg.attn_only else normalised(swept("mlp_out", 1))  # [layer]
    of_sender = np.array(
        [
            np.inf
            if sender.kind == "embed"
            else heads[sender.layer, sender.head]
            if sender.kind == "head" or mlps is None
            else mlps[sender.layer]
            for sender in wiring.graph.senders
        ]
    )
    number = {sender: i for i, sender in enumerate(wiring.graph.senders)}
    values = np.empty(len(wiring.graph.edges))
    for i, (sender, receiver) in enumerate(wiring.graph.edges):
        readers = [of_sender[number[one]] for one in wiring.read_by(receiver)]
        strongest = max(readers, key=abs, default=np.inf)
        values[i] = min(of_sender[number[sender]], strongest, key=abs)
    # From the embedding to the logits there is no node between: as strong as the strongest.
    finite = values[np.isfinite(values)]
    values[~np.isfinite(values)] = np.abs(finite).max(initial=0.0)
    return EdgeScores(cfg, "exact-nodes", values, settings=settings.described())
