"""What can be chosen about the circuit study: the options of `cutaway run circuit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..checks import check_least
from ..task_settings import TaskSettings

METHODS = ("exact-edges", "acdc", "eap", "eap-ig", "exact-nodes", "edge-masks")


@dataclass(frozen=True)
class CircuitStudySettings(TaskSettings):
    """Find a circuit by several methods, test the exact one, and tell its story."""

    command: ClassVar[str] = "circuit"

    methods: tuple[str, ...] = METHODS
    """The methods that look for it; the first one's circuit is the one that is tested."""
    n_edges: int = 40
    """The size of the circuits."""
    tau: float = 0.01
    """Of ACDC: an edge goes if the run moves by less than this share."""
    n_random: int = 20
    """Random circuits beside every number."""
    n_tasks: int = 5
    """Draws of prompts, by seed, over which the search is repeated for its stability."""
    n_heads: int = 12
    """Heads that are looked at one by one and in pairs, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"n_edges": 2, "n_random": 1, "n_tasks": 2, "n_heads": 2}
        check_least(self, least)
        if len(self.methods) < 2 or len(set(self.methods)) < len(self.methods):
            raise ValueError(
                f"methods={' '.join(self.methods)}: give at least two, each once, so that they can "
                "be compared."
            )
