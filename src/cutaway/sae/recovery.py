"""Do dictionaries find what is there? Trained where the features are known, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from .absorption import Absorption, measure_absorption
from .dictionary import Dictionary
from .evaluation import Evaluation, evaluate_rows
from .matching import Matching, match
from .rows import DrawnRows
from .settings import DictionarySettings, PassSettings
from .synthetic import KnownFeatures, KnownRows
from .training import DictionaryEvents, TrainedDictionary, train_dictionaries

_BLOCK = 8192  # rows that are drawn at a time
_TRAIN, _TEST = 31, 32  # seeds of rows, added to what is asked for


class Known(Protocol):
    """Activations whose directions are known: synthetic ones, or those of a toy model."""

    @property
    def directions(self) -> Float[Tensor, "feature d"]:
        """Of each feature, of length 1."""

    @property
    def device(self) -> torch.device:
        """Where rows are drawn."""

    def draw(self, n: int, generator: torch.Generator) -> KnownRows:
        """Rows of activations with their features."""


@dataclass(frozen=True, eq=False)
class Recovered:
    """A dictionary that was trained on known features, and what it has found."""

    trained: TrainedDictionary
    matching: Matching
    """Decoder rows of the features that are alive, beside the known directions."""
    evaluation: Evaluation
    """On rows that it was not trained on."""
    absorption: Absorption | None
    """Where some features are children of others."""

    @property
    def dictionary(self) -> Dictionary:
        """The dictionary itself."""
        return self.trained.dictionary

    @property
    def n_resampled(self) -> int:
        """How often a dead feature began anew."""
        return int(sum(count for _, count in self.trained.points("resampled")))

    def to_row(self) -> dict[str, Any]:
        """The numbers in one row (a dict)."""
        found, rows = self.matching, self.evaluation.dictionary
        return {
            "dictionary": self.trained.name,
            "kind": self.trained.settings.kind,
            "seed": self.trained.settings.seed,
            "mean best cosine": found.mean_best_cosine().estimate,
            "random": found.mean_random_cosine().estimate,
            "recall": found.recall().estimate,
            "precision": found.precision().estimate,
            "uniqueness": found.uniqueness(),
            "features": self.dictionary.cfg.d_features,
            "dead": rows.n_dead,
            "resampled": self.n_resampled,
            "L0": rows.l0().estimate,
            "explained variance": rows.explained_variance().estimate,
            "centred bias": rows.centred_bias().estimate,
            **self._absorbed(),
        }

    def _absorbed(self) -> dict[str, float | None]:
        """Absorbed share of the rows with a child, and of the two controls."""
        names = {"absorbed": "with_child", "alone": "alone", "with a stranger": "stranger"}
        if self.absorption is None:
            return dict.fromkeys(names)
        return {name: self.absorption.rate(of).estimate for name, of in names.items()}


def known_rows(known: Known, name: str, seed: int = 0) -> DrawnRows:
    """An endless source of known activations to train on.

    Args:
        known: what they are made of.
        name: of it, for checkpoints.
        seed: of the rows.

    Example:
        >>> source = known_rows(known_features(SyntheticConfig()), "128 in 64")
    """
    return DrawnRows(
        lambda generator: known.draw(_BLOCK, generator).x, name, seed + _TRAIN, known.device
    )


def recover(
    known: Known,
    wanted: Sequence[DictionarySettings],
    settings: PassSettings,
    *,
    n_rows: int = 20_000,
    threshold: float = 0.9,
    seed: int = 0,
    events: DictionaryEvents | None = None,
) -> list[Recovered]:
    """Train dictionaries on known activations, and see what they have found.

    Args:
        known: directions, and how to draw rows.
        wanted: the dictionaries, all trained on the same rows.
        settings: of the pass.
        n_rows: to measure on, drawn anew.
        threshold: cosine from which a direction counts as found.
        seed: of the rows.
        events: who is told how it goes.

    Raises:
        ValueError: as `train_dictionaries`.

    Example:
        >>> known = known_features(SyntheticConfig(d=64, n_features=128))
        >>> wanted = [DictionarySettings("top-k", k=4, d_features=128, seed=s) for s in range(3)]
        >>> recover(known, wanted, PassSettings(n_rows=1_000_000))[0].matching.recall()
    """
    source = known_rows(known, f"{len(known.directions)} known features", seed)
    trained = train_dictionaries(source, wanted, settings, events=events)
    generator = torch.Generator(known.device).manual_seed(seed + _TEST)
    test = known.draw(n_rows, generator)
    return [compare(one, known, test, threshold) for one in trained]


def compare(
    trained: TrainedDictionary, known: Known, test: KnownRows, threshold: float = 0.9
) -> Recovered:
    """One trained dictionary beside the known features.

    Args:
        trained: to compare.
        known: with what.
        test: rows that it was not trained on.
        threshold: cosine from which a direction counts as found.
    """
    dictionary = trained.dictionary
    evaluation = evaluate_rows(dictionary, test.x)
    alive = torch.from_numpy(evaluation.dictionary.alive)
    alive = alive if bool(alive.any()) else ~alive  # all dead: what was learnt is still compared
    absorbed = None
    if isinstance(known, KnownFeatures) and bool((known.parent >= 0).any()):
        absorbed = measure_absorption(dictionary, known, test)
    return Recovered(
        trained,
        match(known.directions, dictionary.W_dec, alive, threshold),
        evaluation,
        absorbed,
    )
