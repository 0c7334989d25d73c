"""What can be chosen about lenses: the options of `cutaway lens`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..task_settings import TaskSettings


@dataclass(frozen=True)
class LensSettings(TaskSettings):
    """Read what each layer would predict, if the model stopped there."""

    command: ClassVar[str] = "lens"

    task: str = ""
    """A task by name, whose clean prompts are read at END,
    or a JSONL file of prompt pairs (docs/quickstart.md);
    none given: what the model was made for, of others ioi."""
    text: str | None = None
    """Instead of a task: a text, read at every position."""
    mid: bool = False
    """Also between attention and MLP of every layer."""
    top: int = 5
    """Tokens that a cell of the grid lists."""
    n_shown: int = 2
    """Prompts of a task that have a grid of their own."""
    tuned: str = ""
    """train: train a tuned lens as well, and save it;
    or the lens.safetensors of an earlier run, to load it."""
    data: Path | None = None
    """Text file that a tuned lens is trained and tested on;
    embedded models have a corpus of their own."""
    steps: int = 300
    """Of training a tuned lens."""
    inputs: bool = False
    """Compare kinds of input (embedded models):
    what was memorised, what repeats, what is new."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text is not None and self.task:
            raise ValueError("there is a --text and a --task: give one of the two.")
        if self.text is not None and not self.text.strip():
            raise ValueError("the --text is empty: give some words, or leave it out.")
        for name, least in (("top", 1), ("n_shown", 1), ("steps", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {least}.")
        if self.data is not None and self.tuned != "train":
            raise ValueError("--data is the text to train a lens on: give --tuned train as well.")
