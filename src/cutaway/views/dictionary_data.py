"""What the report of `cutaway sae eval` is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..sae.evaluation import Evaluation
from ..sae.matching import Stability
from ..sae.sparse_probing import SparseProbes
from ..sae.spliced_loss import SplicedLosses


@dataclass(frozen=True, eq=False)
class DictionaryReportData:
    """Everything on the page."""

    model: str
    dictionary: str
    """Its name or folder."""
    text: str
    """What it was measured on."""
    found: Evaluation
    stability: Stability | None = None
    """Beside dictionaries of other seeds."""
    others: Sequence[str] = ()
    """Their names."""
    probes: SparseProbes | None = None
    label: str = ""
    """What probes ask for, in words."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def losses(self) -> SplicedLosses:
        """In the model."""
        assert self.found.losses is not None
        return self.found.losses

    @property
    def kind(self) -> str:
        """Kind and k."""
        cfg = self.found.cfg
        return cfg.kind if cfg.k is None else f"{cfg.kind}, k = {cfg.k}"

    @property
    def strongest_baseline(self) -> str:
        """The baseline that costs the model least."""
        names = [name for name in self.found.rows if name != "dictionary"]
        return min(names, key=lambda name: self.losses.increase(name).estimate)
