"""Which features carry a task's answer: exact and estimated effects, and the circuit of a layer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ...attribution.agreement import agreement
from ...attribution.gradients import Gradient
from ...attribution.nodes import attribute
from ...model.transformer import HookedTransformer
from ...patching.effects import Effects
from ...patching.sweep import sweep
from ...sae.dictionary import Dictionary
from ...sae.feature_circuits import FeatureCircuit, feature_circuit
from ...sae.feature_site import features
from ...tasks.task import Task
from ...views.sae_study_data import CircuitOfLayer
from .settings import SaeStudySettings

T = TypeVar("T")
GRADIENTS: tuple[Gradient, ...] = ("base", "both-ends", "integrated")


def carried_by(
    model: HookedTransformer,
    dictionary: Dictionary,
    fit: Task,
    task: Task,
    settings: SaeStudySettings,
    progress: Callable[[float], None],
) -> CircuitOfLayer:
    """Effects of every feature at every named position, and circuits by exact and estimated ones.

    Args:
        model: without hooks attached.
        dictionary: of one layer's stream.
        fit: prompts that effects and orders of features come from.
        task: other prompts, which circuits are tested on.
        settings: target, random sets, seed, memory.
        progress: told the share that is done.
    """
    site, memory, seconds = features(dictionary), settings.max_memory, {}
    positions = "named" if fit.positions else "all"

    def timed(name: str, made: Callable[[], T]) -> T:
        start = time.perf_counter()
        found = made()
        seconds[name] = time.perf_counter() - start
        return found

    def estimated(gradient: Gradient) -> Effects:
        return attribute(
            model,
            fit,
            site,
            positions=positions,
            mode="noising",
            gradient=gradient,
            max_memory=memory,
        )

    def circuit(scores: Effects) -> FeatureCircuit:
        return feature_circuit(
            model,
            task,
            dictionary,
            scores,
            target=settings.target,
            n_random=settings.n_random,
            seed=settings.seed,
            max_memory=memory,
        )

    noising = timed(
        "exact",
        lambda: sweep(model, fit, site, positions=positions, mode="noising", max_memory=memory),
    )
    denoising = sweep(model, fit, site, positions=positions, max_memory=memory)
    progress(0.2)
    estimates = {name: timed(name, partial(estimated, name)) for name in GRADIENTS}
    progress(0.3)
    by_exact = circuit(noising)
    progress(0.7)
    return CircuitOfLayer(
        noising=noising,
        denoising=denoising,
        circuit=by_exact,
        by_gradient=circuit(estimates["base"]),
        agreements={
            name: agreement(noising, one, seed=settings.seed) for name, one in estimates.items()
        },
        seconds=seconds,
    )
