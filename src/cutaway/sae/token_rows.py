"""Sequences of tokens that a model is run on to get activations: a text of its own, or a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from .rows import SEQUENCES, digest_of, permuted


class TokenSource(ABC):
    """Sequences of one length, in blocks that their number alone decides."""

    n_sequences: int | None
    """Of a pass; None where there is always another one."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Equal for the same sequences in the same order."""

    @abstractmethod
    def block(self, number: int, size: int) -> tuple[Int[Tensor, "n pos"], Int[Tensor, "n"]]:
        """The sequences of a block, at most `size`, and the number of each in the source."""


class FixedTokens(TokenSource):
    """Sequences that are at hand; each pass takes all of them, in an order of its own.

    Args:
        tokens: [sequence, pos].
        seed: of the orders.

    Raises:
        ValueError: there are none.

    Example:
        >>> FixedTokens(pieces(model, tokens, n_ctx=64), seed=0)
    """

    def __init__(self, tokens: Int[Tensor, "n pos"], seed: int = 0) -> None:
        if tokens.ndim != 2 or not tokens.numel():
            raise ValueError(
                f"the text is empty: tokens have the shape [sequence, pos], and these have "
                f"{tuple(tokens.shape)}."
            )
        self.tokens, self.seed = tokens, seed
        self.n_sequences = len(tokens)

    @property
    def digest(self) -> str:
        """Of the tokens and the seed."""
        return digest_of("fixed", self.seed, self.tokens)

    def block(self, number: int, size: int) -> tuple[Int[Tensor, "n pos"], Int[Tensor, "n"]]:
        """Sequences from the order of the pass that the block is in."""
        n = len(self.tokens)
        a_pass, within = divmod(number, -(-n // size))
        order = permuted(n, self.seed, SEQUENCES, a_pass, self.tokens.device)
        chosen = order[within * size : (within + 1) * size]
        return self.tokens[chosen], chosen


class DrawnTokens(TokenSource):
    """Sequences of a stream without end, taken as they come: the embedded models' corpora.

    Args:
        sequences: (first, how many) -> tokens [sequence, pos]; must depend on the numbers alone.
        name: of the stream and its seed, for the digest.

    Example:
        >>> corpus = Corpus(seed=101)
        >>> DrawnTokens(corpus.sequences, "ioi-mini's text, seed 101")
    """

    n_sequences = None

    def __init__(self, sequences: Callable[[int, int], Int[Tensor, "n pos"]], name: str) -> None:
        self.sequences, self.name = sequences, name

    @property
    def digest(self) -> str:
        """Of the name and the first sequence."""
        return digest_of("drawn", self.name, self.sequences(0, 1))

    def block(self, number: int, size: int) -> tuple[Int[Tensor, "n pos"], Int[Tensor, "n"]]:
        """The next `size` sequences."""
        return self.sequences(number * size, size), torch.arange(number * size, (number + 1) * size)


def pieces(
    model: HookedTransformer, tokens: Sequence[int], n_ctx: int | None = None, fewest: int = 1
) -> Int[Tensor, "n pos"]:
    """A long text cut into pieces of one length, BOS before each where the model wants it.

    Args:
        model: whose text it is.
        tokens: of the text, without BOS.
        n_ctx: length of a piece with its BOS; None is the model's context.
        fewest: pieces that are needed.

    Raises:
        ValueError: an empty text, one too short for `fewest` pieces, or a length that does not fit
            the model.

    Example:
        >>> pieces(model, model.get_tokenizer().encode(text), n_ctx=128).shape
    """
    length = model.cfg.n_ctx if n_ctx is None else n_ctx
    start = model.start_tokens()
    own = length - len(start)
    if not (own >= 1 and length <= model.cfg.n_ctx):
        raise ValueError(
            f"n_ctx={length} does not fit: {model.cfg.model_name} takes pieces of "
            f"{len(start) + 1} to {model.cfg.n_ctx} tokens."
        )
    if not len(tokens):
        raise ValueError("the text is empty: there is nothing to run the model on.")
    n = len(tokens) // own
    if n < fewest:
        raise ValueError(
            f"the text has {len(tokens):,} tokens, which is {n} pieces of {own}: at least {fewest} "
            "are needed. Give a longer text, or a smaller n_ctx."
        )
    rows = torch.tensor(tokens[: n * own], dtype=torch.long).view(n, own)
    front = torch.tensor(start, dtype=torch.long).expand(n, len(start))
    return torch.cat([front, rows], dim=1)
