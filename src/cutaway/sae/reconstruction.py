"""How well activations are rebuilt, and by how many features: sums over sequences, streamed.

Each number is a ratio of sums over all rows, so that neither the size of the batches nor the order
of the rows changes it. The sums are kept sequence by sequence: rows of one text are alike, and
intervals resample texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..evidence import Interval, bootstrap_ratio

Array = NDArray[np.float64]
SUMS = ("error", "deviation", "active", "cosine", "output", "product", "spread", "shared")
_LEVEL = 0.95


class Reconstructor(Protocol):
    """A dictionary, or what stands beside it."""

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row feature"]:
        """Features of each row; what is not 0 counts as active."""

    def decode(
        self, features: Float[Tensor, "row feature"], x: Float[Tensor, "row d_in"] | None = None
    ) -> Float[Tensor, "row d_out"]:
        """The row that they stand for."""


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """Some sequences of activations."""

    x: Float[Tensor, "sequence pos d_in"]
    """What is read."""
    target: Float[Tensor, "sequence pos d_out"]
    """What it should be turned into; of an autoencoder `x`."""
    kept: Bool[Tensor, "sequence pos"]
    """False where a row does not count: BOS, padding."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What one dictionary (or baseline) does on all rows: x is the target, x' what comes out.

    Sums over the rows of each sequence; m is the mean of x over all rows.

    Example:
        >>> found = reconstruct({"dictionary": dictionary}, batches)["dictionary"]
        >>> found.explained_variance(), found.l0()
    """

    n_rows: Float[Array, "sequence"]
    """Rows that count."""
    error: Float[Array, "sequence"]
    """|x - x'|^2."""
    deviation: Float[Array, "sequence"]
    """|x - m|^2."""
    active: Float[Array, "sequence"]
    """Features that are not 0."""
    cosine: Float[Array, "sequence"]
    """Cosine of x and x'; 0 where one has no length."""
    output: Float[Array, "sequence"]
    """|x'|^2."""
    product: Float[Array, "sequence"]
    """x . x'."""
    spread: Float[Array, "sequence"]
    """|x' - m|^2."""
    shared: Float[Array, "sequence"]
    """(x - m) . (x' - m)."""
    fired: Float[Array, "feature"]
    """Rows in which each feature is active."""
    strength: Float[Array, "feature"]
    """Sum of each feature's values."""

    @property
    def n(self) -> int:
        """All rows."""
        return int(self.n_rows.sum())

    @property
    def density(self) -> Float[Array, "feature"]:
        """Share of the rows in which each feature is active."""
        return np.asarray(self.fired / self.n_rows.sum())

    @property
    def alive(self) -> NDArray[np.bool_]:
        """[feature], active in at least one row."""
        return np.asarray(self.fired > 0)

    @property
    def n_dead(self) -> int:
        """Features that are active in no row. With more rows there are fewer."""
        return int((~self.alive).sum())

    def l0(self) -> Interval:
        """Active features of a row, on average."""
        return self._ratio(self.active, self.n_rows)

    def explained_variance(self) -> Interval:
        """1 - E|x - x'|^2 / E|x - m|^2: 0 for the mean alone, below 0 for worse than that."""
        unexplained = self._ratio(self.error, self.deviation)
        return Interval(
            1 - unexplained.estimate,
            1 - unexplained.high,
            1 - unexplained.low,
            unexplained.level,
            unexplained.n,
        )

    def mean_cosine(self) -> Interval:
        """Mean cosine of x and x'. A large mean m makes it high for any x' near m."""
        return self._ratio(self.cosine, self.n_rows)

    def relative_bias(self) -> Interval:
        """E|x'|^2 / E[x . x'] (Rajamanoharan et al. 2024a): 1 is unbiased, below 1
        the output is too short."""
        return self._ratio(self.output, self.product)

    def centred_bias(self) -> Interval:
        """The same of x - m and x' - m, so that a large mean cannot hide shrinkage."""
        return self._ratio(self.spread, self.shared)

    def _ratio(self, top: Array, bottom: Array) -> Interval:
        if not abs(bottom.sum()) > 0:
            return Interval(float("nan"), -np.inf, np.inf, _LEVEL, len(bottom))
        value, low, high = bootstrap_ratio(top, bottom, level=_LEVEL, n_resamples=2000)
        return Interval(float(value), float(low), float(high), _LEVEL, len(bottom))


def row_batches(
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"] | None = None,
    length: int = 64,
    batch_size: int = 64,
) -> Iterator[SequenceBatch]:
    """Rows without sequences (synthetic ones), `length` of them taken for one each.

    Args:
        x: what is read.
        target: of a transcoder; None is `x`.
        length: rows of a "sequence", the unit of the intervals.
        batch_size: sequences of a batch.

    Raises:
        ValueError: there are no rows.

    Example:
        >>> reconstruct({"dictionary": dictionary}, row_batches(x))
    """
    target = x if target is None else target
    if not len(x):
        raise ValueError("there are no rows to evaluate on.")
    for some, wanted in zip(
        x.split(length * batch_size), target.split(length * batch_size), strict=True
    ):
        n_sequences = -(-len(some) // length)
        missing = n_sequences * length - len(some)
        kept = torch.ones(len(some), dtype=torch.bool, device=x.device)
        shaped = [
            torch.nn.functional.pad(rows, (0, 0, 0, missing)).view(n_sequences, length, -1)
            for rows in (some, wanted)
        ]
        mask = torch.nn.functional.pad(kept, (0, missing)).view(n_sequences, length)
        yield SequenceBatch(shaped[0], shaped[1], mask)


@torch.no_grad()
def reconstruct(
    reconstructors: Mapping[str, Reconstructor], batches: Iterable[SequenceBatch]
) -> dict[str, Reconstruction]:
    """Measure several dictionaries on the same rows, in one pass.

    Args:
        reconstructors: by name.
        batches: all sequences.

    Raises:
        ValueError: no rows, or values that are not finite.

    Example:
        >>> reconstruct({"one": one, "other": other}, row_batches(x))["one"].l0()
    """
    running = {name: _Running() for name in reconstructors}
    for batch in batches:
        n_rows = batch.kept.sum(1)
        sequence = torch.arange(len(n_rows), device=n_rows.device).repeat_interleave(n_rows)
        x, target = batch.x[batch.kept], batch.target[batch.kept]
        if not (torch.isfinite(x).all() and torch.isfinite(target).all()):
            raise ValueError(
                "the activations hold NaN or infinite values: a dictionary cannot be evaluated on "
                "them. A model in float16 may overflow; load it in float32."
            )
        for name, one in reconstructors.items():
            features = one.encode(x)
            running[name].add(n_rows, sequence, target, one.decode(features, x), features)
    return {name: one.finished() for name, one in running.items()}


class _Running:
    """Sums over sequences; those that need the mean of all rows are made of them at the end."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Array]] = []
        self.fired: Array | None = None
        self.strength: Array | None = None

    def add(
        self,
        n_rows: Int[Tensor, "sequence"],
        sequence: Int[Tensor, "row"],
        x: Float[Tensor, "row d_out"],
        out: Float[Tensor, "row d_out"],
        features: Float[Tensor, "row feature"],
    ) -> None:
        active = features != 0
        rows = {
            "error": (x - out).square().sum(-1),
            "input": x.square().sum(-1),
            "active": active.sum(-1).to(x.dtype),
            "cosine": torch.nn.functional.cosine_similarity(x, out, dim=-1),
            "output": out.square().sum(-1),
            "product": (x * out).sum(-1),
            "x": x,
            "out": out,
        }
        part = {name: _summed(values, sequence, len(n_rows)) for name, values in rows.items()}
        self.parts.append({**part, "n_rows": _numpy(n_rows)})
        fired, strength = _numpy(active.sum(0)), _numpy(features.double().sum(0))
        self.fired = fired if self.fired is None else self.fired + fired
        self.strength = strength if self.strength is None else self.strength + strength

    def finished(self) -> Reconstruction:
        if not self.parts or not sum(part["n_rows"].sum() for part in self.parts):
            raise ValueError("there are no rows to evaluate on: all are BOS or padding.")
        assert self.fired is not None and self.strength is not None
        sums: dict[str, Any] = {
            name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]
        }
        counted = sums["n_rows"] > 0
        sums = {name: values[counted] for name, values in sums.items()}
        n, x, out = sums["n_rows"], sums.pop("x"), sums.pop("out")
        m = x.sum(0) / n.sum()
        x_m, out_m, m_m = x @ m, out @ m, n * (m @ m)
        return Reconstruction(
            deviation=sums.pop("input") - 2 * x_m + m_m,
            spread=sums["output"] - 2 * out_m + m_m,
            shared=sums["product"] - x_m - out_m + m_m,
            fired=self.fired,
            strength=self.strength,
            **sums,
        )


def _summed(values: Tensor, sequence: Int[Tensor, "row"], n: int) -> Array:
    """Sums over the rows of each sequence, in float64."""
    wide = values.double()
    total = wide.new_zeros(n, *values.shape[1:]).index_add(0, sequence, wide)
    return _numpy(total)


def _numpy(values: Tensor) -> Array:
    return np.asarray(values.detach().cpu().double().numpy())
