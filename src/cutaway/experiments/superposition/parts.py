"""What the study trains: one entry for each part, and the worker that trains it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...superposition.toy_model import ToyModel
from ...superposition.training import ToyTraining, train_toys
from ...views.superposition_data import (
    BASES,
    COMPUTATION,
    LINEAR,
    PAIRS,
    PHASE,
    PLANE,
    PLATEAUS_PART,
    SHAPES_ALONE,
    SWEEP,
)
from ..workers import Job
from .settings import SuperpositionSettings

_PLANE_DENSITIES = (1.0, 0.7, 0.5, 0.3, 0.2, 0.15, 0.1, 0.05, 0.03, 0.01)
_SWEEP_DENSITIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
_BASIS_DENSITIES = (1.0, 0.5, 0.3, 0.1, 0.03, 0.01)
_COMPUTATION_DENSITIES = (1.0, 0.3, 0.1, 0.03, 0.01)
_PAIR_DENSITIES = (0.3, 0.1, 0.03)
_FEWEST_SEEDS = 2
_N_TEST = 32_768


@dataclass(frozen=True)
class ToyPart:
    """One grid of instances."""

    name: str
    model: ToyModel
    densities: Sequence[float]
    importances: float | Sequence[Sequence[float]] = 1.0
    seeds: float = 1.0
    """Of the number that was asked for."""
    steps: float = 1.0
    """Of the number that was asked for."""
    batch: int = 1
    """Times the batch that was asked for."""
    tests: int = 1
    """Times the usual samples for losses: where features are rare it takes more."""


def toy_parts(settings: SuperpositionSettings) -> tuple[ToyPart, ...]:
    """Everything that the study trains, what takes longest first."""
    n = settings.n_cells
    cells = [[1.0, float(ratio)] for ratio in np.geomspace(0.1, 10, n)]
    # Close together where shapes follow each other, and a few further out.
    wide = [float(1 / one) for one in (*np.geomspace(1.2, 8, 16), 11, 16, 30)]
    return (
        ToyPart(PLATEAUS_PART, ToyModel(40, 6), wide, 1.0, 0.375, 4 / 3),
        ToyPart(SWEEP, ToyModel(20, 5), _SWEEP_DENSITIES, 0.7, 0.5, batch=2, tests=4),
        ToyPart(PHASE, ToyModel(2, 1), np.geomspace(0.01, 1, n).tolist(), cells, 0.5, 0.5),
        ToyPart(PLANE, ToyModel(5, 2), _PLANE_DENSITIES, 0.9),
        ToyPart(
            COMPUTATION,
            ToyModel(12, 6, "absolute-value"),
            _COMPUTATION_DENSITIES,
            0.9,
            steps=4 / 3,
            tests=4,
        ),
        *(
            ToyPart(name, ToyModel(10, 5, kind), _BASIS_DENSITIES, 0.75, 0.5)
            for name, kind in BASES
        ),
        *(
            ToyPart(name, ToyModel(size, 2, pairs=kind), _PAIR_DENSITIES, 1.0, 3, 2 / 3)
            for name, kind, size in PAIRS
        ),
        *(
            ToyPart(f"alone: {name}", ToyModel(size, rank), (density,), 1.0, 4, 2 / 3)
            for name, size, rank, density in SHAPES_ALONE
        ),
        ToyPart(LINEAR, ToyModel(20, 5, "linear"), _SWEEP_DENSITIES, 0.7, 0.25, tests=4),
    )


def job(part: ToyPart, settings: SuperpositionSettings, file: str) -> Job:
    """The part as a call in another process."""
    n_seeds = max(_FEWEST_SEEDS, round(settings.n_seeds * part.seeds))
    training = ToyTraining(
        n_steps=max(1, round(settings.n_steps * part.steps)),
        batch_size=settings.batch_size * part.batch,
        learning_rate=settings.learning_rate,
        n_test=_N_TEST * part.tests,
    )
    asked = {
        "model": dataclasses.asdict(part.model),
        "densities": list(part.densities),
        "importances": part.importances,
        "seeds": list(range(settings.seed, settings.seed + n_seeds)),
        "training": dataclasses.asdict(training),
        "device": settings.device,
        "file": file,
    }
    return Job(part.name, f"{__name__}:train_part", asked)


def n_instances(jobs: Sequence[Job]) -> int:
    """Models in all."""
    count = 0
    for one in jobs:
        asked = one.arguments
        rows = 1 if isinstance(asked["importances"], float) else len(asked["importances"])
        count += rows * len(asked["densities"]) * len(asked["seeds"])
    return count


def train_part(asked: Mapping[str, Any], told: Callable[[float], None]) -> None:
    """Train one grid of instances into a file.

    Args:
        asked: the arguments of `train_toys`, and the file to write.
        told: told the share that is done.
    """
    found = train_toys(
        ToyModel(**asked["model"]),
        asked["densities"],
        asked["importances"],
        asked["seeds"],
        ToyTraining(**asked["training"]),
        device=asked["device"],
        progress=told,
    )
    found.save(asked["file"])
