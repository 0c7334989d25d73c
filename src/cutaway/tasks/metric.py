"""Metrics: one number per prompt, computed from a few logits.

A metric says which logits it reads (`positions`, `tokens`), so that whoever runs the model
computes no others, and turns them into a number per prompt (`__call__`).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float, Int
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
    sign_is_the_answer: ClassVar[bool] = False
    """Above 0 means that the prompt is answered right, and `Task.baseline` counts by it; else it
    compares the logits of the task's answer and wrong token."""

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


class LogitMargin(Metric):
    """Mean logit of the correct tokens minus the largest logit of the wrong ones.

    Above 0 if the answer beats every rival, whichever it is. Not linear: where the largest rival
    changes between two runs, effects of parts need not add up.
    """

    name = "logit margin"
    sign_is_the_answer = True

    def __call__(self, logits: Float[Tensor, "... prompt read k"]) -> Float[Tensor, "... prompt"]:
        """Logits come as correct tokens first, wrong ones after them."""
        n_correct = self.correct.shape[1]
        right, other = logits[..., :n_correct], logits[..., n_correct:]
        return (right.mean(-1) - other.amax(-1)).mean(-1)


class ProbabilityDifference(Metric):
    """Probability of the correct tokens minus that of the wrong ones, each summed; -1 to 1."""

    name = "probability difference"
    whole_vocabulary = True

    def __call__(self, logits: Float[Tensor, "... prompt read k"]) -> Float[Tensor, "... prompt"]:
        """Logits come for the whole vocabulary."""
        probabilities = logits.softmax(-1)
        right = _pick(probabilities, self.correct).sum(-1)
        return (right - _pick(probabilities, self.wrong).sum(-1)).mean(-1)


@dataclass(frozen=True, eq=False)
class ProbabilityDifferenceOfSets(ProbabilityDifference):
    """The same where each prompt has sets of its own size, e.g. the years after and up to a year.

    This is the probability difference of Hanna, Liu and Variengien (2023, section 2) if the sets
    are those years. Short sets are filled up with tokens that `correct_in`, `wrong_in` leave out.

    Example:
        >>> metric = ProbabilityDifferenceOfSets.of_sets(torch.tensor([2]), [[5, 6, 7]], [[1]])
        >>> metric(metric.read(torch.zeros(1, 3, 10)))
        tensor([0.2000])
    """

    sign_is_the_answer = True

    correct_in: Bool[Tensor, "prompt right"] | None = None
    """Which entries of `correct` are in the set; None is all."""
    wrong_in: Bool[Tensor, "prompt other"] | None = None
    """Which entries of `wrong` are in the set; None is all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("correct", "wrong"):
            tokens, inside = getattr(self, name), getattr(self, f"{name}_in")
            if inside is not None and inside.shape != tokens.shape:
                raise ValueError(
                    f"{name}_in has the shape {tuple(inside.shape)}, but {name} "
                    f"{tuple(tokens.shape)}: it must say of each token whether it counts."
                )

    @classmethod
    def of_sets(
        cls,
        positions: Int[Tensor, " prompt"],
        correct: Sequence[Sequence[int]],
        wrong: Sequence[Sequence[int]],
    ) -> Self:
        """One position, and two sets of tokens for each prompt, of any size.

        Raises:
            ValueError: not one set of either kind for each prompt.
        """
        if not len(positions) == len(correct) == len(wrong):
            raise ValueError(
                f"{len(positions)} positions, {len(correct)} correct and {len(wrong)} wrong sets: "
                "one of each is needed for every prompt."
            )
        right, right_in = _padded(correct, positions.device)
        other, other_in = _padded(wrong, positions.device)
        return cls(positions[:, None], right, other, right_in, other_in)

    def __call__(self, logits: Float[Tensor, "... prompt read k"]) -> Float[Tensor, "... prompt"]:
        """Logits come for the whole vocabulary."""
        probabilities = logits.softmax(-1)
        right = _within(_pick(probabilities, self.correct), self.correct_in).sum(-1)
        other = _within(_pick(probabilities, self.wrong), self.wrong_in).sum(-1)
        return (right - other).mean(-1)


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


def _within(
    values: Float[Tensor, "... prompt read k"], inside: Bool[Tensor, "prompt k"] | None
) -> Float[Tensor, "... prompt read k"]:
    """Zero for tokens that only fill a set up."""
    return values if inside is None else values * inside.to(values.device)[:, None, :]


def _padded(
    sets: Sequence[Sequence[int]], device: torch.device
) -> tuple[Int[Tensor, "prompt k"], Bool[Tensor, "prompt k"]]:
    """Sets as rows of one length, and which entries are theirs; at least one column."""
    tokens = torch.zeros(len(sets), max([1, *map(len, sets)]), dtype=torch.long, device=device)
    inside = torch.zeros_like(tokens, dtype=torch.bool)
    for i, row in enumerate(sets):
        tokens[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        inside[i, : len(row)] = True
    return tokens, inside
