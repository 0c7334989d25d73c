"""Prompts after which a model that can repeat says a given token.

A verification (Land and Bartolo 2024, section 2.3) needs prompts that make an ordinary token
likely. What does that depends on the model: one that reads text is asked in words, one that only
knows lists is given lists. Each maker takes a token and gives the ids of a prompt that ends just
before it. The words are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from ..model.tokenizer import Tokenizer
from ..model.transformer import HookedTransformer
from ..tasks.random_tokens import first_tokens
from .undertrained_indicators import Indicators

PromptMaker = Callable[[int], list[int]]
"""A token -> the ids of a prompt that ends just before it."""

_LISTS = ((3, 1), (5, 2), (8, 6))
"""(words of the list, place of the token in it): three lists for a model that repeats lists."""
_TEXTS = (
    ("Each line holds the same entry twice.\nriver | river\nseven | seven\n", " |"),
    ('Echo, as often as asked. Asked four times: "', '", "', '", "', '", "'),
    ("The sign on the gate says", ".\nI read it again, and the sign on the gate says"),
)
"""Pieces between which the token stands; at the end of the last one it is asked for."""


def list_prompts(
    model: HookedTransformer, ordinary: Sequence[int], seed: int = 0
) -> tuple[PromptMaker, ...]:
    """Three lists of ordinary tokens with the token among them, twice, and a third time up to it.

        <|bos|> a X c a X c a -> X

    Args:
        model: whether BOS goes first.
        ordinary: tokens that lists are made of; one that is asked for stands in no other place.
        seed: of the words that are drawn.

    Raises:
        ValueError: fewer ordinary tokens than the longest list has.
    """
    longest = max(size for size, _ in _LISTS)
    if len(set(ordinary)) <= longest:
        raise ValueError(
            f"{len(set(ordinary))} ordinary tokens are too few for lists of {longest}: at least "
            f"{longest + 1}."
        )
    start = first_tokens(model)
    pool = sorted(set(ordinary))

    def maker(number: int, size: int, place: int) -> PromptMaker:
        drawn = np.random.default_rng([seed, number]).permutation(pool)[: size + 1].tolist()

        def make(token: int) -> list[int]:
            words = [word for word in drawn if word != token][:size]
            words[place] = token
            return [*start, *words, *words, *words[:place]]

        return make

    return tuple(maker(number, *one) for number, one in enumerate(_LISTS))


def text_prompts(model: HookedTransformer) -> tuple[PromptMaker, ...]:
    """Three texts that ask for a token again, for models that read English.

    The token is put between the pieces by its number, so that one that no text gives can be asked
    for as well.

    Raises:
        ValueError: a model without a tokenizer, or one whose vocabulary lacks these words.
    """
    tokenizer = model.get_tokenizer()
    if not reads_text(tokenizer):
        raise ValueError(
            f"{model.cfg.model_name} does not know the words of the text prompts: use "
            "list_prompts, or makers of your own."
        )
    start = model.start_tokens()

    def maker(pieces: Sequence[str]) -> PromptMaker:
        first, *others = (tokenizer.encode(piece) for piece in pieces)

        def make(token: int) -> list[int]:
            prompt = [*start, *first]
            for piece in others:
                prompt += [token, *piece]
            return prompt

        return make

    return tuple(map(maker, _TEXTS))


def reads_text(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer knows every word of the text prompts, each in few tokens."""
    words = " ".join(piece for pieces in _TEXTS for piece in pieces)
    try:
        ids = tokenizer.encode(words)
    except ValueError:
        return False
    is_known = tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids
    return is_known and len(ids) < len(words) / 2


def prompt_makers(
    model: HookedTransformer, ordinary: Sequence[int], seed: int = 0
) -> tuple[PromptMaker, ...]:
    """Text prompts for a model that reads text, otherwise lists."""
    if model.tokenizer is not None and reads_text(model.tokenizer):
        return text_prompts(model)
    return list_prompts(model, ordinary, seed)


def ordinary_tokens(found: Indicators, n: int | None = None, seed: int = 0) -> list[int]:
    """Tokens that look trained: text, and in the half that the chosen indicator suspects least.

    Whole words of letters go before others where there are enough of them. They are drawn at
    random.

    Args:
        found: the indicators.
        n: how many; None means all.
        seed: of the draw.

    Raises:
        ValueError: there are not so many.

    Example:
        >>> ordinary_tokens(indicators(model), 3)  # doctest: +SKIP
        [41, 377, 215]
    """
    values = found.values[found.chosen]
    text = np.array([kind == "text" for kind in found.kinds])
    if not text.any():
        raise ValueError(f"{found.model} has no ordinary token of text.")
    text[list(found.unused.tokens)] = False
    upper: Int[NDArray[np.int64], " token"] = np.flatnonzero(
        text & (values >= np.median(values[text]))
    )
    words = [
        int(one)
        for one in upper
        if found.texts[one].startswith(" ") and found.texts[one][1:].isalpha()
    ]
    wanted = len(upper) if n is None else n
    pool = words if (n is None and len(words) >= 64) or len(words) >= wanted else upper.tolist()
    if n is not None and not 1 <= n <= len(pool):
        raise ValueError(f"{found.model} has {len(pool)} ordinary tokens, and {n} are asked for.")
    drawn = np.random.default_rng(seed).permutation(pool)
    return [int(token) for token in drawn[:n]]
