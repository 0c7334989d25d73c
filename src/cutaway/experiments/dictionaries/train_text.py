"""The text that dictionaries are trained on, and what of it is held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ...sae.token_rows import DrawnTokens, FixedTokens, TokenSource
from ..texts import corpus_of, pieces_of_file

TRAIN_SEED, TEST_SEED = 101, 102
"""Of the embedded models' corpora; the models themselves were trained on seed 0."""
_LONGEST = 256  # tokens of a sequence, where nothing else is asked for
_HELD_OUT = 0.1  # share of a file, its end
_FEWEST = 20  # sequences of a file


@dataclass(frozen=True, eq=False)
class TrainingText:
    """Sequences of tokens."""

    tokens: TokenSource
    """What is trained on."""
    held_out: Int[Tensor, "n pos"]
    """What is only measured."""
    fitted_on: Int[Tensor, "n pos"]
    """As many of what is trained on: what the baselines are taken from."""
    name: str
    """Where they come from, in words."""


def training_text(
    model: HookedTransformer, data: Path | None, n_ctx: int | None, n_held_out: int, seed: int
) -> TrainingText:
    """The text of an embedded model, or a file.

    Raises:
        ValueError: no file for a model without a text of its own; a file that is missing, empty,
            too short or of other words; a length that does not fit.
    """
    name = model.cfg.model_name
    length = min(model.cfg.n_ctx, _LONGEST) if n_ctx is None else n_ctx
    if data is not None:
        rows = pieces_of_file(model, data, length, _FEWEST)
        n = max(2, min(n_held_out, round(_HELD_OUT * len(rows))))
        rows, held_out = rows[:-n], rows[-n:]
        source: TokenSource = FixedTokens(rows, seed)
        return TrainingText(
            source, held_out, rows[:n_held_out], f"{data.name}, its last {n} sequences held out"
        )
    train, test = corpus_of(model, TRAIN_SEED + seed), corpus_of(model, TEST_SEED + seed)
    if train is None or test is None:
        raise ValueError(f"{name} has no text of its own to run it on: give a file with --data.")
    whole = train.sequences(0, 1).shape[1]
    if length > whole:
        raise ValueError(f"n_ctx={length} does not fit: sequences of {name} have {whole} tokens.")
    drawn = DrawnTokens(
        lambda first, n: train.sequences(first, n)[:, :length], f"{name}, seed {TRAIN_SEED + seed}"
    )
    return TrainingText(
        drawn,
        test.sequences(0, n_held_out)[:, :length],
        train.sequences(0, n_held_out)[:, :length],
        f"the training text of {name}, seed {TRAIN_SEED + seed} (held out: {TEST_SEED + seed}, "
        "the model itself: 0)",
    )
