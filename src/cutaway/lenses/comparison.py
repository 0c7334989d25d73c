"""`compare_inputs`: the same lens on several kinds of input."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..evidence import Difference, benjamini_hochberg, two_sample_difference
from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .convergence import Convergence, convergence
from .logit_lens import logit_lens
from .places import TARGET, Positions
from .readings import LensReadings
from .trajectories import Trajectory, trajectory
from .tuned_lens import TunedLens

CONVERGENCE = "convergence"
"""What the tests of convergence layers are listed under, beside the points."""


@dataclass(frozen=True)
class PairDifference:
    """Two kinds of input, compared in one number."""

    first: str
    second: str
    what: str
    """"convergence" (in layers), or a point of the stream: log-probability of the target there."""
    difference: Difference
    """First less second."""
    q_value: float
    """The smallest false discovery rate at which it survives among all tests of the comparison."""


@dataclass(frozen=True)
class InputComparison:
    """Trajectories and convergence of several kinds of input, and how they differ.

    Example:
        >>> found = compare_inputs(model, {"repeated": repeated, "novel": novel})
        >>> for one in found.differences:
        ...     print(one.first, one.second, one.what, one.difference, one.q_value)
    """

    readings: dict[str, LensReadings]
    """Of each kind of input."""
    control: dict[str, LensReadings]
    """The same prompts in a model of random weights, read by the logit lens."""
    differences: tuple[PairDifference, ...]
    """Of every two kinds: after how many layers the prediction stands, and the target's
    log-probability at each point."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of input."""
        return tuple(self.readings)

    @property
    def points(self) -> tuple[str, ...]:
        """Where the stream was read."""
        return next(iter(self.readings.values())).points

    def trajectory(
        self, kind: str, token: str = TARGET, quantity: Any = "log_probability"
    ) -> Trajectory:
        """The way of a token in one kind of input."""
        return trajectory(self.readings[kind], token, quantity)

    def convergence(self, kind: str, criterion: Any = "top") -> Convergence:
        """From which point on the model's prediction stands, in one kind of input."""
        return convergence(self.readings[kind], criterion)

    def control_convergence(self, kind: str, criterion: Any = "top") -> Convergence:
        """The same in the model of random weights."""
        return convergence(self.control[kind], criterion)

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each comparison; pandas takes it as is."""
        return [
            {
                "first": one.first,
                "second": one.second,
                "what": one.what,
                "difference": one.difference.interval.estimate,
                "low": one.difference.interval.low,
                "high": one.difference.interval.high,
                "p_value": one.difference.p_value,
                "q_value": one.q_value,
            }
            for one in self.differences
        ]


def compare_inputs(
    model: HookedTransformer,
    inputs: Mapping[str, Task | Int[Tensor, "prompt pos"]],
    lens: TunedLens | None = None,
    *,
    positions: Mapping[str, Positions] | None = None,
    top: int = 5,
    seed: int = 0,
    n_resamples: int = 2_000,
) -> InputComparison:
    """Read several kinds of input by one lens, and compare every two of them.

    For every two kinds: after how many layers the model's prediction stands, and the mean
    log-probability of the target at each point; differences with bootstrap intervals over prompts
    and permutation tests, all p-values as one family (Benjamini and Hochberg 1995).

    Args:
        model: read, not changed.
        inputs: name -> tokens or task, as `logit_lens` takes them; different prompts each.
        lens: a tuned lens; None is the logit lens.
        positions: name -> where to read, such as the second halves of repeated sequences; a kind
            that is not named is read everywhere.
        top: tokens kept at each point.
        seed: of resamples, groupings, shuffled targets and random weights.
        n_resamples: of each comparison; the p-values cannot be below 1 / (1 + n_resamples).

    Raises:
        ValueError: fewer than two kinds, a kind with a single prompt, positions of a kind that is
            not there, and what the lens refuses.

    Example:
        >>> compare_inputs(model, {"repeated": repeated, "novel": novel}).to_frame()[0]
    """
    if len(inputs) < 2:
        raise ValueError(f"{len(inputs)} kinds of input cannot be compared: give at least two.")
    strange = set(positions or {}) - set(inputs)
    if strange:
        raise ValueError(f"positions has {', '.join(sorted(strange))}, which inputs has not.")
    for kind, prompts in inputs.items():
        if len(prompts) < 2:
            raise ValueError(f"{kind} has {len(prompts)} prompt: at least two are needed.")
    random = model.fresh(seed)
    readings, control = {}, {}
    for kind, prompts in inputs.items():
        where = (positions or {}).get(kind)
        options: dict[str, Any] = {"top": top, "positions": where, "seed": seed}
        if lens is None:
            readings[kind] = logit_lens(model, prompts, **options)
        else:
            readings[kind] = lens.read(model, prompts, **options)
        control[kind] = logit_lens(random, prompts, **options)
    return InputComparison(readings, control, _differences(readings, seed, n_resamples))


def _differences(
    readings: dict[str, LensReadings], seed: int, n_resamples: int
) -> tuple[PairDifference, ...]:
    """All comparisons, with p-values adjusted for how many there are."""
    values = {kind: _per_prompt(one) for kind, one in readings.items()}
    found: list[tuple[str, str, str, Difference]] = []
    for first, second in itertools.combinations(readings, 2):
        for what, a in values[first].items():
            b = values[second][what]
            test = two_sample_difference(a, b, seed=seed, n_resamples=n_resamples)
            found.append((first, second, what, test))
    adjusted = benjamini_hochberg([test.p_value for *_, test in found]).adjusted
    return tuple(PairDifference(*one, float(q)) for one, q in zip(found, adjusted, strict=True))


def _per_prompt(readings: LensReadings) -> dict[str, Float[NDArray[np.float64], " prompt"]]:
    target = trajectory(readings, TARGET, "log_probability").per_prompt
    by_point = dict(zip(readings.points, target, strict=True))
    return {CONVERGENCE: convergence(readings).per_prompt, **by_point}
