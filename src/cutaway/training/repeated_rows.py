"""Random tokens that come again and again: nothing but the first time says what comes next.

    <|bos|> t7 t31 t2 t18 t7 t31 t2 t18 t7 ...

Each sequence repeats a stretch of different tokens until it is full (Elhage et al. 2021, Olsson
et al. 2022). How long the stretch is is drawn as well, so that looking back by a fixed distance
does not help.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ..model.tokenizer import Tokenizer
from .config import TrainConfigError
from .source import HELD_OUT, TRAINED, Integers, Source, as_tensor, generator
from .word_tokenizer import SPECIAL, word_tokenizer

_N_HELD_OUT = 1000


def stretches(n_ctx: int) -> tuple[int, int]:
    """The shortest and the longest stretch: a quarter and half of the context."""
    return max(2, n_ctx // 4), max(2, n_ctx // 2)


def draw(
    rng: np.random.Generator, n: int, n_tokens: int, length: int, shortest: int, longest: int
) -> tuple[Integers, Integers]:
    """Sequences [n, length], and for each token whether it can be known."""
    tokens = rng.random((n, n_tokens)).argsort(1)[:, :longest] + len(SPECIAL)
    periods = rng.integers(shortest, longest + 1, (n, 1))
    place = np.arange(length - 1)
    rows = np.zeros((n, length), dtype=np.int64)
    known = np.zeros((n, length), dtype=np.int64)
    rows[:, 1:] = np.take_along_axis(tokens, place % periods, 1)
    known[:, 1:] = place > periods  # the first token that repeats cannot be: the length is drawn
    return rows, known


def open_repeats(n_tokens: int, n_ctx: int, seed: int) -> Source:
    """The source of such sequences.

    Raises:
        TrainConfigError: fewer tokens than the longest stretch has, or too short a context.
    """
    shortest, longest = stretches(n_ctx)
    if n_ctx < 8:
        raise TrainConfigError(f"n_ctx={n_ctx} is too short for tokens that repeat: at least 8.")
    if n_tokens < longest:
        raise TrainConfigError(
            f"n_tokens={n_tokens} is too few: a stretch has up to {longest} different ones "
            f"(half of n_ctx={n_ctx})."
        )

    def rows(step: int, size: int) -> Int[Tensor, "batch pos"]:
        rng = generator(seed, TRAINED, step)
        return as_tensor(draw(rng, size, n_tokens, n_ctx + 1, shortest, longest)[0])

    held_out, known = draw(
        generator(seed, HELD_OUT, 0), _N_HELD_OUT, n_tokens, n_ctx + 1, shortest, longest
    )
    words = [f" t{i}" for i in range(n_tokens)]
    tokenizer = Tokenizer(word_tokenizer([*SPECIAL, *words], space_first=True))
    return Source(
        tokenizer,
        rows,
        as_tensor(held_out),
        f"repeated-tokens {n_tokens}",
        known=as_tensor(known).bool(),
        prompt="t7 t31 t2 t18 t7",
        about={
            "text": f"{shortest} to {longest} random tokens, repeated until the context is full",
            "vocabulary": f"{n_tokens} tokens, BOS and its like",
        },
    )
