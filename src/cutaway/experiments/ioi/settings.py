"""What can be chosen about the IOI study. These fields are the options of `cutaway run ioi`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..checks import check_device, check_least, in_bytes


@dataclass(frozen=True)
class IOISettings:
    """Indirect object identification: find the heads that do it, and check them."""

    model: str = "ioi-mini"
    """An embedded model, a folder, or a name on the Hugging Face Hub such as gpt2."""
    n_prompts: int = 64
    """Prompt pairs; intervals come from resampling them."""
    corruption: Literal["s2-flip", "swap", "abc", "random-name"] = "s2-flip"
    """How the corrupted prompts differ from the clean ones."""
    seed: int = 0
    """Of the prompts, of the random heads and of the resampling."""
    n_heads: int = 5
    """How many of the top heads are taken out together."""
    n_random: int = 100
    """How many random sets of as many heads they are compared with."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    max_memory_gib: float | None = None
    """Memory that sweeps may use; None means a quarter of what is free."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        least = {"n_prompts": 2, "n_heads": 1, "n_random": 1}
        check_least(self, least)
        check_device(self.device)

    @property
    def max_memory(self) -> int | None:
        """`max_memory_gib` in bytes."""
        return in_bytes(self.max_memory_gib)
