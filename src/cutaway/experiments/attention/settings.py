"""What can be chosen about looking at attention: the options of `cutaway attention`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from ..checks import check_device

_HEAD = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class AttentionSettings:
    """See where the heads of a model look on a text, and how surprising each token is to it."""

    command: ClassVar[str] = "attention"

    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")] = ""
    """In quotes; left out where --task is given."""
    model: str = "ioi-mini"
    """An embedded model, a folder, or a name on the Hugging Face Hub such as gpt2."""
    layers: tuple[int, ...] = ()
    """Which layers; none given means all."""
    heads: tuple[str, ...] = ()
    """Which heads, as layer.head: 3.6 1.2; none given means all."""
    task: str = ""
    """Instead of a text: a task by name, such as ioi,
    or a JSONL file of prompt pairs."""
    n_prompts: int = 4
    """Of a task: how many of its clean prompts."""
    corruption: str | None = None
    """Of a task by name; it can change which prompts there are."""
    seed: int = 0
    """Of the prompts of a task by name."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        if self.text and self.task:
            raise ValueError("there is a text and a --task: give one of the two.")
        if not self.text.strip() and not self.task:
            raise ValueError(
                'there is no text to look at: give one, as in `cutaway attention "When Mary and '
                'John"`, or the prompts of a task with --task.'
            )
        if self.layers and self.heads:
            raise ValueError("there are --layers and --heads: give one of the two.")
        bad = [name for name in self.heads if not _HEAD.fullmatch(name)]
        if bad:
            raise ValueError(f"{bad[0]!r} is no head: write layer.head, such as 3.6.")
        if self.n_prompts < 2:
            raise ValueError(f"n_prompts={self.n_prompts} is too few: at least 2.")
        check_device(self.device)
