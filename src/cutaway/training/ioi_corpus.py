"""The training text of `ioi-mini`: an endless, seeded stream of fixed-length token sequences.

Every sentence is compiled once into an array of codes for tokens and slots (`ioi_compiled`).
A block of sequences is drawn by choosing sentences and slot values for all of them at once and
looking everything up in these arrays, so no text is handled.

No two names of a held-out pair (`ioi_text.pair_is_held_out`) ever share a sequence: each sequence
has a cast of names without such pairs, and all its names, random tokens included, come from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..tasks import ioi_text
from . import ioi_sentences
from .ioi_compiled import (
    COLUMN,
    NAME_SLOTS,
    RANDOM_SLOTS,
    SLOTS,
    Integers,
    compiled_sentences,
    word_tables,
)
from .ioi_vocabulary import SPECIAL, build_tokenizer, vocabulary

BLOCK = 512  # sequences drawn at a time
CAST = 16  # names that can occur in one sequence
SENTENCES = 4  # most sentences of one document


@dataclass(frozen=True)
class Mixture:
    """What the documents are; the first five are weights and need not sum to one."""

    ioi: float = 0.45
    """An IOI sentence of the training templates, its answer and a full stop."""
    gift: float = 0.2
    """Two people meet, something is said, one acts on the other: IOI without a template."""
    scene: float = 0.15
    """One to four sentences about the same people and places."""
    set_piece: float = 0.1
    """A question with its answer, a list, a chain, a thing that changes hands."""
    repeat: float = 0.1
    """Random tokens, twice: nothing but induction predicts the second half."""
    ioi_in_context: float = 0.25
    """Share of the IOI sentences that come after one to three sentences about other people."""
    third_giver: float = 0.15
    """Share of the IOI sentences in which a third person gives, so both names are right."""


def _casts(rng: np.random.Generator, n: int) -> Integers:
    """For each sequence CAST different names without a held-out pair: [sequence, cast]."""
    tables = word_tables()
    rows = np.arange(n)
    priority = rng.random((n, len(ioi_text.NAMES)))
    cast = np.empty((n, CAST), dtype=np.int64)
    stuck = np.zeros(n, dtype=bool)
    for k in range(CAST):
        cast[:, k] = priority.argmax(1)
        stuck |= priority[rows, cast[:, k]] < 0
        priority[tables.apart[cast[:, k]]] = -1.0
    if stuck.any():
        cast[stuck] = _casts(rng, int(stuck.sum()))
    return cast


class Corpus:
    """The stream of training sequences: sequence i depends on the seed and on i alone.

    Each sequence is a run of whole documents, every one after its own BOS, the last one cut
    off at `n_ctx`.

    Example:
        >>> corpus = Corpus(seed=0)
        >>> corpus.batch(32).shape
        torch.Size([32, 64])
    """

    def __init__(self, seed: int = 0, n_ctx: int = 64, mixture: Mixture | None = None) -> None:
        """Open the stream at its beginning; `position` may be set to resume elsewhere."""
        self.seed = seed
        self.n_ctx = n_ctx
        self.mixture = mixture or Mixture()
        self.position = 0
        values = {field.name: getattr(self.mixture, field.name) for field in fields(Mixture)}
        for name, value in values.items():
            if value < 0:
                raise ValueError(f"Mixture.{name}={value} is negative.")
        weights = np.array([values[kind] for kind in _KINDS])
        if weights.sum() <= 0:
            raise ValueError(f"One of the weights {', '.join(_KINDS)} must be positive.")
        self._weights = weights / weights.sum()
        self._cached: tuple[int, Integers] | None = None

    def batch(self, n: int) -> Int[Tensor, "n n_ctx"]:
        """The next `n` sequences."""
        self.position += n
        return self.sequences(self.position - n, n)

    def sequences(self, start: int, count: int) -> Int[Tensor, "count n_ctx"]:
        """Sequences `start` to `start + count` of the stream, wherever `batch` has got to."""
        if start < 0 or count < 1:
            raise ValueError(f"There are no {count} sequences from number {start} on.")
        first, last = start // BLOCK, (start + count - 1) // BLOCK
        blocks = np.concatenate([self._block(b) for b in range(first, last + 1)])
        offset = start - first * BLOCK
        return torch.from_numpy(blocks[offset : offset + count].copy())

    def text(self, start: int = 0, count: int = 1) -> list[str]:
        """Some sequences as readable text, special tokens included."""
        tokenizer = build_tokenizer()
        rows = self.sequences(start, count).tolist()
        return [tokenizer.decode(row, skip_special_tokens=False) for row in rows]

    def _block(self, index: int) -> Integers:
        if self._cached is None or self._cached[0] != index:
            rng = np.random.default_rng([self.seed, index])
            self._cached = (index, self._draw(rng, BLOCK))
        return self._cached[1]

    def _draw(self, rng: np.random.Generator, n: int) -> Integers:
        """`n` sequences: [sequence, n_ctx]."""
        sentences, tables = compiled_sentences(), word_tables()
        documents = -(-self.n_ctx // sentences.shortest)  # enough, however short they are
        kinds = rng.choice(len(_KINDS), p=self._weights, size=(n, documents))
        plans = self._plans(rng, kinds).reshape(n, documents * SENTENCES)
        following = np.arange(documents * SENTENCES) % SENTENCES > 0
        forms = np.minimum(2 * plans + following, 2 * sentences.empty)
        ends = np.minimum(sentences.lengths[forms].cumsum(1), self.n_ctx)
        lengths = np.diff(ends, axis=1, prepend=0).ravel()
        segment = np.repeat(np.arange(lengths.size), lengths)  # [sequence * n_ctx]
        within = np.arange(segment.size) - (lengths.cumsum() - lengths)[segment]
        codes = sentences.codes[sentences.starts[forms.ravel()[segment]] + within]
        values = self._values(rng, kinds, _casts(rng, n)).reshape(-1, len(SLOTS))
        tokens = np.where(
            codes >= 0, codes, values[segment // SENTENCES, np.maximum(-1 - codes, 0)]
        )
        opens = (segment % SENTENCES == 0) & (within == 1)
        block: Integers = np.where(opens, tables.unspaced[tokens], tokens)
        return block.reshape(n, self.n_ctx)

    def _plans(self, rng: np.random.Generator, kinds: Integers) -> Integers:
        """The sentences of every document: [sequence, document, SENTENCES]."""
        sentences = compiled_sentences()
        plans = np.full((*kinds.shape, SENTENCES), sentences.empty)
        draw: dict[str, Callable[[np.random.Generator, int], Integers]] = {
            "ioi": self._ioi,
            "gift": _gift,
            "scene": _scene,
            "set_piece": lambda rng, n: _one(rng, n, "set_piece"),
            "repeat": lambda rng, n: _one(rng, n, "repeat"),
        }
        for i, kind in enumerate(_KINDS):
            chosen = kinds == i
            plan = draw[kind](rng, int(chosen.sum()))
            plans[chosen, : plan.shape[1]] = plan
        return plans

    def _ioi(self, rng: np.random.Generator, n: int) -> Integers:
        """No to three sentences about {a} and {b}, then the IOI sentence about {c} and {d}."""
        plan = np.full((n, SENTENCES), compiled_sentences().empty)
        in_context = rng.random(n) < self.mixture.ioi_in_context
        before = np.where(in_context, rng.integers(1, SENTENCES, n), 0)
        context = _pick(rng, "statement", (n, SENTENCES))
        third = rng.random(n) < self.mixture.third_giver
        last = np.where(third, _pick(rng, "third_giver", n), _pick(rng, "ioi", n))
        columns = np.arange(SENTENCES)
        plan = np.where(columns < before[:, None], context, plan)
        plan[np.arange(n), before] = last
        return plan

    def _values(self, rng: np.random.Generator, kinds: Integers, cast: Integers) -> Integers:
        """A token for every slot of every document: [sequence, document, slot]."""
        tables, shape = word_tables(), kinds.shape
        values = np.zeros((*shape, len(SLOTS)), dtype=np.int64)
        number: dict[str, Integers] = {}  # of the word in its list
        names = _distinct(rng, shape, CAST, len(NAME_SLOTS))
        for slot, index in zip(NAME_SLOTS, names, strict=True):
            number[slot] = np.take_along_axis(cast, index, 1)
            values[..., COLUMN[slot]] = tables.names[0, number[slot]]
        for slot, words in ioi_sentences.LISTS.items():
            number[slot] = rng.integers(len(words), size=shape)
        for slot in ("place", "object"):
            n_words = len(ioi_sentences.LISTS[slot])
            number[slot + "2"] = (number[slot] + rng.integers(1, n_words, shape)) % n_words
            values[..., COLUMN[slot + "2"]] = tables.lists[slot][number[slot + "2"]]
        for slot, (leader, _) in ioi_sentences.ALIGNED.items():
            number[slot] = number[leader]
        for slot, tokens in tables.lists.items():
            values[..., COLUMN[slot]] = tokens[number[slot]]
        repeated = kinds == _KINDS.index("repeat")
        values[repeated, COLUMN[RANDOM_SLOTS[0]] :] = _random_tokens(
            rng, cast[np.nonzero(repeated)[0]]
        )
        return values


_KINDS = ("ioi", "gift", "scene", "set_piece", "repeat")


def _pick(rng: np.random.Generator, group: str, size: int | tuple[int, ...]) -> Integers:
    numbers = compiled_sentences().groups[group]
    return numbers[rng.integers(len(numbers), size=size)]


def _one(rng: np.random.Generator, n: int, group: str) -> Integers:
    return _pick(rng, group, (n, 1))


def _gift(rng: np.random.Generator, n: int) -> Integers:
    """An opener, no to two sentences without people, an ending."""
    middles = _pick(rng, "middle", (n, 2))
    middles[rng.random((n, 2)) < 0.6] = compiled_sentences().empty
    parts: Sequence[Integers] = (_one(rng, n, "opener"), middles, _one(rng, n, "ending"))
    return np.concatenate(parts, axis=1)


def _scene(rng: np.random.Generator, n: int) -> Integers:
    """One to four statements."""
    plan = _pick(rng, "statement", (n, SENTENCES))
    plan[np.arange(SENTENCES) >= rng.integers(1, SENTENCES + 1, n)[:, None]] = (
        compiled_sentences().empty
    )
    return plan


def _distinct(
    rng: np.random.Generator, shape: tuple[int, ...], n: int, k: int
) -> tuple[Integers, ...]:
    """`k` different numbers below `n` for every cell; `n` must be a power of two, because an
    odd step visits all numbers before it comes back to the first.
    """
    start = rng.integers(n, size=shape)
    step = 2 * rng.integers(n // 2, size=shape) + 1
    return tuple((start + i * step) % n for i in range(k))


def _random_tokens(rng: np.random.Generator, cast: Integers) -> Integers:
    """Tokens from the whole vocabulary for each row of `cast`, but names from the cast only."""
    tables = word_tables()
    shape = (len(cast), len(RANDOM_SLOTS))
    tokens = rng.integers(len(SPECIAL), len(vocabulary()), size=shape)
    name = np.take_along_axis(cast, rng.integers(CAST, size=shape), 1)
    bare = (tables.unspaced[tokens] == tokens).astype(np.int64)
    tokens = np.where(tables.name_of[tokens] >= 0, tables.names[bare, name], tokens)
    tokens[:, 0] = tables.unspaced[tokens[:, 0]]  # a text starts without a space, both times
    return tokens
