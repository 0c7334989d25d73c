"""What can be chosen about heads: the options of `cutaway heads` and `cutaway calibrate heads`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..checks import check_device, check_least, check_memory, in_bytes


@dataclass(frozen=True)
class HeadsSettings:
    """What every head of a model attends to and does, beside random weights."""

    command: ClassVar[str] = "heads"

    model: str = "induction-2l"
    """An embedded model, a folder, or a name on the Hugging Face Hub such as gpt2."""
    n_prompts: int = 32
    """Random prompts of each kind; intervals come from resampling them."""
    half_length: int | None = None
    """T of the repeated prompts [BOS, r, r]; None takes what fits, at most 25."""
    n_random: int = 3
    """Models of the same shape with random weights, of each of two kinds."""
    task: str = "auto"
    """ioi: look for name movers, S-inhibition and backup heads;
    none: do not; auto: if the model knows the words."""
    n_task_prompts: int = 64
    """Prompt pairs of the task."""
    copying_draws: int = 500
    """Random heads that copying scores are held against; 0 leaves them out."""
    seed: int = 0
    """Of prompts, random weights and intervals."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    max_memory_gib: float | None = None
    """Memory that path patching may use; None means a quarter of what is free."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        least = {"n_prompts": 2, "n_random": 1, "n_task_prompts": 2, "copying_draws": 0}
        check_least(self, least)
        if self.task not in ("auto", "ioi", "none"):
            raise ValueError(f"task={self.task!r} is none of auto, ioi and none.")
        check_device(self.device)
        check_memory(self.max_memory_gib)

    @property
    def max_memory(self) -> int | None:
        """`max_memory_gib` in bytes."""
        return in_bytes(self.max_memory_gib)


@dataclass(frozen=True)
class CalibrateHeadsSettings:
    """Set the thresholds that heads are named by, on models whose heads are known."""

    seeds: int = 6
    """Bases of each hand-written model, and random models of each
    kind, that thresholds are set on; as many more are counted on."""
    sharpness: tuple[float, ...] = (30.0, 3.0)
    """Of the hand-written models (docs/methods/known-models.md)."""
    n_prompts: int = 32
    """Random prompts of each kind."""
    out: Path = Path("head_thresholds.json")
    """The file that is written."""

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("n_prompts", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {least}.")
        if not self.sharpness or min(self.sharpness) < 2:
            raise ValueError(
                f"sharpness={' '.join(f'{one:g}' for one in self.sharpness)!r}: give at least one, "
                "none below 2, where the known models no longer solve all of their tasks."
            )
