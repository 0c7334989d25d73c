"""`causal_scrub`: how much of a metric is left when all that a hypothesis calls irrelevant is
exchanged between prompts (Chan et al. 2022, "Causal Scrubbing").

    recovered = (scrubbed - all random) / (clean - all random), of mean metrics

is 1 if nothing is lost and 0 if the hypothesis does no better than logits of another prompt. The
control has the features' labels dealt out anew to the prompts: claims about features that say
nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ...evidence import Interval, bootstrap_ratio
from ...model.transformer import HookedTransformer
from ...tasks.task import Task
from .hypothesis import PROMPT, Hypothesis, HypothesisError, Tree
from .runs import Codes, ScrubbedRuns, joint_codes

Floats = NDArray[np.float64]
Labels: TypeAlias = Mapping[str, Sequence[Hashable] | Tensor | NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Scrubbing:
    """A hypothesis put to the test.

    Example:
        >>> found = causal_scrub(model, task, hypothesis, features)
        >>> print(found.recovered, found.recovered_shuffled)
    """

    hypothesis: Hypothesis
    metric: str
    recovered: Interval
    """(scrubbed - all random) / (clean - all random), over prompts; each prompt's value is its mean
    over the draws."""
    recovered_shuffled: Interval
    """The same of the control: the same claims with labels dealt out anew in every draw."""
    unexplained: Interval
    """Mean squared distance of scrubbed from clean, over that of all random from clean: 0 if every
    prompt keeps its value. Gains on some prompts do not make up for losses on others here."""
    clean: Float[Floats, " prompt"] = field(repr=False)
    scrubbed: Float[Floats, "draw prompt"] = field(repr=False)
    random: Float[Floats, "draw prompt"] = field(repr=False)
    """All random: the logits of another prompt, with this prompt's answers."""
    shuffled: Float[Floats, "draw prompt"] = field(repr=False)
    donors: Mapping[str, float] = field(repr=False)
    """Claim -> how many prompts agree on its features, itself included, on average. Near 1 nothing
    is exchanged, and the claim is not tested."""
    within: str | None
    """The label that prompts share which exchange values; None if all may."""
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def of_each_draw(self) -> Float[Floats, " draw"]:
        """The recovered share in every draw: how much the draws matter."""
        gap = float((self.clean - self.random).mean())
        shares: Floats = (self.scrubbed - self.random.mean(0)).mean(-1) / gap
        return shares

    def __str__(self) -> str:
        return (
            f"{self.hypothesis.name or 'hypothesis'}: recovered {self.recovered}, with shuffled "
            f"labels {self.recovered_shuffled}, unexplained {self.unexplained}"
        )


def causal_scrub(
    model: HookedTransformer,
    task: Task,
    hypothesis: Hypothesis,
    features: Labels,
    *,
    within: str | None = None,
    n_draws: int = 10,
    seed: int = 0,
    level: float = 0.95,
) -> Scrubbing:
    """Test a hypothesis by exchanging between prompts all that it calls irrelevant.

    The clean prompts are run; the corrupted ones are not used. Every part of the tree gets a prompt
    of its own, so that what a part says to two readers may come from two prompts.

    Args:
        model: without hooks attached.
        task: prompts and metric.
        hypothesis: claims; see `Hypothesis`.
        features: label -> its value in every prompt, such as a token or a position.
        within: a feature that prompts must share to exchange values at all, such as a template.
            Positions only mean the same in prompts of one form.
        n_draws: how often everything is drawn; more make each prompt's mean surer.
        seed: of the draws and of the bootstrap.
        level: of the intervals.

    Raises:
        HypothesisError: a feature without labels, a claim that cannot be or leads nowhere, prompts
            of several lengths or too few to exchange values, or a metric that does not change.

    Example:
        >>> features = {"A": task.clean[:, 3], "B": task.correct}
        >>> causal_scrub(model, task, Hypothesis({"1.2->logits": "B"}), features).recovered
    """
    if n_draws < 1:
        raise HypothesisError(f"n_draws={n_draws}: at least one is needed.")
    tree = Tree(model.cfg, hypothesis)
    nothing = Tree(model.cfg, Hypothesis({}))
    codes = _coded(task, hypothesis, features, within)
    shape = (n_draws, len(task))
    clean, scrubbed = np.empty(len(task)), np.empty(shape)
    random, shuffled = np.empty(shape), np.empty(shape)
    for members in _groups(task, codes, within):
        tokens = task.clean[members, : int(task.lengths[members[0]])]
        metric = task.metric.subset(task.lengths.new_tensor(members))
        runs = ScrubbedRuns(model, tree, tokens, metric)
        plain = ScrubbedRuns(model, nothing, tokens, metric)
        here = {name: values[members] for name, values in codes.items()}
        clean[members] = runs.clean().numpy()
        for draw in range(n_draws):
            # One stream of numbers for all three: they differ by the claims alone.
            scrubbed[draw, members] = runs.scrubbed(here, _rng(seed, draw)).numpy()
            random[draw, members] = plain.scrubbed({}, _rng(seed, draw)).numpy()
            order = _rng(seed, draw, 1).permutation(len(members))
            dealt = {name: values[order] for name, values in here.items()}
            shuffled[draw, members] = runs.scrubbed(dealt, _rng(seed, draw)).numpy()
    donors = _donors(task, hypothesis, codes, within)
    _require_gap(clean, random)
    return Scrubbing(
        hypothesis=hypothesis,
        metric=task.metric.name,
        recovered=_recovered(scrubbed, random, clean, seed, level),
        recovered_shuffled=_recovered(shuffled, random, clean, seed, level),
        unexplained=_unexplained(scrubbed, random, clean, seed, level),
        clean=clean,
        scrubbed=scrubbed,
        random=random,
        shuffled=shuffled,
        donors=donors,
        within=within,
        seed=seed,
        notes=_notes(hypothesis, donors),
    )


def _rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _coded(
    task: Task, hypothesis: Hypothesis, features: Labels, within: str | None
) -> dict[str, NDArray[np.int64]]:
    """The labels that are used, as numbers: feature -> [prompt]."""
    codes = {}
    for name in {*hypothesis.features(), *({within} if within else ())}:
        if name not in features:
            raise HypothesisError(
                f"the hypothesis speaks of {name!r}, and there are labels for "
                f"{', '.join(map(repr, features)) or 'nothing'}: give features[{name!r}], one "
                "value for each prompt."
            )
        given = features[name]
        values = given.tolist() if isinstance(given, Tensor | np.ndarray) else list(given)
        if len(values) != len(task):
            raise HypothesisError(
                f"features[{name!r}] has {len(values)} values, and the task {len(task)} prompts."
            )
        number: dict[Hashable, int] = {}
        codes[name] = np.array([number.setdefault(v, len(number)) for v in values], dtype=np.int64)
    return codes


def _groups(task: Task, codes: Codes, within: str | None) -> Iterator[NDArray[np.int64]]:
    """Prompts that exchange values, of one length and more than one."""
    of = codes[within] if within else np.zeros(len(task), dtype=np.int64)
    lengths = task.lengths.cpu().numpy()
    for value in np.unique(of):
        members = np.flatnonzero(of == value)
        where = f" that share {within!r}" if within else ""
        if len(set(lengths[members])) > 1:
            raise HypothesisError(
                f"the prompts{where} have {lengths[members].min()} to {lengths[members].max()} "
                "tokens, so that their positions do not mean the same: give a feature that only "
                "prompts of one form share, and name it in within=, such as the template."
            )
        if len(members) < 2:
            raise HypothesisError(
                f"there is one prompt{where} and nothing to exchange it with: take more prompts "
                "of fewer forms."
            )
        last = int(task.metric.positions[task.lengths.new_tensor(members)].max())
        if last >= lengths[members[0]]:
            raise HypothesisError(
                f"the metric reads position {last} of prompts of {lengths[members[0]]} tokens: "
                "prompts padded on the left cannot be scrubbed."
            )
        yield members


def _donors(
    task: Task, hypothesis: Hypothesis, codes: Codes, within: str | None
) -> dict[str, float]:
    found = {}
    for claim, features in hypothesis.claims.items():
        both = (*features, *((within,) if within else ()))
        sizes = np.bincount(joint_codes(codes, both, len(task)))
        found[claim] = float((sizes**2).sum() / len(task))
    return found


def _notes(hypothesis: Hypothesis, donors: Mapping[str, float]) -> tuple[str, ...]:
    alone = [c for c, n in donors.items() if n < 2 and PROMPT not in hypothesis.claims[c]]
    if not alone:
        return ()
    return (
        f"on the features of {', '.join(alone)} most prompts agree with no other, so that these "
        "claims are hardly tested: take more prompts, or fewer different words.",
    )


def _require_gap(clean: Floats, random: Floats) -> None:
    if clean.mean() == random.mean():
        raise HypothesisError(
            "the metric is on average the same for another prompt's logits, so that there is "
            "nothing to recover: take prompts with different answers."
        )


def _recovered(values: Floats, random: Floats, clean: Floats, seed: int, level: float) -> Interval:
    base = random.mean(0)
    return _ratio(values.mean(0) - base, clean - base, seed, level)


def _unexplained(
    values: Floats, random: Floats, clean: Floats, seed: int, level: float
) -> Interval:
    lost, all_lost = (((some - clean) ** 2).mean(0) for some in (values, random))
    return _ratio(lost, all_lost, seed, level)


def _ratio(top: Floats, bottom: Floats, seed: int, level: float) -> Interval:
    estimate, low, high = bootstrap_ratio(top, bottom, seed, level)
    return Interval(float(estimate), float(low), float(high), level, len(bottom))
