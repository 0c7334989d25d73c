"""What can be chosen about probes: the options of `cutaway probe`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ..task_settings import TaskSettings


@dataclass(frozen=True)
class ProbeStudySettings(TaskSettings):
    """Read a label from activations by linear probes, and erase it."""

    command: ClassVar[str] = "probe"

    label: str = "answer"
    """answer, wrong, order, group, clean,
    token:POSITION or duplicate:POSITION (docs/methods/probes.md)."""
    texts: Path | None = None
    """Instead of a task: JSONL of texts with their labels."""
    names: tuple[str, ...] = ()
    """Of ioi: only these names, so that there are fewer classes."""
    n_prompts: int | None = None
    """Prompt pairs; None means 1024 of a task by name,
    and all of a file."""
    groups: Literal["pair", "group", "answer", "prompt"] = "pair"
    """What train and test do not share: a pair of answers,
    a template, an answer, or nothing but the prompt."""
    site: str = "resid_post"
    """resid_pre, resid_mid, resid_post, attn_out, mlp_out,
    or z (every head)."""
    layers: tuple[int, ...] = ()
    """Which layers; none given means all."""
    positions: tuple[str, ...] = ()
    """Names or token indices (-1: the last token), or each;
    none given: all names."""
    method: Literal["auto", "logistic", "ridge", "gradient"] = "auto"
    """auto: logistic for up to 10 classes, else ridge;
    gradient: by Adam, stopped early on validation prompts."""
    penalties: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Of which each place takes what validation prefers."""
    n_controls: int = 3
    """Control tasks: labels dealt out by word."""
    n_shuffles: int = 3
    """Fits with shuffled labels."""
    n_random_models: int = 1
    """Models of the same shape with random weights."""
    n_erased: int = 5
    """Random subspaces erased beside the label;
    0 leaves erasure out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_erased < 0:
            raise ValueError(f"n_erased={self.n_erased} is negative.")
        if self.names and self.task != "ioi":
            raise ValueError(f"--names is of the task ioi; the task is {self.task}.")
        if self.texts is not None and (self.label != "answer" or self.names):
            raise ValueError("--texts has labels of its own: leave --label and --names out.")
