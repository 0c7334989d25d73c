"""What can be chosen about a training run. Loads without torch: these are command-line options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

NumberFormat = Literal["float32", "bfloat16"]


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
    final_share: float = 0.1
    """The learning rate of the last step, as a share of the peak."""
    accumulate: int = 1
    """Parts that a step's sequences are run in, one after the other, to save memory."""
    dropout: float = 0.0
    """Share of the values that each part writes and of each pattern's weights
    that are zero in a step; only while training."""
    number_format: NumberFormat = "float32"
    """bfloat16 rounds the inputs of matrix products; weights and sums stay in float32."""
    compile: bool = False
    """Let torch.compile write kernels for the model first; needs a C++ compiler."""
    fused: bool = True
    """Update all weights in one kernel; the same AdamW up to rounding."""

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "checkpoint_every", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least 1.")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps={self.warmup_steps} is negative; 0 is none.")
        for name in ("learning_rate", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} is not positive.")
        for name, low, high in (
            ("weight_decay", 0.0, math.inf),
            ("final_share", 0.0, 1.0),
            ("dropout", 0.0, 0.99),
            ("beta1", 0.0, 0.9999),
            ("beta2", 0.0, 0.999999),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)} is not from {low:g} to {high:g}.")
        if self.number_format not in get_args(NumberFormat):
            known = " or ".join(get_args(NumberFormat))
            raise ValueError(f"number_format={self.number_format!r} is unknown; it is {known}.")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size={self.batch_size} does not divide into accumulate={self.accumulate} "
                "equal parts: choose another of the two."
            )
        if self.compile and self.dropout:
            raise ValueError(
                f"dropout={self.dropout} works by hooks, which compile=True would cut the model "
                "at: choose one of the two."
            )
