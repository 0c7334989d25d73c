"""The text that a dictionary's model is run on: an embedded model's own kind, or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ..texts import corpus_of, pieces_of_file

_FIRST_SEED = 201
"""Embedded models were trained on seed 0 of their text, tuned lenses on 101."""


@dataclass(frozen=True)
class DictionaryText:
    """Sequences of one length."""

    sequences: Callable[[int, int], Int[Tensor, "n pos"]]
    """(first, how many) -> tokens; of a file at most as many as it has."""
    name: str
    """Where it comes from, in words."""
    n_sequences: int | None = None
    """Of a file; None where there is always another one."""


def text_of(model: HookedTransformer, data: Path | None, seed: int) -> DictionaryText:
    """The text that was asked for; a file's pieces in an order that the seed decides.

    Raises:
        ValueError: no file for a model without a corpus; a file that is missing, empty, too short
            or of other words.

    Example:
        >>> text_of(model, None, seed=0).sequences(0, 16)
    """
    if data is not None:
        rows = pieces_of_file(model, data, fewest=2)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        rows = rows[order]
        return DictionaryText(lambda first, n: rows[first : first + n], data.name, len(rows))
    corpus = corpus_of(model, _FIRST_SEED + seed)
    if corpus is None:
        raise ValueError(
            f"{model.cfg.model_name} has no text of its own: give a text file with --data."
        )
    name = f"the training text of {model.cfg.model_name}, from another seed than the model's"
    return DictionaryText(corpus.sequences, name)
