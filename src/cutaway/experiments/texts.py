"""Texts as tokens: one of the user's own, a file, and what the embedded models were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..sae.token_rows import pieces
from ..training import induction_corpus, ioi_corpus


class Corpus(Protocol):
    """An embedded model's training text."""

    def sequences(self, first: int, n: int) -> Int[Tensor, "n pos"]:
        """Some sequences; which they are depends on their number and the seed alone."""


def corpus_of(model: HookedTransformer, seed: int) -> Corpus | None:
    """Text of the kind that an embedded model was trained on (itself on seed 0); of others None."""
    corpora = {"ioi-mini": ioi_corpus.Corpus, "induction-2l": induction_corpus.Corpus}
    made = corpora.get(model.cfg.model_name)
    return None if made is None else made(seed=seed)


def tokens_of_text(model: HookedTransformer, text: str) -> Int[Tensor, "1 pos"]:
    """One text, BOS first where the model wants it.

    Raises:
        ValueError: words that the model does not know, a text that is too long, or of one token.
    """
    name, tokenizer = model.cfg.model_name, model.get_tokenizer()
    text = text.rstrip()  # a space before nothing is no word
    unknown = list(dict.fromkeys(tokenizer.unknown_words(text)))
    if unknown:
        raise ValueError(
            f"{name} does not know {', '.join(map(repr, unknown))}: its vocabulary is a fixed list "
            "of words, so choose others, or a model with a larger one, such as gpt2."
        )
    row = model.start_tokens() + tokenizer.encode(text)
    if len(row) > model.cfg.n_ctx:
        raise ValueError(
            f"the text has {len(row)} tokens, and {name} takes at most {model.cfg.n_ctx}: "
            "shorten it."
        )
    if len(row) < 2:
        raise ValueError(f"the text {text!r} is a single token: give a longer one.")
    return torch.tensor([row], dtype=torch.long, device=model.device)


def tokens_of_file(model: HookedTransformer, path: Path) -> list[int]:
    """A whole text file, without BOS.

    Raises:
        ValueError: there is no such file, it is not text, or it holds words that the model does
            not know.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: --data is a text file.")
    try:
        text = path.read_text(encoding="utf-8").rstrip()  # a space before nothing is no word
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8.") from None
    tokenizer = model.get_tokenizer()
    unknown = list(dict.fromkeys(tokenizer.unknown_words(text)))
    if unknown:
        raise ValueError(
            f"{path} holds words that {model.cfg.model_name} does not know, such as "
            f"{', '.join(map(repr, unknown[:3]))}: give text of its own kind."
        )
    return tokenizer.encode(text)


def pieces_of_file(
    model: HookedTransformer, path: Path, n_ctx: int | None = None, fewest: int = 1
) -> Int[Tensor, "piece pos"]:
    """A text file in pieces of one length, BOS before each where the model wants it.

    Raises:
        ValueError: see `tokens_of_file` and `cutaway.sae.pieces`.
    """
    return pieces(model, tokens_of_file(model, path), n_ctx, fewest)


def words_of(model: HookedTransformer, tokens: Int[Tensor, " pos"]) -> tuple[str, ...]:
    """The text of every token, or its number where the model has no tokenizer."""
    if model.tokenizer is None:
        return tuple(map(str, tokens.tolist()))
    return tuple(map(str, model.to_str_tokens(tokens)))
