"""What can be chosen about the superposition study: the options of `cutaway run superposition`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..checks import check_device

_QUICK = {"n_seeds": 4, "n_steps": 1000, "n_cells": 7, "n_rotations": 5}


@dataclass(frozen=True)
class SuperpositionSettings:
    """Train toy models of superposition, and measure their geometry."""

    command: ClassVar[str] = "superposition"

    n_seeds: int = 16
    """Instances of each setting; larger models get
    fewer, the smallest more."""
    n_steps: int = 3000
    """Optimiser steps; some parts take more or fewer."""
    batch_size: int = 256
    """Samples in every step."""
    learning_rate: float = 0.01
    """Of Adam, for half of the steps; then down to 0."""
    n_cells: int = 15
    """Importances and densities of the phases."""
    n_rotations: int = 20
    """Random rotations of every hidden space."""
    processes: int | None = None
    """At a time, one thread each; left out: one for each core."""
    quick: bool = False
    """A small version: 4 seeds, 1,000 steps, 7 x 7 cells.
    What is given beside it stays as given."""
    device: str = "cpu"
    """Where the models are: cpu, cuda, or mps."""
    seed: int = 0
    """Of the first instance, and of controls."""
    out: Path = Path("runs")
    """The folder of the run's own folder."""

    def __post_init__(self) -> None:
        if self.quick:
            for field in dataclasses.fields(self):
                if field.name in _QUICK and getattr(self, field.name) == field.default:
                    object.__setattr__(self, field.name, _QUICK[field.name])
        for name, least in (
            ("n_seeds", 2),
            ("n_steps", 100),
            ("batch_size", 16),
            ("n_cells", 3),
            ("n_rotations", 2),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {least}.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate} is not positive.")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative.")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes={self.processes} is too few: at least 1.")
        check_device(self.device)
