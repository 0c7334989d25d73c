"""What the report of `cutaway run sae` is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..attribution.agreement import Agreement
from ..patching.effects import Effects
from ..sae.evaluation import Evaluation
from ..sae.feature_circuits import FeatureCircuit
from ..sae.rules import Rule
from ..tasks.task import Baseline


@dataclass(frozen=True, eq=False)
class CircuitOfLayer:
    """Which features of one layer's stream carry the answer."""

    noising: Effects
    """Exact, each feature at each named position, on the prompts that the circuit is chosen on."""
    denoising: Effects
    circuit: FeatureCircuit
    """On other prompts."""
    by_gradient: FeatureCircuit
    """The same, with nodes in the order of their estimates."""
    agreements: Mapping[str, Agreement]
    """Estimates beside the exact noising effects, by where the gradient is taken."""
    seconds: Mapping[str, float]
    """Of the exact sweep, and of each estimate."""


@dataclass(frozen=True, eq=False)
class LayerOfStudy:
    """One dictionary."""

    layer: int
    found: Evaluation
    rules: Sequence[Rule | None]
    n_alive: int
    """Features that fire on the text that they are read on."""
    promoted: Sequence[str]
    """Of every feature: the tokens whose logits it raises most by itself."""
    page: str
    """File of the page of its features, beside the report."""
    carried: CircuitOfLayer | None = None

    def says(self, feature: int, words: Sequence[str]) -> str:
        """When a feature fires, by its rule."""
        rule = self.rules[feature]
        return "–" if rule is None else rule.text(words)


@dataclass(frozen=True, eq=False)
class SaeStudyData:
    """Everything on the page."""

    model: str
    text: str
    layers: Sequence[LayerOfStudy]
    words: Sequence[str]
    """The text of every token."""
    main: int
    """Which of `layers` is looked at closely."""
    task: str = ""
    baseline: Baseline | None = None
    n_fit: int = 0
    """Prompts that circuits are chosen on."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def middle(self) -> LayerOfStudy:
        """The one that is looked at closely."""
        return self.layers[self.main]
