"""What one direct attribution found, and all that its report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..attribution.components import Component
from ..attribution.contributions import Contribution
from ..attribution.direct import DirectAttribution
from ..attribution.gap import DirectGap
from ..attribution.sources import SourceAttribution
from ..evidence import LEAST_EFFECT, Interval, bootstrap_mean
from ..tasks.task import Baseline
from .ioi_data import PromptPair

Floats = NDArray[np.floating]
N_LARGEST = 50
_MOST_SOURCE_HEADS = 8
_BIASES = "all biases"


@dataclass(frozen=True, eq=False)
class DirectReportData:
    """Everything on the page of one direct attribution."""

    model: str
    """The model's name."""
    task: str
    """The task's name."""
    direct: DirectAttribution
    """What came out, [component, prompt]."""
    baseline: Baseline
    """The metric of the clean prompts."""
    prompts: tuple[str, ...]
    """[prompt], the clean prompts as text."""
    example: PromptPair
    """A pair to look at."""
    sources: SourceAttribution | None = None
    """From which tokens heads move it, if that was asked for."""
    gap: DirectGap | None = None
    """Beside what is lost without each head, if that was asked for."""
    seed: int = 0
    """Of the intervals."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What is needed to repeat the run."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each step."""

    @cached_property
    def total(self) -> Interval:
        """The answer, by the model's own logits."""
        return bootstrap_mean(self.direct.total, self.seed)

    @property
    def largest_error(self) -> float:
        """By how much the sum over components misses the answer of a prompt at most."""
        return float(np.abs(self.direct.residual_error).max())

    @cached_property
    def largest(self) -> list[Contribution]:
        """The components with the largest means: all that may matter, and at least 50."""
        n = int((np.abs(self.direct.mean()) > self._least).sum())
        return self.direct.top(max(n, N_LARGEST), seed=self.seed)

    @cached_property
    def matter(self) -> list[Contribution]:
        """Those whose interval excludes 0 and whose mean exceeds 0.02 of the answer's."""
        return [
            one
            for one in self.largest
            if (one.value.low > 0 or one.value.high < 0) and abs(one.value.estimate) > self._least
        ]

    @property
    def _least(self) -> float:
        return LEAST_EFFECT * abs(self.total.estimate)

    @cached_property
    def largest_control(self) -> dict[str, tuple[str, float]]:
        """Of each control, the component with the largest mean, and that mean."""
        labels = self.direct.axes[0].labels
        found = {}
        for name, values in self.direct.controls.items():
            means = values.mean(-1)
            place = int(np.abs(means).argmax())
            found[name] = (labels[place], float(means[place]))
        return found

    def control(self, name: str, component: str) -> Interval:
        """A control's mean of one component."""
        place = self.direct.axes[0].labels.index(component)
        return bootstrap_mean(self.direct.controls[name][place], self.seed)

    @cached_property
    def groups(self) -> dict[str, Interval]:
        """What stands together, such as the heads of a layer: its sum, in the model's order, and
        the biases last."""
        sums: dict[str, Floats] = {}
        for one, values in zip(self.direct.components, self.direct.values, strict=True):
            group = _group(one)
            sums[group] = sums.get(group, np.zeros_like(values)) + values
        names = sorted(sums, key=lambda name: name == _BIASES)
        return {name: bootstrap_mean(sums[name], self.seed) for name in names}

    @cached_property
    def by_source(self) -> SourceAttribution | None:
        """Named sources of the heads that write most."""
        if self.sources is None:
            return None
        named = self.sources.named()
        order = np.argsort(-np.abs(named.total.mean(-1)), kind="stable")[:_MOST_SOURCE_HEADS]
        return named.heads(order)


def _group(one: Component) -> str:
    """What a component is summed with on the page."""
    return {
        "head": f"heads, layer {one.layer}",
        "neuron": f"neurons, mlp{one.layer}",
        "bias": _BIASES,
    }.get(one.kind, one.name)
