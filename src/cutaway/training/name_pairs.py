"""A ... B ... A -> B: names that come in pairs, and come again.

    <|bos|> Mary then went Tom. Ann quickly Paul. Ann Paul. Mary Tom. Ann

First each pair is introduced: A, some words, B. Then the pairs come again in any order, without
the words, and B can be known: it is the name that came after this A the first time. All names of a
sequence differ, and which go together is drawn anew for each, so that only the context tells. A
model of two layers solves it by a head that tells B which name came before, and one that looks
from A to the B that was told so: an induction head (Elhage et al. 2021; Olsson et al. 2022), with
words in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..model.tokenizer import Tokenizer
from ..tasks.ioi_text import NAMES
from ..tasks.task import Task
from .config import DataSettings, TrainConfigError
from .source import HELD_OUT, TRAINED, Integers, Source, as_tensor, generator
from .word_tokenizer import SPECIAL, word_tokenizer

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer

WORDS = ("then", "soon", "later", "quickly", "went", "came", "with", "and")
_N_HELD_OUT = 1000
_STOP = len(SPECIAL)
_FIRST_WORD = _STOP + 1
_FIRST_NAME = _FIRST_WORD + len(WORDS)


@dataclass(frozen=True)
class NamePairs:
    """The sequences, and prompts that end where B has to be known.

    Raises:
        TrainConfigError: too few names, or a context in which the longest introduction leaves no
            room for a pair to come again.
    """

    n_names: int = 40
    """Different names."""
    pairs: tuple[int, int] = (2, 4)
    """Fewest and most pairs of a sequence."""
    gap: tuple[int, int] = (0, 2)
    """Fewest and most words between A and B the first time."""

    def __post_init__(self) -> None:
        if not 2 * self.pairs[1] < self.n_names <= len(NAMES):
            raise TrainConfigError(
                f"n_names={self.n_names} has to be from {2 * self.pairs[1] + 1} (two for each of "
                f"{self.pairs[1]} pairs, and one more) to {len(NAMES)}."
            )

    @property
    def n_introduced(self) -> int:
        """Tokens of the longest introduction, with BOS."""
        return 1 + self.pairs[1] * (3 + self.gap[1])

    def tokenizer(self) -> Tokenizer:
        """BOS and its like, the stop, the words, the names."""
        words = [f" {word}" for word in (*WORDS, *NAMES[: self.n_names])]
        return Tokenizer(word_tokenizer([*SPECIAL, ".", *words], space_first=True))

    def draw(
        self, rng: np.random.Generator, n: int, length: int
    ) -> tuple[Integers, Integers, Integers]:
        """Sequences, for each token whether it can be known, and the pairs [n, pair, (A, B)]."""
        most, longest = self.pairs[1], self.gap[1]
        names = rng.random((n, self.n_names)).argsort(1)[:, : 2 * most] + _FIRST_NAME
        couples = names.reshape(n, most, 2)
        counts = rng.integers(self.pairs[0], most + 1, n)
        first = np.full((n, most, longest + 3), _STOP, dtype=np.int64)  # A, words, B, stop
        first[..., 0], first[..., -2] = couples[..., 0], couples[..., 1]
        first[..., 1:-2] = rng.integers(_FIRST_WORD, _FIRST_NAME, (n, most, longest))
        stands = np.ones(first.shape, dtype=bool)
        gaps = rng.integers(self.gap[0], longest + 1, (n, most, 1))
        stands[..., 1:-2] = np.arange(longest) < gaps
        stands &= (np.arange(most) < counts[:, None])[..., None]
        n_again = length // 3 + 1
        which = (rng.random((n, n_again)) * counts[:, None]).astype(np.int64)
        again = np.full((n, n_again, 3), _STOP, dtype=np.int64)
        again[..., :2] = np.take_along_axis(couples, which[..., None], 1)
        known = np.zeros((n, first[0].size + again[0].size), dtype=np.int64)
        known[:, first[0].size + 1 :: 3] = 1
        tokens = np.concatenate([first.reshape(n, -1), again.reshape(n, -1)], 1)
        here = np.concatenate([stands.reshape(n, -1), np.ones((n, again[0].size), bool)], 1)
        order = (~here).argsort(1, kind="stable")[:, : length - 1]
        bos = np.zeros((n, 1), dtype=np.int64)
        rows = np.concatenate([bos, np.take_along_axis(tokens, order, 1)], 1)
        marks = np.concatenate([bos, np.take_along_axis(known, order, 1)], 1)
        return rows, marks, np.where(np.arange(most)[:, None] < counts[:, None, None], couples, -1)

    def prompts(self, n: int, n_pairs: int | None = None, seed: int = 0) -> Prompts:
        """Prompts that end with an A that came before; B is the answer.

        Args:
            n: how many.
            n_pairs: of each prompt; None is the most.
            seed: of all choices; never a sequence that was trained on.

        Example:
            >>> NamePairs().prompts(4).tokens.shape[0]
            4
        """
        n_pairs = self.pairs[1] if n_pairs is None else n_pairs
        rng = generator(seed, HELD_OUT, 1)
        one = NamePairs(self.n_names, (n_pairs, n_pairs), (self.gap[1], self.gap[1]))
        rows, _, couples = one.draw(rng, n, one.n_introduced + 1)
        asked = rng.integers(n_pairs, size=n)
        at = np.arange(n)
        rows[:, -1] = couples[at, asked, 0]
        width = 3 + one.gap[1]
        first = 1 + asked * width
        free = [
            rng.choice(np.setdiff1d(np.arange(self.n_names) + _FIRST_NAME, row)) for row in rows
        ]
        answers = couples[at, asked, 1]
        tensors = (rows, answers, np.array(free), first, first + width - 2)
        return Prompts(*map(as_tensor, tensors))


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts of A ... B ... A, all of one length."""

    tokens: Int[Tensor, "n pos"]
    """BOS first, A last."""
    answer: Int[Tensor, " n"]
    """B."""
    other: Int[Tensor, " n"]
    """C: a name that is not in the prompt."""
    at_a: Int[Tensor, " n"]
    """Where A stands the first time."""
    at_b: Int[Tensor, " n"]
    """Where B stands."""

    def task(self, model: HookedTransformer) -> Task:
        """Clean and corrupted prompts: corrupted ones have C in B's place, so that C is right.

        The positions are A, B and END; the metric is the logit difference of B and C at END.
        """
        device = model.device
        clean = self.tokens.to(device)
        corrupted = clean.clone()
        rows = torch.arange(len(clean), device=device)
        corrupted[rows, self.at_b.to(device)] = self.other.to(device)
        return Task.from_tokens(
            clean,
            corrupted,
            self.answer.to(device),
            self.other.to(device),
            positions={"A": self.at_a.to(device), "B": self.at_b.to(device)},
            name="name-pairs",
        )


def open_pairs(data: DataSettings, n_ctx: int, seed: int) -> Source:
    """The source of such sequences.

    Raises:
        TrainConfigError: settings that do not fit the context.
    """
    made = NamePairs(data.n_names, data.pairs, data.gap)
    if made.n_introduced + 3 > n_ctx:
        raise TrainConfigError(
            f"n_ctx={n_ctx} is too short: {made.pairs[1]} pairs with up to {made.gap[1]} words "
            f"between take {made.n_introduced} tokens, and a pair that comes again 3 more."
        )

    def rows(step: int, size: int) -> Int[Tensor, "batch pos"]:
        return as_tensor(made.draw(generator(seed, TRAINED, step), size, n_ctx + 1)[0])

    held_out, known, _ = made.draw(generator(seed, HELD_OUT, 0), _N_HELD_OUT, n_ctx + 1)
    tokenizer = made.tokenizer()
    return Source(
        tokenizer,
        rows,
        as_tensor(held_out),
        f"name-pairs {made} {tokenizer.digest}",
        known=as_tensor(known).bool(),
        prompt="{0} then {1}. {2} {3}. {0}".format(*NAMES),
        about={
            "text": "A ... B ... A -> B, drawn anew at every step",
            "vocabulary": f"{made.n_names} names, {len(WORDS)} words, the stop, BOS",
            "pairs": f"{made.pairs[0]} to {made.pairs[1]} in a sequence, {made.gap[0]} to "
            f"{made.gap[1]} words between A and B the first time",
        },
    )
