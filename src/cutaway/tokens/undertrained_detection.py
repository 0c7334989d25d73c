"""How well indicators find unused tokens, where it is known which those are.

A token that the reference was made of is near the reference for that reason alone. So the honest
design leaves half of them out: the reference and the cutoff come from one half of the known-unused
tokens, and only the other half counts as what is to be found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ..array_files import Array, load_arrays, save_arrays
from ..evidence import Interval, auroc, proportion
from ..model.transformer import HookedTransformer
from .undertrained_indicators import INDICATORS, IndicatorTable

RANDOM = "random numbers"
"""The control: an indicator that knows nothing."""
_KIND = "a detection of unused tokens"
_CUTOFF_SHARE = 0.9  # of the reference's tokens, each against the others, lie below the cutoff
_N_RESAMPLES = 1000
_RATES = ("area", "precision", "recall", "cutoff")


@dataclass(frozen=True, eq=False)
class HalfOut:
    """Unused tokens found by a reference of other unused tokens, over several splits.

    Example:
        >>> found = half_left_out(model, unused, used)  # doctest: +SKIP
        >>> found.mean("cosine", "recall")  # doctest: +SKIP
        0.94
    """

    names: tuple[str, ...]
    """Indicators, the control last."""
    area: Float[Array, "indicator split"]
    """Under the ROC curve, of the half that was left out against the used tokens: 1 is perfect,
    0.5 chance."""
    precision: Float[Array, "indicator split"]
    """Of the tokens below the cutoff, the share that is unused; NaN where there are none."""
    recall: Float[Array, "indicator split"]
    """Share of the half that was left out that lies below the cutoff."""
    cutoff: Float[Array, "indicator split"]
    """The value that nine in ten of the reference's tokens stay below, each measured against the
    others."""
    n_reference: int
    """Known-unused tokens of a split's reference."""
    n_found: int
    """Unused tokens that were to be found in each split."""
    n_used: int
    """Tokens that are used."""
    settings: dict[str, Any] = field(default_factory=dict)

    def mean(self, name: str, rate: str) -> float:
        """Over the splits, of "area", "precision", "recall" or "cutoff".

        Raises:
            ValueError: no such indicator or rate.
        """
        if name not in self.names or rate not in _RATES:
            raise ValueError(
                f"there is no {rate!r} of {name!r}: take one of {', '.join(_RATES)}, of "
                f"{', '.join(self.names)}."
            )
        values = getattr(self, rate)[self.names.index(name)]
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each indicator and split."""
        return [
            {
                "indicator": name,
                "split": split,
                **{rate: float(getattr(self, rate)[row, split]) for rate in _RATES},
            }
            for row, name in enumerate(self.names)
            for split in range(self.area.shape[1])
        ]

    def save(self, path: str | Path) -> None:
        """Write it to one safetensors file."""
        numbers = {name: getattr(self, name) for name in ("n_reference", "n_found", "n_used")}
        described = {"names": list(self.names), **numbers, "settings": self.settings}
        save_arrays(path, _KIND, {rate: getattr(self, rate) for rate in _RATES}, described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            ValueError: the file is not there, or holds something else.
        """
        arrays, described = load_arrays(path, _KIND)
        return cls(names=tuple(described.pop("names")), **arrays, **described)


def half_left_out(
    model: HookedTransformer,
    unused: Sequence[int],
    used: Sequence[int],
    n_reference: int | None = None,
    n_splits: int = 10,
    seed: int = 0,
) -> HalfOut:
    """How well each indicator finds unused tokens that its reference does not hold.

    Args:
        model: its weights as they were trained.
        unused: all tokens that are known to be unused.
        used: tokens that are known to be used; none of them is unused.
        n_reference: how many of the unused ones make the reference; None is half of them.
        n_splits: different halves.
        seed: of the splits and of the control.

    Raises:
        ValueError: too few tokens, one that is both, or one that is not in the vocabulary.

    Example:
        >>> half_left_out(model, unused, used).mean("E_in norm", "area")  # doctest: +SKIP
        0.99
    """
    known, others = _checked(model, unused, used)
    n_reference = known.size // 2 if n_reference is None else n_reference
    if not 2 <= n_reference < known.size:
        raise ValueError(
            f"n_reference={n_reference} is not from 2 to {known.size - 1}: of the {known.size} "
            "unused tokens some make the reference, and at least one is left to be found."
        )
    if n_splits < 1:
        raise ValueError(f"n_splits={n_splits} is too few: at least 1.")
    table, rng = IndicatorTable.of(model), np.random.default_rng(seed)
    names = (*INDICATORS, RANDOM)
    found = np.full((len(_RATES), len(names), n_splits), np.nan)
    for split in range(n_splits):
        shuffled = rng.permutation(known)
        reference, left_out = shuffled[:n_reference], shuffled[n_reference:]
        for row, name in enumerate(names):
            if name == RANDOM:
                values: Array = rng.random(model.cfg.d_vocab)
                own: Array = values[reference]
            else:
                values = table.against(name, reference)
                own = table.left_out(name, reference)
            cutoff = float(np.quantile(own, _CUTOFF_SHARE))
            found[:, row, split] = _rates(values, left_out, others, cutoff)
    return HalfOut(
        names=names,
        **dict(zip(_RATES, found, strict=True)),
        n_reference=n_reference,
        n_found=known.size - n_reference,
        n_used=others.size,
        settings={"model": model.cfg.model_name, "seed": seed, "cutoff_share": _CUTOFF_SHARE},
    )


def separation(
    values: Float[Array, " d_vocab"],
    unused: Int[NDArray[np.integer], " unused"],
    used: Int[NDArray[np.integer], " used"],
    seed: int = 0,
) -> Interval:
    """The area under the ROC curve of one indicator: P(an unused token has the lower value).

    Its interval is of a bootstrap over tokens of both sorts.

    Example:
        >>> separation(np.array([0.1, 0.2, 0.9, 0.8]), np.array([0, 1]), np.array([2, 3])).estimate
        1.0
    """
    return auroc(-values[unused], -values[used], seed, n_resamples=_N_RESAMPLES)


def precision_and_recall(
    values: Float[Array, " d_vocab"],
    unused: Int[NDArray[np.integer], " unused"],
    used: Int[NDArray[np.integer], " used"],
    n_flagged: int,
) -> tuple[Interval, Interval]:
    """(precision, recall) where the `n_flagged` lowest of these tokens are called unused.

    Raises:
        ValueError: not from 1 to the number of tokens.
    """
    both = np.concatenate([unused, used])
    if not 1 <= n_flagged <= both.size:
        raise ValueError(f"n_flagged={n_flagged} is not from 1 to {both.size}, the tokens counted.")
    flagged = both[np.argsort(values[both], kind="stable")[:n_flagged]]
    hits = int(np.isin(flagged, unused).sum())
    return proportion(hits, n_flagged), proportion(hits, unused.size)


def _rates(
    values: Array, left_out: NDArray[np.int64], used: NDArray[np.int64], cutoff: float
) -> tuple[float, float, float, float]:
    below = values[left_out] <= cutoff
    wrong = int((values[used] <= cutoff).sum())
    flagged = int(below.sum()) + wrong
    precision = float(below.sum()) / flagged if flagged else float("nan")
    higher = values[used][None, :] - values[left_out][:, None]  # [left out, used]
    area = float(((1 + np.sign(higher)) / 2).mean())
    return area, precision, float(below.mean()), cutoff


def _checked(
    model: HookedTransformer, unused: Sequence[int], used: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = (np.unique(np.asarray(one, dtype=np.int64)) for one in (unused, used))
    for name, tokens, least in (("unused", first, 3), ("used", second, 1)):
        if tokens.size < least:
            raise ValueError(f"{tokens.size} {name} tokens are too few: at least {least}.")
        if tokens[0] < 0 or tokens[-1] >= model.cfg.d_vocab:
            raise ValueError(
                f"a token in {name} is not in the vocabulary of {model.cfg.model_name}: "
                f"0 to {model.cfg.d_vocab - 1}."
            )
    both = np.intersect1d(first, second)
    if both.size:
        raise ValueError(f"token {both[0]} is in unused and in used: it can only be one.")
    return first, second
