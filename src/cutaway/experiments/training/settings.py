"""What can be chosen about a training run: the options of `cutaway train`. Loads without torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ...training.config import TrainConfig
from ...training.settings import NumberFormat
from ..checks import check_device


@dataclass(frozen=True)
class TrainCommandSettings:
    """Train a model from nothing, or go on where a run was stopped.

    Options that are left out are as the configuration says.
    """

    config: str
    """One of glitch-mini, ioi-2l, ioi-mini, induction-2l,
    repeated-tokens, shakespeare-char, shakespeare-small; or a TOML
    file of your own (docs/training.md)."""
    out: Path | None = None
    """The folder of this run; left out: runs/CONFIG. A run that was
    stopped goes on from there."""
    data: Path | None = None
    """A text file to train on, instead of the configuration's."""
    device: str = "cpu"
    """Where the model is: cpu, cuda, or mps. With torchrun, cuda is
    a GPU of its own for each process."""
    seed: int | None = None
    """Of the fresh weights and of the data."""
    n_steps: int | None = None
    """Optimiser steps."""
    batch_size: int | None = None
    """Sequences per step, over all processes."""
    accumulate: int | None = None
    """Parts that a step's sequences are run in, to save memory."""
    learning_rate: float | None = None
    """At its peak, after the warm-up."""
    warmup_steps: int | None = None
    """Steps until the peak."""
    dropout: float | None = None
    """Share of values that are zero in a training step."""
    number_format: NumberFormat | None = None
    """bfloat16 rounds the inputs of matrix products."""
    compile: bool | None = None
    """Let torch.compile make kernels first."""
    n_layers: int | None = None
    """Blocks of the model."""
    n_heads: int | None = None
    """Heads of each block."""
    d_model: int | None = None
    """Width of the residual stream."""
    n_ctx: int | None = None
    """Longest sequence, in tokens."""
    checkpoint_every: int | None = None
    """Steps between states that the run can go on from."""
    log_spaced: int | None = None
    """Models that are kept at log-spaced steps."""
    model_every: int | None = None
    """A model is kept every so many steps; 0 is never."""

    def __post_init__(self) -> None:
        check_device(self.device)

    def configuration(self) -> TrainConfig:
        """The configuration with the options in place.

        Raises:
            ValueError: there is none of that name, or values that do not fit.
        """
        own = ("config", "out", "data", "device")
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in own and getattr(self, field.name) is not None
        }
        if self.data is not None:
            given["file"] = str(self.data)
        return TrainConfig.find(self.config).replace(**given)

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.out if self.out is not None else Path("runs") / Path(self.config).stem
