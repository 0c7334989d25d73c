"""What can be chosen about the study of dictionaries: the options of `cutaway run sae`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...sae.config import TOP_K_KINDS, Kind
from ...sae.settings import DictionarySettings, PassSettings
from ..checks import check_least
from ..task_settings import TaskSettings


@dataclass(frozen=True)
class SaeStudySettings(TaskSettings):
    """Train dictionaries of the residual stream, measure them, read their features, and
    find those that carry a task's answer."""

    command: ClassVar[str] = "sae"

    task: str = "auto"
    """The task whose answer is followed through the features:
    a name or a file as elsewhere; none; auto: ioi, if the model
    can do it."""
    data: Path | None = None
    """A text file to train on, its last tenth held out;
    ioi-mini and induction-2l have a text of their own."""
    layers: tuple[int, ...] = ()
    """The stream after which layers; left out: after each one
    with a task, after the middle one without."""
    dictionaries: tuple[str, ...] = ()
    """Names or folders of dictionaries that are there, instead
    of training: each of one layer's resid_post."""
    kind: Kind = "batch-top-k"
    """Which features are active."""
    k: int = 16
    """Active features of a row, of the top-k kinds."""
    n_features: int = 512
    """Features of each dictionary."""
    n_rows: int = 300_000
    """Activations to train on, one for each token."""
    batch_size: int = 512
    """Activations of a step."""
    learning_rate: float | None = None
    """Adam's; left out: 2e-4 / sqrt(features / 16384)."""
    n_held_out: int = 100
    """Held-out sequences that dictionaries are measured on."""
    n_sequences: int = 200
    """Sequences that features are read on, and as many more
    that their rules are counted on."""
    target: float = 0.9
    """A circuit has to reach this share of what all features
    of its dictionary do."""
    n_random: int = 20
    """Random sets of features beside each circuit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"n_held_out": 2, "n_sequences": 2, "n_random": 1}
        check_least(self, least)
        if not 0 < self.target <= 1:
            raise ValueError(f"target={self.target} is not a share, above 0 up to 1.")
        if self.dictionaries and self.layers:
            raise ValueError("--dictionaries says which layers: leave --layers out.")
        self.wanted("blocks.0.hook_resid_post", 0)
        self.one_pass()

    def wanted(self, hook: str, layer: int) -> DictionarySettings:
        """The dictionary of one layer's stream."""
        return DictionarySettings(
            kind=self.kind,
            hook=hook,
            k=self.k if self.kind in TOP_K_KINDS else None,
            d_features=self.n_features,
            learning_rate=self.learning_rate,
            seed=self.seed,
            name=f"layer-{layer}",
        )

    def one_pass(self) -> PassSettings:
        """The pass over the text that all share."""
        start = min(PassSettings.start_rows, self.n_rows)
        return PassSettings(n_rows=self.n_rows, batch_size=self.batch_size, start_rows=start)
