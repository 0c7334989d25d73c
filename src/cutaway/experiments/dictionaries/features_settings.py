"""What can be chosen about a dictionary's features: the options of `cutaway sae features`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from ..checks import check_device, check_least, check_memory, in_bytes


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
        check_least(self, least)
        check_device(self.device)
        check_memory(self.max_memory_gib)

    @property
    def max_memory(self) -> int | None:
        """`max_memory_gib` in bytes."""
        return in_bytes(self.max_memory_gib)
