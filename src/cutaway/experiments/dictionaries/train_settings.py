"""What can be chosen about training dictionaries: the options of `cutaway sae train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...sae.config import TOP_K_KINDS, Kind
from ...sae.settings import Decoder, DictionarySettings, PassSettings, Start
from ..checks import check_device


@dataclass(frozen=True)
class SaeTrainSettings:
    """Train dictionaries on a model's activations, or go on where it was stopped.

    Several values of --k, --sparsity or --seed: one dictionary each, in one pass.
    """

    model: str = "ioi-mini"
    """An embedded model, or what from_pretrained takes."""
    hook: str = ""
    """What is read; left out: the residual stream after
    the middle layer, as blocks.2.hook_resid_post."""
    hook_out: str = ""
    """Of a transcoder: what it predicts from that."""
    skip: bool = False
    """A transcoder's linear map beside the features."""
    data: Path | None = None
    """A text file to run the model on, its end held out;
    embedded models have a text of their own."""
    n_ctx: int | None = None
    """Tokens of a sequence; left out: the context, at most 256."""
    kind: Kind = "batch-top-k"
    """Which features are active."""
    k: tuple[int, ...] = ()
    """Active features of a row, of the top-k kinds;
    left out: 16."""
    sparsity: tuple[float, ...] = ()
    """Coefficient of the sparsity term, of the other kinds;
    left out: 5 for standard and gated, 1 for jump-relu."""
    expansion: float = 8.0
    """Features per dimension of what is read."""
    n_features: int | None = None
    """How many features, instead of --expansion."""
    n_rows: int = 1_000_000
    """Activations to train on, one for each token."""
    batch_size: int = 2048
    """Activations of a step."""
    learning_rate: float | None = None
    """Adam's; left out: 2e-4 / sqrt(features / 16384)."""
    decoder: Decoder | None = None
    """unit: decoder rows stay unit vectors; left out:
    free for standard, unit for the others."""
    start: Start = "geometric-median"
    """Where the decoder's bias begins."""
    normalise: bool = True
    """Scale activations to the mean norm sqrt(width) first."""
    auxiliary: float = 1 / 32
    """Coefficient of the loss that revives dead features."""
    dead_after: int = 100_000
    """Activations without firing after which one is dead."""
    resample_every: int = 0
    """Steps after which dead features begin anew; 0 never."""
    skip_bos: bool = True
    """Leave out the activations of BOS."""
    buffer_rows: int = 65_536
    """Activations in memory that are mixed at a time."""
    store: Path | None = None
    """A folder to write the activations to first, or to read
    them from again."""
    n_held_out: int = 200
    """Held-out sequences that the results are measured on."""
    evaluate_every: int = 200
    """Steps between measurements on some of them."""
    checkpoint_every: int = 500
    """Steps between states that the run can go on from."""
    seed: tuple[int, ...] = (0,)
    """Of the first weights; the first one also of the order."""
    device: str = "cpu"
    """Where the model is: cpu, cuda, or mps."""
    out: Path | None = None
    """The folder of this run; left out: runs/sae-MODEL.
    A run that was stopped goes on from there."""

    def __post_init__(self) -> None:
        check_device(self.device)
        if not self.seed:
            raise ValueError("no seed is given: give one.")
        for name, least in (("n_held_out", 2), ("buffer_rows", 1), ("n_ctx", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}={value} is too few: at least {least}.")
        self.dictionaries("blocks.0.hook_resid_post")
        self.one_pass()

    def dictionaries(self, hook: str) -> list[DictionarySettings]:
        """One for each k or sparsity, and each seed."""
        is_top_k = self.kind in TOP_K_KINDS
        unused = "sparsity" if is_top_k else "k"
        if getattr(self, unused):
            raise ValueError(
                f"--{unused} is of no use with --kind {self.kind}: give "
                f"--{'k' if is_top_k else 'sparsity'}."
            )
        variants: list[dict[str, float | int | None]] = (
            [{"k": k} for k in self.k or (16,)]
            if is_top_k
            else [{"sparsity": value} for value in self.sparsity or (None,)]
        )
        return [
            DictionarySettings(
                kind=self.kind,
                hook=hook,
                hook_out=self.hook_out,
                skip=self.skip,
                expansion=self.expansion,
                d_features=self.n_features,
                learning_rate=self.learning_rate,
                decoder=self.decoder,
                start=self.start,
                normalise=self.normalise,
                auxiliary=self.auxiliary,
                dead_after=self.dead_after,
                resample_every=self.resample_every,
                seed=seed,
                **variant,  # type: ignore[arg-type]
            )
            for variant in variants
            for seed in self.seed
        ]

    def one_pass(self) -> PassSettings:
        """What they share."""
        return PassSettings(
            n_rows=self.n_rows,
            batch_size=self.batch_size,
            report_every=max(1, self.evaluate_every // 8),
            evaluate_every=self.evaluate_every,
            checkpoint_every=self.checkpoint_every,
        )

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.out if self.out is not None else Path("runs") / f"sae-{Path(self.model).name}"
