"""What the study reads: the text, what is held out of it, and n-gram models of the rest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from ...evidence import bootstrap_mean
from ...model.tokenizer import Tokenizer
from ...model.transformer import HookedTransformer
from ...tokens.ngrams import NGrams, fit_ngrams
from ...training.characters import read_text
from ...training.config import DataSettings
from .prompts import windows
from .record import NotMeasured, Record

FURTHER = 3


@dataclass(frozen=True, eq=False)
class Material:
    """A text as tokens, parted as in training, and what counting says of it."""

    origin: str
    """Where the text comes from."""
    trained: Int[NDArray[np.int64], " trained"]
    """What models and n-grams were fitted on."""
    held_out: Int[Tensor, " character"]
    """What neither has seen."""
    ngrams: NGrams
    wide: NGrams
    """Of an order higher by `FURTHER`: they look further back than what lenses are held against."""
    tokenizer: Tokenizer

    def windows(self, n_ctx: int, n_windows: int, seed: int) -> Int[Tensor, "window pos"]:
        """Stretches of held-out text."""
        return windows(self.held_out, n_ctx, n_windows, seed)


def open_material(
    data: DataSettings, model: HookedTransformer, order: int, device: str
) -> Material:
    """Read the text, part it as the training did, and count n-grams of the first part.

    Args:
        data: which text, and how much of it is held out.
        model: gives the tokenizer, of single characters.
        order: the highest of the n-gram models.
        device: where the held-out tokens are put.

    Raises:
        ValueError: a model that does not know the characters of the text.
        OSError: the text cannot be read or fetched.
    """
    text, origin = read_text(data.file)
    tokenizer = model.get_tokenizer()
    vocabulary = tokenizer.get_vocab()
    unknown = sorted(set(text) - set(vocabulary))
    if unknown:
        raise ValueError(
            f"{model.cfg.model_name} does not know {unknown[0]!r}, a character of {origin}: give "
            "the text that it was trained on, as --data."
        )
    tokens = np.array([vocabulary[character] for character in text], dtype=np.int64)
    n = int(len(tokens) * (1 - data.held_out_share))
    least = 2 * model.cfg.n_ctx + 1
    if len(tokens) - n < least:
        raise ValueError(
            f"{origin} has {len(tokens) - n} held-out characters, and a context of "
            f"{model.cfg.n_ctx} takes {least}: give a longer text."
        )
    wide = fit_ngrams(tokens[:n], model.cfg.d_vocab, order + FURTHER)
    held_out = torch.from_numpy(tokens[n:]).to(device)
    return Material(origin, tokens[:n], held_out, wide.of_order(order), wide, tokenizer)


def describe(material: Material, n_ctx: int, n_windows: int, seed: int, record: Record) -> None:
    """The text, and the loss of every order of n-grams on held-out windows."""
    characters = "".join(map(material.tokenizer.token, material.trained.tolist()))
    record.put("origin", material.origin)
    record.put("trained_digest", hashlib.sha256(characters.encode()).hexdigest())
    record.put("n_trained", len(material.trained))
    record.put("n_held_out", len(material.held_out))
    record.put("n_characters", material.tokenizer.vocab_size)
    record.put("chance", 1 / material.tokenizer.vocab_size)
    rows = material.windows(n_ctx, n_windows, seed).cpu().numpy()
    skip = material.ngrams.order - 1
    for order in range(1, material.ngrams.order + 1):
        losses = material.ngrams.losses(rows, order)[:, skip:].mean(1)
        record.put(f"ngram_loss/{order}", bootstrap_mean(losses, seed))


def check_same_text(material: Material, model: HookedTransformer) -> None:
    """Refuse a model of another vocabulary."""
    if model.get_tokenizer().get_vocab() != material.tokenizer.get_vocab():
        raise NotMeasured(
            f"{model.cfg.model_name} has another vocabulary than the first model: all models of a "
            "study read one text."
        )
