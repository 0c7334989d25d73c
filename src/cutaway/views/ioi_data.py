"""What the study of indirect object identification has measured: all that its report shows.

Plain arrays, numbers and text. The study fills these in; the report reads them; neither a model
nor a task is needed to write the page again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .. import evidence
from ..evidence import Interval
from ..findings import Comparison as Comparison
from ..findings import Expectation as Expectation
from .attention import AttentionExample

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class EffectMap:
    """Normalised effects of denoising patches with their intervals.

    Raises:
        ValueError: the arrays do not fit each other or the labels.
    """

    values: Floats
    """[row, column]: 0 nothing restored, 1 all restored."""
    low: Floats
    """[row, column], lower ends."""
    high: Floats
    """[row, column], upper ends."""
    rows: tuple[str, ...]
    """What the rows are called: layers, or heads."""
    columns: tuple[str, ...]
    """What the columns are called: named positions, tokens, or heads."""

    def __post_init__(self) -> None:
        expected = (len(self.rows), len(self.columns))
        for name in ("values", "low", "high"):
            shape = np.shape(getattr(self, name))
            if shape != expected:
                raise ValueError(
                    f"{name} has the shape {shape}, but there are {expected[0]} rows and "
                    f"{expected[1]} columns."
                )

    def matters(self) -> NDArray[np.bool_]:
        """[row, column], by the rule of `evidence.matters`."""
        return evidence.matters(self.values, self.low, self.high)


@dataclass(frozen=True, eq=False)
class Behaviour:
    """The metric before anything is cut."""

    logit_difference: Interval
    """Mean over the clean prompts of logit(IO) - logit(S) at END."""
    corrupted: Interval
    """The same on the corrupted prompts, with the clean prompts' answers."""
    accuracy: Interval
    """Share of the clean prompts with logit(IO) > logit(S)."""
    per_prompt: Floats
    """[prompt], the logit difference of each clean prompt."""
    corrupted_per_prompt: Floats
    """[prompt], the same for each corrupted prompt."""
    prompts: tuple[str, ...]
    """[prompt], the clean prompts as text."""
    corruption: str
    """How the prompts were corrupted, such as "s2-flip"."""


@dataclass(frozen=True)
class RoleSwap:
    """One prompt with its names in other roles."""

    prompt: str
    """The prompt as text."""
    io: str
    """The indirect object."""
    s: str
    """The subject."""
    logit_difference: float
    """logit(io) - logit(s)."""


@dataclass(frozen=True)
class PromptPair:
    """One clean prompt and its corrupted partner, token by token."""

    clean: tuple[str, ...]
    """Tokens of the clean prompt."""
    corrupted: tuple[str, ...]
    """Tokens of the corrupted prompt; as many."""
    positions: Mapping[str, int]
    """The named positions in both."""
    correct: str
    """The token that should follow."""
    wrong: str
    """The token it is weighed against."""


@dataclass(frozen=True)
class TopHead:
    """One of the heads with the largest effects."""

    name: str
    """Layer and head: "9.6"."""
    effect: Interval
    """Its normalised effect."""
    looks_at: Mapping[str, float]
    """Mean attention from END to each named position: {"IO": 0.6, "S1": 0.1, "BOS": 0.2}."""
    role: str = ""
    """What a measurement of this run says it is; empty where none was made."""
    published: str = ""
    """The class that the literature gives it in this model; empty where there is none."""


@dataclass(frozen=True, eq=False)
class Ablation:
    """What happens when the top heads are taken out together."""

    kind: str
    """"zero", "mean" or "resample"."""
    effect: Interval
    """Change of the mean logit difference: ablated minus intact, so a loss is negative."""
    random_effects: Floats
    """[set], the same change for each random set of as many heads."""


@dataclass(frozen=True, eq=False)
class IOIReportData:
    """Everything on the page of the study `ioi`."""

    model: str
    """The model's name."""
    behaviour: Behaviour
    """The baseline."""
    example: PromptPair
    """A pair to explain the method with."""
    role_swaps: tuple[RoleSwap, ...]
    """The swaps of one prompt."""
    maps: Mapping[str, EffectMap]
    """[layer, named position] for "resid_pre", "attn_out" and "mlp_out"."""
    heads: EffectMap
    """[layer, head], patched at all positions."""
    top_heads: tuple[TopHead, ...]
    """By absolute effect, largest first."""
    attention: tuple[AttentionExample, ...]
    """A few prompts with the patterns of `attention_heads`."""
    attention_heads: tuple[str, ...]
    """The heads of those patterns, in their order."""
    ablations: tuple[Ablation, ...]
    """One for each kind."""
    ablated_heads: tuple[str, ...]
    """The heads that were taken out: those that restore the answer most."""
    intact: Interval | None = None
    """The mean logit difference of the whole model on the prompts of the ablations, which are
    others than those that chose the heads; None where they are the same."""
    token_map: EffectMap | None = None
    """[layer, token] of resid_pre over the prompts of one template; columns are one prompt's."""
    head_positions: EffectMap | None = None
    """[head, named position]: the top heads, patched at one position at a time."""
    published: tuple[Comparison, ...] = ()
    """For models that have been studied before."""
    predictions: tuple[Expectation, ...] = ()
    """What was expected."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What is needed to repeat the run: seed, versions, digest, machine."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each step."""
