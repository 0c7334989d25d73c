"""The training text of `induction-2l`: three kinds of input, each predictable in its own way.

- **Memorised**: sayings, word by word the same each time. Their words are shared, so that the word
  before does not tell the next one: the weights have to know the saying.
- **Repeated**: words drawn at random, of which stretches come again later. Nothing but the first
  time says what comes next in the second.
- **Novel**: a chain of words in which each word draws the next one by fixed odds. The word before
  is all there is to know.

Training sequences mix them. `Corpus.memorised`, `.repeated` and `.novel` give each kind alone, with
the tokens marked that can be known from what stands before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from .induction_words import CLASSES, FOLLOWS, SAYINGS
from .word_tokenizer import SPECIAL, word_tokenizer

Integers = NDArray[np.int64]

N_CTX = 64
STRETCHES = (6, 12, 24, 31)  # most tokens of a stretch, one of these for each sequence
SHORTEST = 3  # tokens of a stretch that comes again
LESSON = 32_000  # sequences at the beginning that are repeats only: the heads that copy form sooner
FRESH = 0.2  # share of stretches that are new, after the first
FAVOURITES = (0.4, 0.2, 0.1, 0.06, 0.04)  # a word's odds for its favourite words of a class;
# what is left goes to all words of the class alike
CHAIN_SEED = 2  # of the favourites: part of what the language is, not of what is drawn from it


@cache
def vocabulary() -> tuple[str, ...]:
    """All tokens in the order of their ids: special tokens, then words with a space before them.

    Example:
        >>> len(vocabulary()), vocabulary()[:5]
        (431, ('<|bos|>', '<|pad|>', '<|unk|>', ' a', ' about'))
    """
    words = {word for saying in SAYINGS for word in saying.split()}
    words.update(word for listed in CLASSES.values() for word in listed)
    return (*SPECIAL, *(f" {word}" for word in sorted(words)))


def build_tokenizer() -> Tokenizer:
    """The tokenizer of `vocabulary()`.

    Example:
        >>> build_tokenizer().encode("the old miller").tokens
        [' the', ' old', ' miller']
    """
    return word_tokenizer(vocabulary(), space_first=True)


@dataclass(frozen=True)
class Kind:
    """Sequences of one kind, and which of their tokens can be known."""

    tokens: Int[Tensor, "n pos"]
    """BOS first."""
    known: Bool[Tensor, "n pos"]
    """True where one token can follow from what stands before and no other: in a saying from its
    third word on, in a repeat from its second. Of novel text none."""


class Corpus:
    """The stream of training sequences: sequence i depends on the seed and on i alone.

    Args:
        seed: of all that is drawn; the language (sayings, odds of the chain) is always the same.
        n_ctx: tokens of a sequence, BOS included.

    Example:
        >>> corpus = Corpus(seed=0)
        >>> corpus.sequences(0, 32).shape, corpus.repeated(4).tokens.shape
        (torch.Size([32, 64]), torch.Size([4, 63]))
    """

    def __init__(self, seed: int = 0, n_ctx: int = N_CTX) -> None:
        """Nothing is drawn before it is asked for."""
        self.seed = seed
        self.n_ctx = n_ctx

    def sequences(self, start: int, count: int) -> Int[Tensor, "count n_ctx"]:
        """Sequences `start` to `start + count` of the stream."""
        if start < 0 or count < 1:
            raise ValueError(f"There are no {count} sequences from number {start} on.")
        rows = [self._sequence(i) for i in range(start, start + count)]
        return torch.from_numpy(np.stack(rows))

    def memorised(self, n: int, seed: int = 0) -> Kind:
        """Sayings one after the other, none of them twice in a sequence: [n, n_ctx]."""
        rng = np.random.default_rng([self.seed, seed, 1])
        tokens, known = np.zeros((2, n, self.n_ctx), dtype=np.int64)
        for row, marks in zip(tokens, known, strict=True):
            order = rng.permutation(len(SAYINGS))
            words = np.concatenate([sayings()[k] for k in order])[: self.n_ctx - 1]
            place = np.concatenate([np.arange(sayings()[k].size) for k in order])
            row[1:], marks[1:] = words, place[: self.n_ctx - 1] >= 2
        return Kind(torch.from_numpy(tokens), torch.from_numpy(known.astype(bool)))

    def repeated(self, n: int, seed: int = 0, half_length: int | None = None) -> Kind:
        """[BOS, r1 ... rT, r1 ... rT] of different random words: [n, 1 + 2 T].

        Args:
            n: how many.
            seed: of the words.
            half_length: T; None is the longest that fits.
        """
        longest = (self.n_ctx - 1) // 2
        length = longest if half_length is None else half_length
        if not 2 <= length <= longest:
            raise ValueError(f"half_length={length} is not from 2 to {longest}.")
        rng = np.random.default_rng([self.seed, seed, 2])
        words = np.arange(len(SPECIAL), len(vocabulary()))
        halves = np.stack([rng.permutation(words)[:length] for _ in range(n)])
        tokens = np.concatenate([np.zeros((n, 1), dtype=np.int64), halves, halves], axis=1)
        known = np.zeros(tokens.shape, dtype=bool)
        known[:, length + 2 :] = True
        return Kind(torch.from_numpy(tokens), torch.from_numpy(known))

    def novel(self, n: int, seed: int = 0) -> Kind:
        """The chain from its beginning: [n, n_ctx]."""
        rng = np.random.default_rng([self.seed, seed, 3])
        tokens = np.zeros((n, self.n_ctx), dtype=np.int64)
        for row in tokens:
            row[1:] = _chain(rng, self.n_ctx - 1)
        return Kind(torch.from_numpy(tokens), torch.zeros(tokens.shape, dtype=torch.bool))

    def text(self, start: int = 0, count: int = 1) -> list[str]:
        """Some training sequences as readable text, special tokens included."""
        tokens = vocabulary()
        return ["".join(tokens[i] for i in row) for row in self.sequences(start, count).tolist()]

    def _sequence(self, index: int) -> Integers:
        """BOS and stretches of one of three mixtures, the last one cut off at `n_ctx`."""
        rng = np.random.default_rng([self.seed, 0, index])
        draw = rng.random() if index >= LESSON else 0.0
        row = np.zeros(self.n_ctx, dtype=np.int64)  # BOS has the id 0
        filled = 1
        stretches = _repeats if draw < 0.6 else _sayings if draw < 0.8 else _novel
        for stretch in stretches(rng, row):
            taken = stretch[: self.n_ctx - filled]
            row[filled : filled + taken.size] = taken
            filled += taken.size
            if filled == self.n_ctx:
                break
        return row


# Each of these yields stretches without end; `row` holds what was yielded so far, zeros behind it.


def _repeats(rng: np.random.Generator, row: Integers) -> Iterator[Integers]:
    """Fresh stretches (random words, one in four the chain) and copies of anything before.

    A copy begins anywhere and is of any length, so that neither distance nor place says what is
    copied. Sequences of short stretches are easy and come to be predicted first: there are few
    places that attention could be at.
    """
    longest = int(rng.choice(STRETCHES))
    yield _fresh(rng, longest)
    while True:
        filled = int(np.flatnonzero(row)[-1]) + 1
        if rng.random() < FRESH:
            yield _fresh(rng, longest)
        else:
            length = int(rng.integers(SHORTEST, min(longest, filled - 1) + 1))
            first = int(rng.integers(1, filled - length + 1))
            yield row[first : first + length].copy()


def _fresh(rng: np.random.Generator, longest: int) -> Integers:
    length = int(rng.integers((longest + 1) // 2, longest + 1))
    if rng.random() < 0.25:
        return _chain(rng, length)
    return rng.integers(len(SPECIAL), len(vocabulary()), length)


def _sayings(rng: np.random.Generator, row: Integers) -> Iterator[Integers]:
    """Sayings, none of them twice; before half of them some words of the chain."""
    for k in rng.permutation(len(SAYINGS)):
        if rng.random() < 0.5:
            yield _chain(rng, int(rng.integers(1, 13)))
        yield sayings()[k]


def _novel(rng: np.random.Generator, row: Integers) -> Iterator[Integers]:
    """The chain alone."""
    yield _chain(rng, row.size)


@cache
def sayings() -> tuple[Integers, ...]:
    """The tokens of every saying."""
    return tuple(_ids(saying.split()) for saying in SAYINGS)


@cache
def _classes() -> dict[str, Integers]:
    return {name: _ids(words) for name, words in CLASSES.items()}


def _ids(words: Sequence[str]) -> Integers:
    ids = {token: i for i, token in enumerate(vocabulary())}
    return np.array([ids[f" {word}"] for word in words])


@cache
def chain_odds() -> NDArray[np.float64]:
    """The odds of the chain: [word, next word], rows sum to 1 (those of words outside it to 0)."""
    rng = np.random.default_rng(CHAIN_SEED)
    odds = np.zeros((len(vocabulary()), len(vocabulary())))
    for name, words in _classes().items():
        for word in words:
            for following, share in FOLLOWS[name].items():
                among = _classes()[following]
                odds[word, among] += share * (1 - sum(FAVOURITES)) / among.size
                favourites = rng.permutation(among)[: len(FAVOURITES)]
                odds[word, favourites] += share * np.array(FAVOURITES)[: favourites.size]
    rows: NDArray[np.float64] = odds / np.maximum(odds.sum(1, keepdims=True), 1e-300)
    return rows


@cache
def _cumulative_odds() -> NDArray[np.float64]:
    return chain_odds().cumsum(1)


def _chain(rng: np.random.Generator, length: int) -> Integers:
    """A stretch of the chain; it begins with a determiner."""
    cumulative, draws, starts = _cumulative_odds(), rng.random(length), _classes()["determiner"]
    words = np.empty(length, dtype=np.int64)
    words[0] = starts[int(draws[0] * starts.size)]
    for i in range(1, length):
        row = cumulative[words[i - 1]]
        words[i] = np.searchsorted(row, draws[i] * row[-1], side="right")
    return words
