"""What can be chosen about glitch tokens: the options of `cutaway glitch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..checks import check_device, check_least


@dataclass(frozen=True)
class GlitchSettings:
    """Find tokens that were hardly trained, verify them, and trace one.

    Indicators come from the weights, verification from prompts that ask
    for a token again (docs/methods/glitch-tokens.md).
    """

    command: ClassVar[str] = "glitch"

    model: str = "glitch-mini"
    """An embedded model, a folder, or a name on the Hugging Face Hub
    such as gpt2."""
    unused: tuple[int, ...] | None = None
    """Ids of tokens that are known to be unused; None finds those
    that the tokenizer tells."""
    n_verified: int = 1000
    """Suspects that are asked for, the most suspicious first."""
    n_ordinary: int = 100
    """Ordinary tokens that are asked for as well, the control."""
    token: int | None = None
    """The token that is traced; None takes the most suspicious one
    that could not be repeated."""
    n_traced: int = 20
    """Ordinary tokens that it is traced beside."""
    n_prompts: int = 16
    """Sequences that it is traced in."""
    seed: int = 0
    """Of ordinary tokens, prompts and splits."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        least = {"n_verified": 1, "n_ordinary": 2, "n_traced": 5, "n_prompts": 2}
        check_least(self, least)
        check_device(self.device)
