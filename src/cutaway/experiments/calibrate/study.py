"""The calibration itself: every method on every known model, task, basis and sharpness."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ...circuits.calibration import calibrate
from ...circuits.discovery import METHODS, DiscoverySettings, score
from ...circuits.known import KNOWN, KnownModel, KnownSettings
from ...circuits.scores import EdgeScores
from ...views.calibration_data import Trial
from ...views.calibration_text import CONTROL, EXACT
from ..steps import Steps
from .settings import CalibrateSettings


@dataclass(frozen=True)
class Calibrated:
    """All trials, and what identifies the models that they were made on."""

    trials: tuple[Trial, ...]
    digest: str
    """SHA-256 over the digests of all models, in the order in which they were tried."""


def calibrate_all(settings: CalibrateSettings, steps: Steps) -> Calibrated:
    """Every combination of what the settings name; one step for each model."""
    trials: list[Trial] = []
    digests = hashlib.sha256()
    for name in settings.models:
        with steps(name) as progress:
            ways = [(sharp, seed) for sharp in settings.sharpness for seed in range(settings.seeds)]
            for done, (sharpness, seed) in enumerate(ways):
                chosen = KnownSettings(sharpness=sharpness, n_prompts=settings.n_prompts)
                known = KNOWN[name](seed, chosen)
                digests.update(known.model.digest.encode())
                for corruption in known.tasks:
                    trials += _trials(known, corruption, settings)
                progress((done + 1) / len(ways))
    return Calibrated(tuple(trials), digests.hexdigest())


def _trials(known: KnownModel, corruption: str, settings: CalibrateSettings) -> Iterator[Trial]:
    """Every method on one task. The exact effects are measured once, whatever was asked for."""
    exact, exact_seconds = _timed(known, corruption, EXACT, known.seed)
    for method in settings.methods:
        for seed in method_seeds(method, known.seed, settings.n_random):
            scores, seconds = exact, exact_seconds
            if method != EXACT:
                scores, seconds = _timed(known, corruption, method, seed)
            yield Trial(
                model=known.name,
                corruption=corruption,
                sharpness=known.settings.sharpness,
                seed=known.seed,
                method_seed=seed,
                found=calibrate(
                    scores, known.detectable[corruption], known.written, exact.values, seconds
                ),
            )


def method_seeds(method: str, seed: int, n_random: int) -> range:
    """The seeds a method gets in one basis: the basis's own; of the control many, all different."""
    return (
        range(seed * n_random, (seed + 1) * n_random)
        if method == CONTROL
        else range(seed, seed + 1)
    )


def _timed(known: KnownModel, corruption: str, method: str, seed: int) -> tuple[EdgeScores, float]:
    settings: DiscoverySettings = METHODS[method].settings(seed=seed)
    start = time.perf_counter()
    scores = score(known.model, known.tasks[corruption], method, settings)
    return scores, time.perf_counter() - start
