"""What can be chosen about recovering known features: the options of `cutaway sae recover`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ...sae.config import TOP_K_KINDS, Kind
from ...sae.settings import DictionarySettings, PassSettings
from ..checks import check_device

Truth = Literal["synthetic", "toy"]


@dataclass(frozen=True)
class RecoverSettings:
    """Train dictionaries where the features are known, and see which of them they find."""

    command: ClassVar[str] = "sae-recover"

    truth: Truth = "synthetic"
    """synthetic: sparse sums of random directions;
    toy: what a toy model of superposition has learnt."""
    kinds: tuple[Kind, ...] = (
        "standard",
        "top-k",
        "batch-top-k",
        "jump-relu",
        "gated",
        "matryoshka",
    )
    """Kinds of dictionaries."""
    n_seeds: int = 3
    """Dictionaries of each kind."""
    width: int = 64
    """Dimensions of the activations."""
    n_features: int = 128
    """Known features."""
    n_active: float = 4.0
    """Active features of a row, on average."""
    falloff: float = 1.0
    """How many times more often the first is active
    than the last."""
    correlation: float = 0.0
    """How much features of a group of four come together,
    0 to 1."""
    n_parents: int = 0
    """Features that have children: active only with them."""
    n_children: int = 3
    """Children of each parent."""
    noise: float = 0.0
    """Standard deviation of what is added to each dimension."""
    expansion: float = 1.0
    """Features of a dictionary for each known one."""
    sparsity: tuple[float, ...] = (1.0, 3.0, 1.0)
    """Coefficients of standard, gated and jump-relu."""
    n_rows: int = 1_500_000
    """Rows to train on."""
    batch_size: int = 512
    """Rows of a step."""
    learning_rate: float = 3e-3
    """Adam's."""
    threshold: float = 0.9
    """Cosine from which a feature counts as found."""
    resample_every: int = 250
    """Steps after which dead features begin anew; 0: never."""
    seed: int = 0
    """Of the known features, the rows, and the first
    dictionary of each kind."""
    device: str = "cpu"
    """cpu, cuda, or mps."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        if not self.kinds or self.n_seeds < 1:
            raise ValueError("there is nothing to train: name a kind, and at least one seed.")
        if len(self.sparsity) != len(PENALISED):
            raise ValueError(
                f"sparsity={self.sparsity} needs three numbers: for {', '.join(PENALISED)}."
            )
        if not self.expansion > 0:
            raise ValueError(f"expansion={self.expansion} is not positive.")
        check_device(self.device)
        self.wanted(1, 1.0)
        _ = self.training  # both check what they are given

    def wanted(self, n_known: int, n_active: float) -> list[DictionarySettings]:
        """The dictionaries, seed by seed within each kind.

        Args:
            n_known: known features.
            n_active: of them active in a row: the k of kinds that have one.
        """
        n = max(1, round(self.expansion * n_known))
        found = []
        for kind in dict.fromkeys(self.kinds):
            k = min(max(round(n_active), 1), n) if kind in TOP_K_KINDS else None
            sparsity = dict(zip(PENALISED, self.sparsity, strict=True)).get(kind)
            found += [
                DictionarySettings(
                    kind,
                    d_features=n,
                    k=k,
                    sparsity=sparsity,
                    learning_rate=self.learning_rate,
                    dead_after=_DEAD_AFTER,
                    resample_every=self.resample_every,
                    resample_until=_RESAMPLE_UNTIL,
                    seed=self.seed + number,
                    name=f"{kind}, seed {self.seed + number}",
                )
                for number in range(self.n_seeds)
            ]
        return found

    @property
    def training(self) -> PassSettings:
        """The pass over the rows."""
        return PassSettings(self.n_rows, self.batch_size, start_rows=8192)


PENALISED = ("standard", "gated", "jump-relu")
"""Kinds whose sparsity is a penalty."""
_DEAD_AFTER = 5000  # rows: a feature of these is active in one row of 32
_RESAMPLE_UNTIL = 0.6
