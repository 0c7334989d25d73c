"""Runs in which only some features carry the clean prompt's values: circuits of features.

A node is a feature at a named position (or at all of them). In a circuit of nodes alone, all other
features, at every position, have the corrupted prompt's values, and so has the error unless it is
kept. At a hook of the residual stream nothing else gets past, so that the empty circuit is the
corrupted run and the circuit of everything the clean one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..patching.edits import Intervention
from ..patching.effects import Effects
from ..patching.interventions import run_cases
from ..patching.measure import Progress
from ..patching.targets import position_index
from ..patching.values import Place, Preparation, Value
from ..tasks.task import Task
from .config import DictionaryError
from .dictionary import Dictionary
from .feature_site import errors, features

Floats = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Node:
    """A feature at a position of the task; an empty position stands for all."""

    feature: int
    position: str = ""

    @property
    def name(self) -> str:
        """As in "276 END"."""
        return f"{self.feature} {self.position}".rstrip()


@dataclass(frozen=True)
class Case:
    """What one run keeps of the clean prompt, or takes from it."""

    nodes: Collection[Node] = ()
    kept: bool = True
    """True: the nodes alone have clean values. False: all but the nodes do."""
    error: bool = False
    """Whether the error is the clean prompt's."""


@dataclass(frozen=True, eq=False)
class _From(Value):
    """The other run's value at chosen places, or everywhere else."""

    feature: Int[Tensor, "node"]
    position: Int[Tensor, "node prompt"]
    """Which token of each prompt; -1 for all."""
    n_features: int
    inside: bool
    """Whether the chosen places are those that are replaced."""

    after_difference = True

    @property
    def name(self) -> str:
        return "patch in" if self.inside else "patch outside"

    def prepare(self, preparation: Preparation) -> Value:
        device, prompts = preparation.model.device, preparation.prompts
        return dataclasses.replace(
            self,
            feature=self.feature.to(device),
            position=self.position[:, prompts].to(device),
        )

    def __call__(
        self, old: Float[Tensor, "row *value"], place: Place
    ) -> Float[Tensor, "row *value"]:
        replaced = place.pick(self._chosen(place.base.tokens.shape[1])) == self.inside
        return torch.where(replaced, place.pick(place.source.values[place.hook]), old)

    def _chosen(self, n_pos: int) -> Bool[Tensor, "prompt pos feature"]:
        _, n_prompts = self.position.shape
        chosen = torch.zeros(
            n_prompts, n_pos, self.n_features, dtype=torch.bool, device=self.position.device
        )
        prompt = torch.arange(n_prompts, device=self.position.device)
        everywhere = (self.position < 0).all(1)
        chosen[:, :, self.feature[everywhere]] = True
        chosen[prompt, self.position[~everywhere], self.feature[~everywhere, None]] = True
        return chosen


@torch.no_grad()
def run_kept(
    model: HookedTransformer,
    task: Task,
    dictionary: Dictionary,
    cases: Sequence[Case],
    *,
    hook: str = "",
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> Float[Floats, "case prompt"]:
    """The metric of the clean prompts in runs that keep some features.

    Args:
        model: without hooks attached.
        task: clean prompts, and the corrupted ones that values outside come from.
        dictionary: whose features the nodes are.
        cases: one run each.
        hook: where the dictionary writes, if its configuration does not say.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done.

    Raises:
        ValueError: a feature or a position that there is not.

    Example:
        >>> run_kept(model, task, dictionary, [Case([Node(276, "END")]), Case(error=True)])
    """
    site, error = features(dictionary, hook), Intervention(errors(dictionary, hook))
    runs = []
    for case in cases:
        run = [Intervention(site, value=_value(task, dictionary, case))]
        runs.append(run if case.error else [*run, error])
    found, _ = run_cases(model, task, runs, "noising", max_memory, progress)
    values: Floats = found.numpy()
    return values


def _value(task: Task, dictionary: Dictionary, case: Case) -> Value:
    n, nodes = dictionary.cfg.d_features, list(case.nodes)
    for node in nodes:
        if not 0 <= node.feature < n:
            raise DictionaryError(f"there is no feature {node.feature}: the dictionary has {n}.")
    everywhere = torch.full((len(task),), -1)
    index = {
        position: position_index(task, _place(position)) if position else everywhere
        for position in {node.position for node in nodes}
    }
    rows = [index[node.position] for node in nodes]
    position = torch.stack(rows) if rows else torch.empty(0, len(task), dtype=torch.long)
    feature = torch.tensor([node.feature for node in nodes], dtype=torch.long)
    return _From(feature, position, n, inside=not case.kept)


def _place(position: str) -> str | int:
    return int(position) if position.isdecimal() else position


def nodes_of(scores: Effects) -> tuple[list[Node], Float[Floats, " node"]]:
    """The nodes that a sweep, or estimates, over features found to do anything, and how much.

    Args:
        scores: with the axes feature and, perhaps, position.

    Returns:
        Nodes whose effect is not zero on every prompt, the one that does most for the answer first,
        and their normalised effects.

    Raises:
        DictionaryError: these are no effects of features.
    """
    named = [axis.name for axis in scores.axes]
    if named not in (["feature"], ["feature", "position"]):
        raise DictionaryError(
            f"scores over {' x '.join(named) or 'nothing'} are not those of features: give "
            "ca.sweep(model, task, ca.sae.features(dictionary))."
        )
    positions = scores.axes[1].labels if len(named) > 1 else ("",)
    change = scores.per_prompt.reshape(len(scores.axes[0].labels), len(positions), -1)
    gap = (scores.clean - scores.corrupted).mean()
    effect = change.mean(-1) / (gap if gap else 1.0)
    alive = (change != 0).any(-1)
    order = np.argsort(-effect, axis=None, kind="stable")
    chosen = [
        (int(i), int(j))
        for i, j in zip(*np.unravel_index(order, effect.shape), strict=True)
        if alive[i, j]
    ]
    labels = scores.axes[0].labels
    nodes = [Node(int(labels[i]), positions[j]) for i, j in chosen]
    return nodes, np.array([effect[i, j] for i, j in chosen])
