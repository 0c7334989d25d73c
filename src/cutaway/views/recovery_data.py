"""What the report of `cutaway sae recover` is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval


@dataclass(frozen=True)
class KindRow:
    """Means over the seeds of one kind of dictionary."""

    kind: str
    n_seeds: int
    best_cosine: float
    lowest: float
    """Mean best cosine of the worst seed."""
    recall: float
    precision: float
    uniqueness: float
    dead: float
    """Features."""
    resampled: float
    """How often a dead feature began anew."""
    l0: float
    explained: float
    bias: float
    """Centred: 1 is unbiased."""
    absorbed: float
    """Rows of a parent with its child; NaN where there is no hierarchy."""
    absorbed_by_strangers: float
    """The control: the same of rows of a parent with an unrelated feature."""
    agreement: float
    """Mean matched cosine between seeds; NaN with one seed."""
    chance: float
    """The same of random directions."""


@dataclass(frozen=True, eq=False)
class RecoveryReportData:
    """Everything on the page."""

    known: str
    """What the known features are, in words."""
    n_known: int
    width: int
    threshold: float
    rows: Sequence[Mapping[str, Any]]
    """One for each dictionary, as `Recovered.to_row` gives them."""
    kinds: Sequence[KindRow]
    best: Mapping[str, NDArray[np.float64]]
    """Dictionary -> best cosine of each known feature."""
    random_best: NDArray[np.float64]
    """The same of random directions."""
    baselines: Mapping[str, tuple[Interval, Interval]]
    """Name -> (L0, explained variance), beside the first dictionary."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
