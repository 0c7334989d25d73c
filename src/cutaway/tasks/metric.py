"""Metrics: one number per prompt, computed from a few logits.

A metric says which logits it reads (`positions`, `tokens`), so that whoever runs the model
computes no others, and turns them into a number per prompt (`__call__`).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Metric(ABC):
    """The answer tokens of every prompt and the positions at which their logits are read.

    A metric of one's own is a subclass with a `name` and a `__call__`; it reads the logits of
    `correct` and `wrong`, in this order, or all logits if it sets `whole_vocabulary`.

    Example:
        >>> metric = LogitDifference.at(torch.tensor([14]), torch.tensor([5]), torch.tensor([9]))
        >>> metric(metric.read(torch.zeros(1, 15, 20)))
        tensor([0.])
    """

    name: ClassVar[str]
    """What the metric is called in results."""
    whole_vocabulary: ClassVar[bool] = False
    """Needs the logits of all tokens, not only those of the answers."""

    positions: Int[Tensor, "prompt read"]
    """Where logits are read; `__call__` averages over several reads."""
    correct: Int[Tensor, "prompt right"]
    """The tokens that should be likely; several are averaged."""
    wrong: Int[Tensor, "prompt other"]
    """The tokens that should be unlikely; several are averaged."""

    def __post_init__(self) -> None:
        shapes = [tuple(t.shape) for t in (self.positions, self.correct, self.wrong)]
        if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
            raise ValueError(
                "positions, correct and wrong must be [prompt, ...] over the same prompts; "
                f"they have the shapes {', '.join(map(str, shapes))}."
            )

    @classmethod
    def at(
        cls,
        positions: Int[Tensor, " prompt"],
        correct: Int[Tensor, " prompt"],
        wrong: Int[Tensor, " prompt"],
    ) -> Self:
        """The common case: one position, one correct and one wrong token per prompt."""
        return cls(positions[:, None], correct[:, None], wrong[:, None])

    @property
    def tokens(self) -> Int[Tensor, "prompt k"] | None:
        """The vocabulary entries that `__call__` wants logits of, in its order; None is all."""
        return None if self.whole_vocabulary else torch.cat([self.correct, self.wrong], dim=1)

    @abstractmethod
    def __call__(self, logits: Float[Tensor, "... prompt read k"]) -> Float[Tensor, "... prompt"]:
        """One number per prompt from the logits of `tokens` at `positions`."""

    def read(self, logits: Float[Tensor, "prompt pos d_vocab"]) -> Float[Tensor, "prompt read k"]:
        """Pick from a model's output what `__call__` takes."""
        rows = torch.arange(len(self.positions), device=logits.device)[:, None]
        at_positions = logits[rows, self.positions.to(logits.device)]  # [prompt, read, d_vocab]
        if self.tokens is None:
            return at_positions
        wanted = self.tokens.to(logits.device)[:, None, :]
        return at_positions.gather(-1, wanted.expand(-1, at_positions.shape[1], -1))

    def subset(self, indices: Int[Tensor, " chosen"]) -> Self:
        """The metric of some prompts."""
        return self._map(lambda tensor: tensor[indices.to(tensor.device)])

    def to(self, device: torch.device | str) -> Self:
        """The metric with its tensors on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        tensors = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(
            self,
            **{k: change(v) if isinstance(v, Tensor) else v for k, v in tensors.items()},
        )


class LogitDifference(Metric):
    """Mean logit of the correct tokens minus mean logit of the wrong ones.

    This is Wang et al.'s (2022, section 2) metric for IOI. It is linear in the logits, so effects
    on it add up along the residual stream.
    """

    name = "logit difference"

    def __call__(self, logits: Float[Tensor, "... prompt read k"]) -> Float[Tensor, "... prompt"]:
        """Logits come as correct tokens first, wrong ones after them."""
        n_correct = self.correct.shape[1]
        right, other = logits[..., :n_correct], logits[..., n_correct:]
        return (right.mean(-1) - other.mean(-1)).mean(-1)


class ProbabilityDifference(Metric):
    """Probability of the correct tokens minus that of the wrong ones, each summed; -1 to 1."""

    name = "probability difference"
    whole_vocabulary = True

    def __call__(self, logits: Float[Tensor, "... prompt read k"]) -> Float[Tensor, "... prompt"]:
        """Logits come for the whole vocabulary."""
        probabilities = logits.softmax(-1)
        right = _pick(probabilities, self.correct).sum(-1)
        return (right - _pick(probabilities, self.wrong).sum(-1)).mean(-1)


class LogProbability(Metric):
    """Natural log of the probability of the correct tokens, averaged; the wrong ones are not read.

    Unlike the logit difference it also moves when the model turns to a third answer.
    """

    name = "log probability"
    whole_vocabulary = True

    def __call__(self, logits: Float[Tensor, "... prompt read k"]) -> Float[Tensor, "... prompt"]:
        """Logits come for the whole vocabulary."""
        return _pick(logits.log_softmax(-1), self.correct).mean(-1).mean(-1)


def _pick(
    values: Float[Tensor, "... prompt read d_vocab"], tokens: Int[Tensor, "prompt k"]
) -> Float[Tensor, "... prompt read k"]:
    wanted = tokens.to(values.device)[:, None, :].expand(*values.shape[:-1], tokens.shape[1])
    return values.gather(-1, wanted)
