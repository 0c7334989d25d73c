"""What random prompts are made of in any vocabulary: what goes first, and what can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .prompts import TaskError

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer


def first_tokens(model: HookedTransformer, bos_token: int | None = None) -> list[int]:
    """What stands before random tokens: BOS, if it is given or the model wants it and has one.

    Args:
        model: gives the vocabulary, and BOS if it has a tokenizer.
        bos_token: what goes first; None means BOS if the model wants it and has a tokenizer.

    Raises:
        TaskError: a token that the vocabulary does not have.

    Example:
        >>> first_tokens(model, bos_token=0)  # doctest: +SKIP
        [0]
    """
    if bos_token is not None:
        if not 0 <= bos_token < model.cfg.d_vocab:
            raise TaskError(f"bos_token={bos_token} is not from 0 to {model.cfg.d_vocab - 1}.")
        return [bos_token]
    return [] if model.tokenizer is None else model.start_tokens()


def drawable_tokens(
    model: HookedTransformer, given: Sequence[int] | None, start: Sequence[int]
) -> list[int]:
    """The tokens to draw from, in order.

    Args:
        model: gives the vocabulary, and the special tokens if it has a tokenizer.
        given: the tokens to draw from; None means all but special ones and those of `start`.
        start: what stands before the drawn tokens.

    Raises:
        TaskError: a given token that the vocabulary does not have.
    """
    n, tokenizer = model.cfg.d_vocab, model.tokenizer
    if given is not None:
        found = sorted({int(token) for token in given})
        outside = [token for token in found if not 0 <= token < n]
        if outside:
            raise TaskError(
                f"vocabulary holds {outside[0]}, but {model.cfg.model_name} has tokens 0 to "
                f"{n - 1}."
            )
        return found
    special: set[int | None] = {*start}
    if tokenizer is not None:
        n = min(n, tokenizer.vocab_size)
        special |= {
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
            tokenizer.unk_token_id,
        }
    return [token for token in range(n) if token not in special]
