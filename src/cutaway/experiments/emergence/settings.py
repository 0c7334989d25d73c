"""What can be chosen about the emergence study: the options of `cutaway run emergence`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...training.config import TrainConfig
from ..checks import check_device

_QUICK = {
    "n_seeds": 2,
    "n_steps": 400,
    "n_checkpoints": 24,
    "n_prompts": 64,
    "n_probed": 400,
    "contexts": (32,),
    "batches": (32, 64),
    "widths": (64,),
    "n_sweep_seeds": 1,
}


@dataclass(frozen=True)
class EmergenceSettings:
    """Train some seeds of a small model, and measure them all along the way."""

    command: ClassVar[str] = "emergence"

    config: str = "ioi-2l"
    """What is trained: ioi-2l, or a TOML file whose data
    are name-pairs (A ... B ... A -> B)."""
    n_seeds: int = 6
    """Models that are trained; with fewer than 6 no order of
    events can be told from chance."""
    n_steps: int | None = None
    """Optimiser steps; left out: as the configuration says."""
    n_checkpoints: int = 40
    """Steps that are measured, evenly spaced on a log scale."""
    n_prompts: int = 200
    """Prompts A ... B ... A of each measurement."""
    n_probed: int = 1000
    """Prompts that probes are fitted and tested on."""
    contexts: tuple[int, ...] = (24, 32, 48)
    """Context lengths of the sweep."""
    batches: tuple[int, ...] = (16, 32, 64)
    """Batch sizes of the sweep, crossed with the contexts."""
    widths: tuple[int, ...] = (32, 64, 128)
    """Widths of the model, at the configuration's context and batch."""
    n_sweep_seeds: int = 3
    """Models of each cell of the sweep; 0 leaves the sweep out."""
    processes: int | None = None
    """At a time, one thread each; left out: one for each core."""
    quick: bool = False
    """A small version: 2 seeds, 400 steps, a sweep of 2 cells.
    What is given beside it stays as given."""
    device: str = "cpu"
    """Where the models are: cpu, cuda, or mps."""
    seed: int = 0
    """Of the first model; of prompts, intervals and controls."""
    out: Path = Path("runs")
    """The folder of the run's own folder, and of one with the models,
    from which a stopped run goes on."""

    def __post_init__(self) -> None:
        if self.quick:
            for field in dataclasses.fields(self):
                if field.name in _QUICK and getattr(self, field.name) == field.default:
                    object.__setattr__(self, field.name, _QUICK[field.name])
        for name, least in (
            ("n_seeds", 2),
            ("n_checkpoints", 12),
            ("n_prompts", 16),
            ("n_probed", 200),
            ("n_sweep_seeds", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {least}.")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes={self.processes} is too few: at least 1.")
        check_device(self.device)
        for name in ("contexts", "batches", "widths"):
            values = getattr(self, name)
            if not values or min(values) < 1 or len(set(values)) < len(values):
                raise ValueError(f"{name}={values} must be different positive numbers.")

    def configuration(self) -> TrainConfig:
        """What every seed trains, but for its seed.

        Raises:
            ValueError: there is none of that name, or its data are not name-pairs.
        """
        config = TrainConfig.find(self.config)
        if config.data.kind != "name-pairs":
            raise ValueError(
                f"config={self.config!r} trains on {config.data.kind}; this study measures how "
                "A ... B ... A -> B is learned, so that the data must be name-pairs."
            )
        if config.model_config(d_vocab=2).n_layers < 2:
            raise ValueError(
                f"config={self.config!r} has one layer: induction takes two heads, one after the "
                "other."
            )
        n_steps = self.n_steps or config.train.n_steps
        return config.replace(
            n_steps=n_steps, log_spaced=self.n_checkpoints, model_every=0, evaluate_every=n_steps
        )
