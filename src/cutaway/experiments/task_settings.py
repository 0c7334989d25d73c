"""What commands ask for that run a model on a task: model, prompts, memory, where to save."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .checks import check_device, check_memory, in_bytes


@dataclass(frozen=True)
class TaskSettings:
    """What every command asks for that runs a model on a task."""

    command: ClassVar[str]
    """Its word on the command line, which is also the study that its runs are listed under."""

    model: str = "ioi-mini"
    """An embedded model, a folder, or a name on the Hugging Face Hub such as gpt2."""
    task: str = "ioi"
    """ioi, greater-than, docstring, gendered-pronoun, repeated-tokens,
    country-capital, subject-verb-agreement;
    or a JSONL file of prompt pairs (docs/quickstart.md says how to write one)."""
    n_prompts: int | None = None
    """Prompt pairs; None means 64 of a task by name, and all of a file."""
    corruption: str | None = None
    """Of a task by name: how the corrupted prompts differ from the clean ones
    (docs/methods/tasks.md lists them); None means the task's own default, of ioi s2-flip."""
    seed: int = 0
    """Of the prompts of a task by name, of resampled values and of the intervals."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    max_memory_gib: float | None = None
    """Memory that may be used beside the weights; None means a quarter of what is free."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        if self.n_prompts is not None and self.n_prompts < 2:
            raise ValueError(f"n_prompts={self.n_prompts} is too few: at least 2.")
        check_device(self.device)
        check_memory(self.max_memory_gib)

    @property
    def max_memory(self) -> int | None:
        """`max_memory_gib` in bytes."""
        return in_bytes(self.max_memory_gib)
