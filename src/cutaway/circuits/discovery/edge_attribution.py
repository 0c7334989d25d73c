"""Edge attribution patching: every edge's effect estimated from gradients, in a few runs.

EAP (Syed, Rager and Conmy 2023) takes the gradient in one run; EAP-IG (Hanna, Pezzelle and Belinkov
2024) between the two. Where a softmax is saturated the gradient is about 0 whatever the effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...attribution.edges import EdgeMethod, attribute_edges
from ...model.transformer import HookedTransformer
from ...patching.measure import Progress
from ...tasks.task import Task
from ..scores import EdgeScores, scores_of_effects
from .settings import DiscoverySettings, no_progress


@dataclass(frozen=True)
class EAPSettings(DiscoverySettings):
    """Estimate by the gradient in the run that is patched."""


@dataclass(frozen=True)
class EAPIGSettings(DiscoverySettings):
    """Estimate by gradients between the two runs."""

    steps: int = 5
    """How many runs between the two."""
    between: EdgeMethod = "eap-ig-inputs"
    """What lies between: token embeddings (eap-ig-inputs), or one component's output at a time
    (eap-ig-activations); or the mean of both ends (clean-corrupted)."""


def eap(
    model: HookedTransformer, task: Task, settings: EAPSettings, progress: Progress = no_progress
) -> EdgeScores:
    """The first-order estimate of every edge's effect."""
    return _estimated(model, task, "eap", "eap", settings, 1, progress)


def eap_ig(
    model: HookedTransformer, task: Task, settings: EAPIGSettings, progress: Progress = no_progress
) -> EdgeScores:
    """The estimate with gradients taken between the two runs."""
    return _estimated(model, task, "eap-ig", settings.between, settings, settings.steps, progress)


def _estimated(
    model: HookedTransformer,
    task: Task,
    name: str,
    method: EdgeMethod,
    settings: DiscoverySettings,
    steps: int,
    progress: Progress,
) -> EdgeScores:
    effects = attribute_edges(
        model,
        task,
        mode=settings.mode,
        method=method,
        steps=steps,
        max_memory=settings.max_memory,
        progress=progress,
    )
    return scores_of_effects(model.cfg, name, effects, settings.described())
