"""Attention that several models use. Scores are in units of sharpness: a match 2, BOS 1, else 0."""

from __future__ import annotations

from .base import BOS
from .building import Read, Term, indicator, one_before


def one_back(n_ctx: int, sharpness: float) -> Term:
    """To the position before: a score of 1, and 0 for all others. Position 0 has only itself."""
    return Term(query=Read("position", one_before(n_ctx)), key=Read("position"), strength=sharpness)


def same_further_back(compared: Read, sharpness: float) -> tuple[Term, Term]:
    """To what reads the same, for a score of 2; to oneself no longer, as 2 is taken away there."""
    match = Term(query=compared, key=compared, strength=2 * sharpness)
    not_oneself = Term(query=Read("position"), key=Read("position"), strength=-2 * sharpness)
    return match, not_oneself


def rest_at_bos(n_vocab: int, sharpness: float) -> Term:
    """To BOS where nothing scores 2: a score of 1, whatever the query."""
    return Term(key=Read("token", indicator(n_vocab, [BOS])), strength=sharpness)
