"""What can be chosen about a dictionary's features: the options of `cutaway sae features`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro


@dataclass(frozen=True)
class FeaturesSettings:
    """Every feature of a dictionary: where it fires, what it writes, what rule describes it."""

    command: ClassVar[str] = "sae-features"

    dictionary: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DICTIONARY")]
    """The name of an embedded dictionary, or the folder of one
    (ours, SAELens', or sparsify's)."""
    model: str = ""
    """Its model; left out: the one that the dictionary names."""
    hook: str = ""
    """Where it stands; left out: where the dictionary says."""
    data: Path | None = None
    """A text file; left out: the training text of an embedded model."""
    n_sequences: int = 400
    """Sequences that examples are taken from and rules chosen on;
    as many others are what the rules are counted on."""
    n_top: int = 10
    """Strongest places that are shown of each feature."""
    n_per_band: int = 3
    """Places drawn from each quarter of its values."""
    task: str = "auto"
    """A task (ioi, ...) on which each feature is taken out;
    none: do not; auto: ioi, if the model can do it."""
    n_prompts: int = 64
    """Prompts of the task."""
    seed: int = 0
    """Of the text, of draws and intervals."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    max_memory_gib: float | None = None
    """Memory that the task's runs may use; None: a quarter of what is free."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        least = {"n_sequences": 2, "n_top": 1, "n_per_band": 0, "n_prompts": 2}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {minimum}.")
        if self.device.split(":")[0] not in ("cpu", "cuda", "mps"):
            raise ValueError(f"device={self.device!r} is none of cpu, cuda and mps.")
        if self.max_memory_gib is not None and not self.max_memory_gib > 0:
            raise ValueError(f"max_memory_gib={self.max_memory_gib} is not positive.")

    @property
    def max_memory(self) -> int | None:
        """`max_memory_gib` in bytes."""
        return None if self.max_memory_gib is None else int(self.max_memory_gib * 2**30)
