"""What can be chosen about training dictionaries. Loads without torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .config import KINDS, TOP_K_KINDS, DictionaryError, Kind

Start = Literal["mean", "geometric-median", "zero"]
Decoder = Literal["unit", "free"]

_FREE_KINDS = ("standard",)  # whose penalty counts the decoder's norms: Conerly et al. 2024
_SPARSITY: dict[str, float] = {"standard": 5.0, "gated": 5.0, "jump-relu": 1.0}


@dataclass(frozen=True)
class DictionarySettings:
    """One dictionary to train: what it reads, how large it is, how it learns.

    Raises:
        DictionaryError: values that do not fit together.

    Example:
        >>> DictionarySettings("top-k", hook="blocks.2.hook_resid_post", k=16, expansion=8)
    """

    kind: Kind = "batch-top-k"
    """Which features are active."""
    hook: str = ""
    """What it reads."""
    hook_out: str = ""
    """What a transcoder predicts; empty is what it reads."""
    skip: bool = False
    """A transcoder's linear map beside the features."""
    expansion: float = 8.0
    """Features per dimension of what is read."""
    d_features: int | None = None
    """Features; None is `expansion` times the width."""
    k: int | None = None
    """Active features of a row; the top-k kinds need it."""
    sizes: tuple[int, ...] = ()
    """matryoshka: nested prefixes; () is 1/8, 1/4, 1/2 and all."""
    sparsity: float | None = None
    """Coefficient of the sparsity term, in units where the mean squared norm is
    about the width; None: 5 for standard and gated, 1 for jump-relu."""
    sparsity_warmup: float = 0.1
    """Share of the steps in which that coefficient rises from 0."""
    learning_rate: float | None = None
    """Adam's, after the warm-up; None: 2e-4 / sqrt(d_features / 16384)."""
    warmup: float = 0.02
    """Share of the steps in which it rises from 0."""
    decay: float = 0.2
    """Share of the steps, the last ones, in which it falls to 0."""
    beta1: float = 0.9
    """Adam's first moment."""
    beta2: float = 0.999
    """Adam's second moment."""
    gradient_clip: float = 1.0
    """Largest norm of the whole gradient; 0 does not clip."""
    decoder: Decoder | None = None
    """unit: rows stay unit vectors, and gradients along them are removed;
    free: they may grow; None: free for standard, unit for the others."""
    start: Start = "geometric-median"
    """Where the decoder's bias begins."""
    normalise: bool = True
    """Scale the input so that its mean norm is the root of its width."""
    threshold_rate: float = 30.0
    """jump-relu: thresholds learn so many times as fast as the rest. A step of Adam
    moves their logarithm by the learning rate at most, and from 0.01 to 1 it is
    4.6 away: runs of less than millions of steps would end before."""
    auxiliary: float = 1 / 32
    """Coefficient of the loss that revives dead features; 0: none."""
    dead_after: int = 200_000
    """Rows without firing after which a feature counts as dead."""
    resample_every: int = 0
    """Steps after which dead features begin anew; 0: never."""
    resample_until: float = 0.5
    """Share of the steps after which none begins anew."""
    seed: int = 0
    """Of the first weights and of resampling."""
    name: str = ""
    """What it is called; empty: by its kind and size."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        _check_choices(self)
        _check_numbers(self)

    @property
    def output_hook(self) -> str:
        """What is reconstructed or predicted."""
        return self.hook_out or self.hook

    @property
    def is_transcoder(self) -> bool:
        """Whether it predicts something else than what it reads."""
        return self.output_hook != self.hook

    @property
    def decoder_rule(self) -> Decoder:
        """What becomes of the lengths of decoder rows."""
        return self.decoder or ("free" if self.kind in _FREE_KINDS else "unit")

    @property
    def coefficient(self) -> float:
        """Of the sparsity term, after its warm-up; 0 for kinds that have none."""
        return self.sparsity if self.sparsity is not None else _SPARSITY.get(self.kind, 0.0)

    @property
    def title(self) -> str:
        """The name, or what tells it from others: "top-k k=16"."""
        if self.name:
            return self.name
        own = f"k={self.k}" if self.kind in TOP_K_KINDS else f"lambda={self.coefficient:g}"
        return f"{self.kind} {own}"

    def n_features(self, d_in: int) -> int:
        """Features of a dictionary that reads `d_in` values."""
        return self.d_features or max(1, round(self.expansion * d_in))

    def prefixes(self, n_features: int) -> tuple[int, ...]:
        """The sizes of a matryoshka dictionary; of others none."""
        if self.kind != "matryoshka" or self.sizes:
            return self.sizes
        parts = (8, 4, 2, 1)
        return tuple(sorted({max(1, n_features // part) for part in parts}))

    def peak_rate(self, n_features: int) -> float:
        """The learning rate after the warm-up (Gao et al. 2024, as sparsify sets it)."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 / math.sqrt(n_features / 2**14)

    def rate_at(self, step: int, n_steps: int) -> float:
        """The learning rate of a step, as a share of the peak: up, level, down to 0, each linear.

        Args:
            step: counted from 0.
            n_steps: of the whole run.

        Example:
            >>> [DictionarySettings(k=1).rate_at(step, 100) for step in (0, 1, 50, 90)]
            [0.5, 1.0, 1.0, 0.5]
        """
        up = self.warmup * n_steps
        down = self.decay * n_steps
        rising = (step + 1) / up if up > 0 else 1.0
        falling = (n_steps - step) / down if down > 0 else 1.0
        return min(1.0, rising, falling)

    def coefficient_at(self, step: int, n_steps: int) -> float:
        """The sparsity coefficient of a step."""
        up = self.sparsity_warmup * n_steps
        return self.coefficient * (min(1.0, (step + 1) / up) if up > 0 else 1.0)

    def is_resampled_after(self, step: int, n_steps: int) -> bool:
        """Whether dead features begin anew when `step` steps are done."""
        every = self.resample_every
        return bool(every) and step % every == 0 and step <= self.resample_until * n_steps

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON can say them."""
        return {**dataclasses.asdict(self), "sizes": list(self.sizes)}


@dataclass(frozen=True)
class PassSettings:
    """One pass over the rows, shared by all dictionaries that are trained in it."""

    n_rows: int = 1_000_000
    """Rows to train on; the last batch is a whole one."""
    batch_size: int = 4096
    """Rows of a step."""
    start_rows: int = 16_384
    """Rows that scale and start are measured on, and the most that resampling
    chooses from."""
    report_every: int = 50
    """Steps between points of the curve."""
    evaluate_every: int = 500
    """Steps between measurements on held-out text."""
    checkpoint_every: int = 500
    """Steps between states from which the run goes on."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(
                    f"{field.name}={getattr(self, field.name)} is too few: at least 1."
                )

    @property
    def n_steps(self) -> int:
        """Of the whole run."""
        return -(-self.n_rows // self.batch_size)


def _check_choices(settings: DictionarySettings) -> None:
    choices = {"kind": KINDS, "decoder": (None, *get_args(Decoder)), "start": get_args(Start)}
    for name, known in choices.items():
        value = getattr(settings, name)
        if value not in known:
            words = ", ".join(str(one) for one in known if one is not None)
            raise DictionaryError(f"{name}={value!r} is unknown; it can be {words}.")
    if settings.kind in TOP_K_KINDS:
        if settings.k is None:
            raise DictionaryError(f"a {settings.kind} dictionary needs k, active features per row.")
        if settings.sparsity is not None:
            raise DictionaryError(
                f"sparsity is for {', '.join(_SPARSITY)}; how many features of a {settings.kind} "
                "dictionary are active is what k says."
            )
    elif settings.k is not None:
        raise DictionaryError(
            f"k={settings.k} is for {', '.join(TOP_K_KINDS)}; how many features of a "
            f"{settings.kind} dictionary are active is what sparsity decides."
        )


def _check_numbers(settings: DictionarySettings) -> None:
    for name in ("expansion", "learning_rate", "threshold_rate"):
        value = getattr(settings, name)
        if value is not None and not value > 0:
            raise DictionaryError(f"{name}={value} is not positive.")
    for name, least in (("d_features", 1), ("k", 1), ("dead_after", 1), ("resample_every", 0)):
        value = getattr(settings, name)
        if value is not None and value < least:
            raise DictionaryError(f"{name}={value} is too few: at least {least}.")
    for name, high in (
        ("warmup", 1.0),
        ("decay", 1.0),
        ("sparsity_warmup", 1.0),
        ("resample_until", 1.0),
        ("beta1", 0.9999),
        ("beta2", 0.999999),
        ("sparsity", math.inf),
        ("auxiliary", math.inf),
        ("gradient_clip", math.inf),
    ):
        value = getattr(settings, name)
        if value is not None and not 0 <= value <= high:
            raise DictionaryError(f"{name}={value} is not from 0 to {high:g}.")
