"""What can be chosen about circuits: the options of four commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ..task_settings import TaskSettings

OF_METHOD = (
    "threshold",
    "mode",
    "tau",
    "criterion",
    "steps",
    "between",
    "learning_rate",
    "price",
)
"""Settings that not every method has, or that have another default in each."""


@dataclass(frozen=True)
class DiscoverSettings(TaskSettings):
    """Look for the circuit of a task, by one method."""

    command: ClassVar[str] = "circuit-discover"

    method: str = "exact-edges"
    """exact-edges, exact-nodes, acdc, eap, eap-ig, edge-masks, random."""
    n_edges: int | None = None
    """How many edges; without it and without --threshold,
    every edge with a score of at least 0.02 (acdc: its own choice)."""
    threshold: float | None = None
    """The smallest score that stays, of either sign."""
    mode: Literal["noising", "denoising"] | None = None
    """Of methods that patch or estimate patching: noising if not given."""
    tau: float | None = None
    """Of acdc: an edge goes if the run moves by less than this share (0.02)."""
    criterion: Literal["distance", "drop"] | None = None
    """Of acdc: how far from the whole model, or how much lower."""
    steps: int | None = None
    """Of eap-ig: runs between the two; of edge-masks: updates."""
    between: Literal["eap-ig-inputs", "eap-ig-activations", "clean-corrupted"] | None = None
    """Of eap-ig: what lies between."""
    learning_rate: float | None = None
    """Of edge-masks: of Adam (0.1)."""
    price: float | None = None
    """Of edge-masks: what all edges together cost."""
    n_random: int = 20
    """Random circuits that it is run beside."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_control(self.n_random)


@dataclass(frozen=True)
class EvaluateSettings:
    """Run a circuit alone, on prompts it was not found on: is it faithful, complete, minimal?"""

    command: ClassVar[str] = "circuit-evaluate"

    circuit: str
    """A circuit.json, a run folder, the beginning of a run's id,
    or "latest": the last run that holds a circuit."""
    model: str = ""
    """An embedded model, a folder, or a name on the Hub; empty: the one it was found in."""
    task: str = ""
    """As in `cutaway circuit discover`; empty: the one it was found on."""
    n_prompts: int | None = None
    """Prompt pairs; None means 64 of a task by name, and all of a file
    that the search has not seen."""
    corruption: str | None = None
    """Of a task by name; None means its own default."""
    seed: int = 1
    """Of the prompts, of the random circuits and of the intervals."""
    outside: Literal["patch", "zero", "mean", "resample"] = "patch"
    """What stands in outside the circuit."""
    level: Literal["edges", "nodes"] = "edges"
    """Whether its edges carry this run's values, or all edges between its nodes."""
    positions: bool = True
    """Hold a circuit that names positions to them."""
    minimal: Literal["nodes", "edges"] = "nodes"
    """What minimality takes out."""
    n_random: int = 20
    """Random circuits of the same size beside every number."""
    tests: bool = False
    """The hypothesis tests too."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    max_memory_gib: float | None = None
    """Memory that may be used beside the weights; None means a quarter of what is free."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in, and in which runs are looked for."""

    def __post_init__(self) -> None:
        _check_control(self.n_random)


@dataclass(frozen=True)
class CompareSettings:
    """A circuit beside another one, or beside a published one."""

    command: ClassVar[str] = "circuit-compare"

    first: str
    """A circuit.json, a run folder, the beginning of a run's id,
    or "latest": the last run that holds a circuit."""
    second: str
    """The same, or a published circuit: ioi, greater-than, docstring, induction."""
    n_random: int = 20
    """Pairs of random circuits of the same sizes."""
    seed: int = 0
    """Of the random circuits."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in, and in which runs are looked for."""

    def __post_init__(self) -> None:
        _check_control(self.n_random)


@dataclass(frozen=True)
class DrawSettings:
    """Draw a circuit."""

    circuit: str
    """A circuit.json, a run folder, the beginning of a run's id,
    or "latest": the last run that holds a circuit."""
    out: Path = Path("circuit.html")
    """The file: .html to walk through, .svg to print."""
    most: int = 300
    """How many edges are drawn at most: the strongest."""
    root: Path = Path("runs")
    """The folder in which runs are looked for."""


def _check_control(n_random: int) -> None:
    if n_random < 1:
        raise ValueError(f"n_random={n_random} random circuits are no control: give at least 1.")
