"""`KNOWN`: all models written by hand, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from .base import DEFAULT_SETTINGS, KnownModel, KnownSettings
from .duplicate_token import duplicate_token
from .induction import induction
from .ioi import ioi
from .previous_token import previous_token


class Author(Protocol):
    """Writes one known model."""

    def __call__(self, seed: int = 0, settings: KnownSettings = DEFAULT_SETTINGS) -> KnownModel:
        """The model in the basis of this seed."""


KNOWN: dict[str, Author] = {
    "previous-token": previous_token,
    "duplicate-token": duplicate_token,
    "induction": induction,
    "ioi": ioi,
}
"""Name -> function of a seed (and settings)."""


def all_known(
    seeds: Iterable[int] = (0,), settings: KnownSettings = DEFAULT_SETTINGS
) -> Iterator[KnownModel]:
    """Every known model in the bases of these seeds, made one at a time.

    Example:
        >>> [known.name for known in all_known()]
        ['previous-token', 'duplicate-token', 'induction', 'ioi']
    """
    for seed in seeds:
        for write in KNOWN.values():
            yield write(seed, settings)
