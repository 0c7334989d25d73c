"""What can be chosen about a training run. Loads without torch: these are command-line options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class TrainSettings:
    """How to train. The defaults suit models of about a million parameters."""

    n_steps: int = 6000
    """Optimiser steps."""
    batch_size: int = 64
    """Sequences per step."""
    learning_rate: float = 2e-3
    """Peak learning rate, reached after the warm-up; falls along a cosine to a tenth of it."""
    warmup_steps: int = 200
    """Steps of linear warm-up."""
    weight_decay: float = 0.1
    """Decay of matrices; biases and norm weights are not decayed."""
    beta1: float = 0.9
    """AdamW's first moment."""
    beta2: float = 0.98
    """AdamW's second moment."""
    gradient_clip: float = 1.0
    """Largest norm of the whole gradient."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Of the fresh weights and of the data."""


@dataclass(frozen=True)
class IOIMiniSettings:
    """Train the embedded model ioi-mini again, from nothing."""

    out: Path = Path("runs/ioi-mini")
    """The folder that the model is saved in; a run that was stopped goes on from there."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """How to train; the defaults are the recipe of the model that is shipped."""
