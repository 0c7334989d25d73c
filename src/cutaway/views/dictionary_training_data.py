"""What the report of `cutaway sae train` is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..sae.evaluation import Evaluation
from ..sae.spliced_loss import SplicedLosses

Points = Sequence[tuple[int, float]]
"""(step, value)."""


@dataclass(frozen=True, eq=False)
class TrainedRow:
    """One dictionary."""

    name: str
    found: Evaluation
    """On held-out text, after the last step."""
    points: Mapping[str, Points]
    """"explained" and "dead" on rows just trained on; "measured.L0", "measured.explained variance"
    and "measured.loss recovered" on held-out text."""
    resampled: Points = ()
    """How many dead features began anew."""
    dead_after: int = 0
    """Rows without firing after which a feature counts as dead."""

    @property
    def losses(self) -> SplicedLosses:
        """In the model."""
        assert self.found.losses is not None
        return self.found.losses

    @property
    def strongest_baseline(self) -> str:
        """The baseline that explains most."""
        names = [name for name in self.found.rows if name != "dictionary"]
        return max(names, key=lambda one: self.found.rows[one].explained_variance().estimate)


@dataclass(frozen=True, eq=False)
class DictionaryTrainingData:
    """A finished pass."""

    model: str
    hook: str
    hook_out: str
    """Of transcoders; else empty."""
    text: str
    """What was trained on, in words."""
    n_rows: int
    """That each dictionary was trained on."""
    batch_size: int
    rows_per_second: float
    """Median over the reports of this session; 0 where nothing was left to do."""
    dictionaries: Sequence[TrainedRow]
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
