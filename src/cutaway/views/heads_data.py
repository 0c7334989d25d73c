"""What the report of `cutaway heads` shows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..heads.head_classes import Taxonomy
from .attention import AttentionExample


@dataclass(frozen=True, eq=False)
class HeadsReportData:
    """The heads of a model, and a few patterns to look at."""

    taxonomy: Taxonomy
    examples: tuple[AttentionExample, ...]
    """Patterns of the heads below, on random prompts."""
    shown: tuple[tuple[str, str], ...]
    """(head, class) in the order of the examples' patterns: the first of each class."""
    no_roles: str = ""
    """Why there are no roles of the task, in a sentence; empty where there are."""
    settings: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def highest(self, name: str) -> tuple[str, float]:
        """(head, score) of the head with the highest score."""
        value = self.taxonomy.intervals[name][0]
        layer, head = np.unravel_index(int(value.argmax()), value.shape)
        return f"{layer}.{head}", float(value.max())

    def highest_random(self, name: str, weights: str) -> float:
        """The highest score of any head of the random-weight models."""
        return float(self.taxonomy.control[weights].mean[name].max())
