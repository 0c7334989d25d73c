"""N-gram models of a text: what counting says of the next token.

Witten and Bell (1991, method C), as an interpolation (Chen and Goodman 1999, section 2.2). With h
the k - 1 tokens before, c(h, w) how often w came after them, c(h) the sum over w and T(h) how many
different tokens came,

    p_k(w | h) = (c(h, w) + T(h) p_(k-1)(w | h')) / (c(h) + T(h))

where h' leaves out the first token of h, and p_0(w) = 1 / V. Where h was never seen, p_k is
p_(k-1).
So the model of every lower order is contained in that of a higher one, which is what a comparison
of orders needs (Kneser and Ney's lower orders are made for backing off alone, and are no models of
the text).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

NEVER = -1  # the number of a context that the text does not have
_CELLS = 2**23  # probabilities held at a time beside the result


@dataclass(frozen=True, eq=False)
class _Counts:
    """What came after every context of one length. Contexts are numbered in sorted order."""

    contexts: Int[Integers, " context"]
    """Each as one number: its first token * contexts of the rest + number of the rest."""
    starts: Int[Integers, " context_plus_1"]
    """Where the followers of each begin in `tokens`."""
    tokens: Int[Integers, " entry"]
    """The different tokens that came after a context."""
    counts: Int[Integers, " entry"]
    """How often each came."""

    @property
    def totals(self) -> Int[Integers, " context"]:
        """c(h)."""
        sums: Integers = np.add.reduceat(self.counts, self.starts[:-1])
        return sums


@dataclass(frozen=True, eq=False)
class NGrams:
    """Interpolated n-gram models of one text, of order 1 up to `order`.

    Order 1 knows only how frequent each token is, order 2 (bigrams) the token before, and so on.

    Example:
        >>> models = fit_ngrams(np.array([0, 1, 0, 1, 0]), d_vocab=2, order=2)
        >>> np.exp(models.log_probabilities(np.array([[0]])))[0, 0].round(3)  # after a 0
        array([0.183, 0.817])
    """

    order: int
    """The highest."""
    d_vocab: int
    """Tokens of the vocabulary."""
    n_tokens: int
    """Of the text."""
    _levels: tuple[_Counts, ...]
    """Of contexts of 0, 1, ... order - 1 tokens."""

    def log_probabilities(
        self, tokens: Int[Integers, "prompt pos"], order: int | None = None
    ) -> Float[Floats, "prompt pos d_vocab"]:
        """log p(next token) after each position, in nats.

        The first positions of a prompt have fewer tokens before them than the order asks for, and
        are read with those that there are: nothing before the prompt is known.

        Args:
            tokens: prompts, without padding.
            order: tokens that are looked at, the predicted one counted; None means the highest.

        Raises:
            ValueError: an order that was not fitted, or a token that is not in the vocabulary.
        """
        order = self._checked(order)
        tokens = np.asarray(tokens)
        _check_tokens(tokens, self.d_vocab)
        numbers = self._contexts(tokens, order)  # [length, prompt, pos]
        flat = numbers.reshape(order, -1)
        found = np.empty((flat.shape[1], self.d_vocab))
        step = max(1, _CELLS // self.d_vocab)
        for at in range(0, len(found), step):
            found[at : at + step] = self._distributions(flat[:, at : at + step])
        return np.log(found).reshape(*tokens.shape, self.d_vocab)

    def of_order(self, order: int) -> NGrams:
        """The model of a lower order, which is part of this one.

        Raises:
            ValueError: an order that was not fitted.
        """
        order = self._checked(order)
        return NGrams(order, self.d_vocab, self.n_tokens, self._levels[:order])

    def losses(
        self, tokens: Int[Integers, "prompt pos"], order: int | None = None
    ) -> Float[Floats, "prompt pos_less_1"]:
        """-log p of every token but the first of each prompt, in nats.

        Example:
            >>> models.losses(held_out, order=2).mean()  # doctest: +SKIP
            2.48
        """
        logs = self.log_probabilities(tokens[:, :-1], order)
        targets = np.asarray(tokens)[:, 1:, None]
        return -np.take_along_axis(logs, targets, axis=-1)[..., 0]

    def _checked(self, order: int | None) -> int:
        if order is None:
            return self.order
        if not 1 <= order <= self.order:
            raise ValueError(f"order={order} was not fitted; there are 1 to {self.order}.")
        return order

    def _contexts(
        self, tokens: Int[Integers, "prompt pos"], order: int
    ) -> Int[Integers, "length prompt pos"]:
        """The number of the context of each length that ends at each position, or NEVER."""
        numbers = np.full((order, *tokens.shape), NEVER, dtype=np.int64)
        numbers[0] = 0
        for length in range(1, order):
            rest = numbers[length - 1, :, length - 1 :]
            first = tokens[:, : tokens.shape[1] - length + 1]
            level, below = self._levels[length], self._levels[length - 1]
            code = first * len(below.contexts) + rest
            at = np.searchsorted(level.contexts, code).clip(max=max(0, len(level.contexts) - 1))
            if len(level.contexts):
                known = (rest != NEVER) & (level.contexts[at] == code)
                numbers[length, :, length - 1 :] = np.where(known, at, NEVER)
        return numbers

    def _distributions(self, numbers: Int[Integers, "length row"]) -> Floats:
        """p(next token) [row, d_vocab], from the shortest context to the longest."""
        p = np.full((numbers.shape[1], self.d_vocab), 1 / self.d_vocab)
        for level, number in zip(self._levels, numbers, strict=False):
            rows = np.flatnonzero(number != NEVER)
            if not len(rows):
                continue
            known, which = np.unique(number[rows], return_inverse=True)
            counts = np.zeros((len(known), self.d_vocab))
            lengths = level.starts[known + 1] - level.starts[known]  # T(h)
            row = np.repeat(np.arange(len(known)), lengths)
            within = np.arange(len(row)) - np.repeat(lengths.cumsum() - lengths, lengths)
            entry = level.starts[known][row] + within
            counts[row, level.tokens[entry]] = level.counts[entry]
            kinds = lengths[which][:, None]
            total = counts.sum(1)[which][:, None]
            p[rows] = (counts[which] + kinds * p[rows]) / (total + kinds)
        return p


def fit_ngrams(tokens: Int[Integers, " pos"], d_vocab: int, order: int = 5) -> NGrams:
    """Count a text.

    Args:
        tokens: the whole text as one row.
        d_vocab: tokens of the vocabulary, those that the text lacks counted.
        order: the highest order, at least 1.

    Raises:
        ValueError: no text, an order below 1, a token that is not in the vocabulary.

    Example:
        >>> fit_ngrams(np.array([0, 1, 0, 1, 0]), d_vocab=2, order=3).order
        3
    """
    tokens = np.asarray(tokens).astype(np.int64)
    if order < 1 or tokens.ndim != 1 or not len(tokens):
        raise ValueError(
            f"order={order} must be at least 1, and tokens {tokens.shape} one row with a token."
        )
    _check_tokens(tokens, d_vocab)
    levels = []
    number = np.zeros(len(tokens), dtype=np.int64)  # of the context that ends before each token
    n_contexts = 1
    contexts: Integers = np.zeros(1, dtype=np.int64)
    for length in range(order):
        # From position `length` on there are that many tokens before.
        levels.append(_count(contexts, number[length:], tokens[length:], d_vocab))
        if length + 1 < order:
            first = tokens[: max(0, len(tokens) - length - 1)]
            code = first * n_contexts + number[length + 1 :]
            contexts, ranked = np.unique(code, return_inverse=True)
            number = np.concatenate([np.full(length + 1, NEVER), ranked])[: len(tokens)]
            n_contexts = len(contexts)
    return NGrams(order, d_vocab, len(tokens), tuple(levels))


def _count(contexts: Integers, number: Integers, tokens: Integers, d_vocab: int) -> _Counts:
    """How often each token came after each context."""
    pairs, counts = np.unique(number * d_vocab + tokens, return_counts=True)
    owner, follower = np.divmod(pairs, d_vocab)
    starts = np.searchsorted(owner, np.arange(len(contexts) + 1))
    return _Counts(contexts, starts, follower, counts)


def _check_tokens(tokens: Integers, d_vocab: int) -> None:
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < d_vocab):
        raise ValueError(
            f"the tokens reach from {tokens.min()} to {tokens.max()}; the vocabulary has 0 to "
            f"{d_vocab - 1}."
        )
