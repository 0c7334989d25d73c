"""What can be chosen about measuring a dictionary: the options of `cutaway sae eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from ..checks import check_device

Labels = Literal["none", "token", "previous"]


@dataclass(frozen=True)
class EvaluateDictionarySettings:
    """Measure a dictionary: sparsity, reconstruction, what its model loses, beside baselines."""

    command: ClassVar[str] = "sae-eval"

    dictionary: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DICTIONARY")]
    """The name of an embedded dictionary, or the folder of one
    (ours, SAELens', or sparsify's)."""
    model: str = ""
    """Its model; left out: the one that the dictionary names."""
    hook: str = ""
    """Where it stands; left out: where the dictionary says."""
    data: Path | None = None
    """A text file, whose end is measured on (which `sae train`
    holds out); left out: text as an embedded model was
    trained on, from another seed."""
    n_sequences: int = 128
    """Sequences to measure on."""
    n_fit: int = 128
    """Other sequences, which means and components are
    taken from."""
    skip_bos: bool = True
    """Leave out rows of BOS: they keep their own value."""
    beside: tuple[str, ...] = ()
    """Dictionaries of other seeds: how many features are in
    both, matched one to one."""
    threshold: float = 0.9
    """Cosine from which a feature counts as found again."""
    labels: Labels = "previous"
    """What few features are to say: the token itself, the
    previous one, or none."""
    n_labels: int = 8
    """How many tokens, the most frequent ones."""
    n_probed: int = 6000
    """Rows that probes are fitted and tested on, at most."""
    seed: int = 50
    """Of the text, of random directions and features."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        for name, least in (("n_sequences", 2), ("n_fit", 2), ("n_labels", 1), ("n_probed", 50)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {least}.")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold={self.threshold} has to lie between 0 and 1.")
        check_device(self.device)
