"""ACDC: edges taken out one after the other, from the logits back, where little is lost.

Automatic Circuit DisCovery (Conmy et al. 2023, algorithm 1). An edge is taken out for good if that
moves the run by less than a threshold from the whole model's; the next edge is tried on what is
left. The paper's code makes one full run for each edge; here

- readers that no longer lead to the logits lose all their edges without a run, since these carry
  nothing that is read;
- layers below the reader that is worked on are still the whole model's, and are not computed;
- several edges are tried at once, on the guess that all will go: run j has the next j edges taken
  out. Up to the first that has to stay the runs are those that ACDC would have made one by one, so
  the result is the same; what came after it is tried again.

The order is the paper's (readers from the last to the first), of senders the latest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ...model.transformer import HookedTransformer
from ...patching.measure import Progress
from ...tasks.task import Task
from ..runs import CircuitRuns
from ..scores import PAIR, EdgeScores, mean_gap
from ..wiring import Mask
from .settings import DiscoverySettings, no_progress

Criterion = Literal["distance", "drop"]
_MOST_AT_ONCE = 64


@dataclass(frozen=True)
class ACDCSettings(DiscoverySettings):
    """Take edges out one after the other, from the logits back."""

    tau: float = 0.02
    """An edge goes if the run moves by less than this share of the difference between clean and
    corrupted."""
    criterion: Criterion = "distance"
    """distance: mean over prompts of how far the metric is from the whole model's. drop: how much
    lower it is, so that edges whose loss helps the answer go too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tau >= 0:
            raise ValueError(f"tau={self.tau} is not a share of 0 or more.")
        if self.criterion not in get_args(Criterion):
            raise ValueError(f"criterion={self.criterion!r} is neither 'distance' nor 'drop'.")
        if self.mode != "noising":
            raise ValueError("mode='denoising' is not for ACDC, which takes edges out.")


def acdc(
    model: HookedTransformer, task: Task, settings: ACDCSettings, progress: Progress = no_progress
) -> EdgeScores:
    """What every edge was worth when its turn came, and the edges that stayed.

    Returns:
        Scores: by how much the metric fell when the edge was taken out of what was left then;
        `kept` is ACDC's own circuit.

    Raises:
        ValueError: clean and corrupted prompts have one mean metric.
    """
    search = _Search(CircuitRuns(model, task, max_memory=settings.max_memory), settings, progress)
    search.run()
    wiring = search.runs.wiring
    kept = wiring.pruned(search.matrix)
    return EdgeScores(
        model.cfg,
        "acdc",
        search.scores[wiring.allowed],
        kept=kept,
        settings=settings.described(),
        notes=(f"{search.n_runs:,} circuits were run for {wiring.allowed.sum():,} edges.",),
    )


class _Search:
    """One call of `acdc`: the edges that are left, and what they give."""

    def __init__(self, runs: CircuitRuns, settings: ACDCSettings, progress: Progress) -> None:
        self.runs, self.settings, self.progress = runs, settings, progress
        self.whole = runs.clean.numpy()
        self.gap = mean_gap(runs.task.metric.name, self.whole, runs.corrupted.numpy(), PAIR)
        self.matrix: Mask = runs.wiring.allowed.copy()
        self.left = self.whole  # the metric of what is left, [prompt]
        self.scores = np.zeros(self.matrix.shape)
        self.at_once = 8
        self.n_runs = 0

    def run(self) -> None:
        """Every reader, from the last to the first."""
        n = len(self.matrix)
        for done, receiver in enumerate(reversed(range(n))):
            if self._is_read(receiver):
                self._try_all(receiver)
            else:
                self.matrix[receiver] = False
            self.progress((done + 1) / n)

    def _is_read(self, receiver: int) -> bool:
        """Whether what is computed from it still reaches the logits: readers behind it are done, so
        any edge that is left leads there."""
        readers = self.runs.wiring.feeds[:, receiver]
        last = receiver == len(self.matrix) - 1
        return last or bool((self.matrix[receiver + 1 :] & readers).any())

    def _try_all(self, receiver: int) -> None:
        """The edges into one reader, the latest sender first."""
        waiting = list(np.flatnonzero(self.matrix[receiver])[::-1])
        while waiting:
            tried = waiting[: self.at_once]
            gone = self._how_many_go(receiver, tried)
            if gone == len(tried):
                self.at_once = min(2 * self.at_once, _MOST_AT_ONCE)
                waiting = waiting[gone:]
            else:
                self.at_once = max(self.at_once // 2, 1)
                waiting = waiting[gone + 1 :]

    def _how_many_go(self, receiver: int, senders: list[int]) -> int:
        """Take out the first edges of a list, up to the first that has to stay."""
        circuits = np.repeat(self.matrix[None], len(senders), axis=0)
        for i, sender in enumerate(senders):
            circuits[i:, receiver, sender] = False
        values = self.runs.measure(torch.from_numpy(circuits)).numpy()
        self.n_runs += len(senders)
        for i, (sender, value) in enumerate(zip(senders, values, strict=True)):
            self.scores[receiver, sender] = (self.left - value).mean() / self.gap
            if self._loss(value) - self._loss(self.left) >= self.settings.tau:
                return i
            self.matrix[receiver, sender] = False
            self.left = value
        return len(senders)

    def _loss(self, values: NDArray[np.float64]) -> float:
        away = self.whole - values
        if self.settings.criterion == "distance":
            return float(np.abs(away).mean() / abs(self.gap))
        return float(away.mean() / self.gap)
