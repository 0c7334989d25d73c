"""What the study `circuit` found: all that its report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float

from ..circuits.circuit import Circuit
from ..circuits.compare import CircuitComparison
from ..circuits.evaluation import Curve, Evaluation, Faithfulness, Stability
from ..circuits.hypothesis_tests import HypothesisTests
from ..circuits.scrubbing import Scrubbing
from ..evidence import Interval
from ..findings import Expectation
from ..tasks.task import Baseline
from .ioi_data import PromptPair
from .measurement_data import Floats, Measured


@dataclass(frozen=True, eq=False)
class Agreement:
    """How alike the circuits of several methods are: each square is [method, method]."""

    methods: tuple[str, ...]
    edges: Float[Floats, "method method"]
    """Jaccard index of edges."""
    nodes: Float[Floats, "method method"]
    """Jaccard index of nodes."""
    scores: Float[Floats, "method method"]
    """Rank correlation of the sizes of all edges' scores."""
    random_edges: float
    """Mean Jaccard index of edges of random circuits of the same size."""
    random_nodes: float


@dataclass(frozen=True)
class MethodRow:
    """One method: its circuit, what it cost, what its circuit does alone."""

    circuit: Circuit
    seconds: float
    faithfulness: Interval
    """Of its circuit, on prompts that it was not found on."""
    curve: Curve


@dataclass(frozen=True)
class HeadRow:
    """One head of the circuit."""

    name: str
    effect: Interval
    """What the answer loses if its output is the corrupted prompt's, all else clean."""
    looks_at: Mapping[str, float]
    """Mean attention from END, by place; empty for tasks whose places are not those of IOI."""
    role: str
    """By its attention and its direct effect; empty where nothing fits."""
    published: str = ""
    """Its class in the paper, where the model is the paper's."""


@dataclass(frozen=True)
class Choice:
    """The same circuit run alone in another way."""

    level: str
    outside: str
    faithfulness: Faithfulness


@dataclass(frozen=True)
class BackupPair:
    """Two heads and what both do beyond the sum of each."""

    first: str
    second: str
    interaction: Interval


@dataclass(frozen=True)
class CircuitStory:
    """Everything that the study measured."""

    model: str
    task: str
    baseline: Baseline
    """On the prompts that the circuits are tested on."""
    prompts: tuple[str, ...]
    example: PromptPair
    methods: tuple[MethodRow, ...]
    agreement: Agreement
    evaluation: Evaluation
    """Of the first method's circuit."""
    choices: tuple[Choice, ...]
    tests: HypothesisTests
    heads: tuple[HeadRow, ...]
    """The strongest first."""
    paths: Measured
    """Who feeds whom: [sender, receiver]."""
    pairs: tuple[BackupPair, ...]
    """Every pair of heads, the largest interaction first."""
    stability: tuple[Stability, ...]
    scrubbed: Scrubbing | None = None
    """The route as a hypothesis; None where none is written for this model and task."""
    published: CircuitComparison | None = None
    """Where the model is one that a paper has taken apart."""
    expectations: tuple[Expectation, ...] = ()
    """The textbook's story, graded."""
    settings: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def circuit(self) -> Circuit:
        """The circuit that is tested."""
        return self.evaluation.circuit

    @property
    def best(self) -> MethodRow:
        """The method whose curve is nearest to the whole model's."""
        return min(self.methods, key=lambda one: one.curve.cmd.estimate)
