"""How often each token came in training, where that is known: of models of `rare-words`."""

from __future__ import annotations

import numpy as np

from ...model.tokenizer import Tokenizer
from ...model.transformer import HookedTransformer
from ...tokens.glitch_verification import Verification
from ...tokens.undertrained_detection import half_left_out, precision_and_recall, separation
from ...tokens.undertrained_indicators import Indicators
from ...training.glitch_corpus import occurrences, open_tokenizer
from ...training.word_tokenizer import SPECIAL
from ...views.glitch_data import GlitchTruth

_REFERENCES = (2, 4, 8, 16, 32)


def truth_of(
    model: HookedTransformer, found: Indicators, verified: Verification, seed: int
) -> GlitchTruth | None:
    """What the indicators are worth, if it is known which tokens never came.

    Args:
        model: one whose tokenizer is that of `rare-words`; of any other nothing is known.
        found: its indicators.
        verified: tokens that were asked for.
        seed: of splits and intervals.
    """
    if not _is_known(model.tokenizer):
        return None
    counts = occurrences()
    ordinary = np.arange(counts.size) >= len(SPECIAL)
    never = np.flatnonzero(ordinary & (counts == 0))
    used = np.flatnonzero(ordinary & (counts > 0))
    halves = half_left_out(model, never.tolist(), used.tolist(), seed=seed)
    by_size = {
        n: half_left_out(model, never.tolist(), used.tolist(), n, n_splits=5, seed=seed)
        for n in _REFERENCES
    }
    is_repeated = np.array([one == "repeats" for one in verified.verdicts])
    cannot, can = verified.tokens[~is_repeated], verified.tokens[is_repeated]
    return GlitchTruth(
        counts=counts,
        never=never,
        used=used,
        areas={name: separation(v, never, used, seed) for name, v in found.values.items()},
        hits={
            name: precision_and_recall(v, never, used, never.size)
            for name, v in found.values.items()
        },
        verified_areas={name: separation(v, cannot, can, seed) for name, v in found.values.items()}
        if cannot.size and can.size
        else {},
        halves=halves,
        by_size=by_size,
    )


def _is_known(tokenizer: Tokenizer | None) -> bool:
    return tokenizer is not None and tokenizer.digest == open_tokenizer().digest
