"""Which heads read what which heads write, by their weights: Q-, K- and V-composition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from .. import evidence, plotting
from ..array_files import Array, load_arrays, save_arrays
from ..model.transformer import HookedTransformer
from .random_weights import Control, check_control, frame, normal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["Q", "K", "V"]
_CHUNK = 64
_FEWEST, _MOST = 2_000, 20_000  # draws, unless a number is asked for


@dataclass(frozen=True)
class Composition:
    """One pair of heads.

    Example:
        >>> print(composition_scores(model, "K").top(1)[0])
        0.1->1.2.k: 0.24, random 0.12 (p = 0.0005, q = 0.008)
    """

    earlier: tuple[int, int]
    """(layer, head) of the one that writes."""
    later: tuple[int, int]
    kind: Kind
    score: float
    random_mean: float
    """Mean score of the random pairs."""
    p: float
    """The share of random pairs that score as much."""
    q: float
    """The false discovery rate at which the pair would be found among all pairs."""

    @property
    def name(self) -> str:
        """As an edge of the graph: "0.1->1.2.k"."""
        ends = ".".join(map(str, self.earlier)), ".".join(map(str, self.later))
        return f"{ends[0]}->{ends[1]}.{self.kind.lower()}"

    @property
    def excess(self) -> float:
        """Score less the mean of the random pairs."""
        return self.score - self.random_mean

    def __str__(self) -> str:
        numbers = f"{self.score:.2f}, random {self.random_mean:.2f}"
        return f"{self.name}: {numbers} (p = {self.p:.2g}, q = {self.q:.2g})"


@dataclass(frozen=True, eq=False)
class CompositionScores:
    """Composition scores of all pairs of heads beside those of random pairs.

    All arrays are [layer, head, layer, head]: the one that writes, then the one that reads. Where
    the second is not in a later layer the score is 0, and the rest NaN.

    Example:
        >>> found = composition_scores(model, "K")
        >>> found.top(3); found.excess[0, 1, 1, 2]; found.discoveries(rate=0.01)
    """

    kind: Kind
    scores: Float[Array, "layer_1 head_1 layer_2 head_2"]
    """|OV of the earlier @ W of the later| / (|OV| |W|), from 0 to 1."""
    random_mean: Float[Array, "layer_1 head_1 layer_2 head_2"]
    random_std: Float[Array, "layer_1 head_1 layer_2 head_2"]
    reached: Float[Array, "layer_1 head_1 layer_2 head_2"]
    """How many random pairs score at least as much."""
    n_draws: int
    control: Control
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it: the model's name and digest."""

    @property
    def excess(self) -> NDArray[np.float64]:
        """Scores less the mean of the random pairs, as Elhage et al. (2021) show them."""
        return np.asarray(self.scores - self.random_mean, dtype=np.float64)

    @property
    def p_values(self) -> NDArray[np.float64]:
        """One-sided: the share of random pairs that score as much; none is below 1 / (1 + draws).

        The pair itself counts as one draw (Phipson and Smyth 2010).
        """
        return np.asarray((1 + self.reached) / (1 + self.n_draws), dtype=np.float64)

    @property
    def percentiles(self) -> NDArray[np.float64]:
        """0 to 100: the share of random pairs that score less."""
        return np.asarray(100 * (1 - self.reached / self.n_draws), dtype=np.float64)

    @property
    def is_pair(self) -> NDArray[np.bool_]:
        """Where the second head is in a later layer: those are the family of tests."""
        return np.isfinite(self.random_mean)

    @property
    def q_values(self) -> NDArray[np.float64]:
        """p-values adjusted for all pairs together (Benjamini and Hochberg 1995)."""
        q = np.full(self.scores.shape, np.nan)
        q[self.is_pair] = evidence.benjamini_hochberg(self.p_values[self.is_pair]).adjusted
        return q

    def ranked(self) -> list[Composition]:
        """Every pair, the one that exceeds its random pairs the most first."""
        p, q = self.p_values, self.q_values
        pairs = [
            Composition(
                (index[0], index[1]),
                (index[2], index[3]),
                self.kind,
                float(self.scores[index]),
                float(self.random_mean[index]),
                float(p[index]),
                float(q[index]),
            )
            for index in zip(*(axis.tolist() for axis in np.nonzero(self.is_pair)), strict=True)
        ]
        return sorted(pairs, key=lambda pair: -pair.excess)

    def top(self, k: int = 10) -> list[Composition]:
        """The k pairs that exceed their random pairs the most."""
        return self.ranked()[:k]

    def discoveries(self, rate: float = 0.05) -> list[Composition]:
        """The pairs that survive Benjamini and Hochberg's procedure, the largest excess first.

        Args:
            rate: the false discovery rate.

        Raises:
            ValueError: a rate that is not between 0 and 1.
        """
        if not 0 < rate < 1:
            raise ValueError(
                f"rate={rate} must lie between 0 and 1; it is a share of the findings."
            )
        return [pair for pair in self.ranked() if pair.q <= rate]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each pair, in the order of `ranked`; pandas takes it as is."""
        std = self.random_std
        return [
            {
                "pair": pair.name,
                "kind": pair.kind,
                "score": pair.score,
                "random_mean": pair.random_mean,
                "random_std": float(std[*pair.earlier, *pair.later]),
                "excess": pair.excess,
                "p": pair.p,
                "q": pair.q,
            }
            for pair in self.ranked()
        ]

    def plot(self, title: str | None = None) -> Figure:
        """A heat map of the excess: rows write, columns read; grey where nothing can be read."""
        n_layers, n_heads = self.scores.shape[:2]
        labels = [f"{layer}.{head}" for layer in range(n_layers) for head in range(n_heads)]
        writers, readers = labels[:-n_heads], labels[n_heads:]
        flat = self.excess.reshape(len(labels), len(labels))[: len(writers), n_heads:]
        return plotting.heatmap(
            flat,
            row_labels=writers,
            column_labels=readers,
            title=title or f"{self.kind}-composition, above random ({self.control})",
            row_axis="writes",
            column_axis="reads",
            value_label="score less random mean",
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        names = ("scores", "random_mean", "random_std", "reached")
        others = ("kind", "n_draws", "control", "seed", "settings")
        save_arrays(
            path,
            "composition",
            {name: getattr(self, name) for name in names},
            {name: getattr(self, name) for name in others},
        )

    @classmethod
    def load(cls, path: str | Path) -> CompositionScores:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        arrays, described = load_arrays(path, "composition")
        values: dict[str, Any] = {**arrays, **described}
        return cls(**values)


def composition_scores(
    model: HookedTransformer,
    kind: Kind = "K",
    control: Control = "rotated",
    n_draws: int | None = None,
    seed: int = 0,
) -> CompositionScores:
    """How much each head reads of what each earlier head writes, beside random pairs.

    The score is |W_OV of the earlier @ W of the later| / (|W_OV| |W|) in Frobenius norms, W being
    the later head's QK circuit (Q), its transpose (K) or its OV circuit (V): Elhage et al. 2021,
    "A Mathematical Framework", on composition. Random matrices score more than 0, so every pair is
    held against some.

    Args:
        model: with two layers or more; its weights are taken as they are.
        kind: "Q", "K" or "V".
        control: "gaussian": all weights of both heads are normal numbers of the same shapes, which
            is the baseline of Elhage et al.; it is the same for all pairs. "rotated": both heads
            keep their singular values, and only how the written subspace lies to the read one is
            drawn. Two heads with few large singular values vary more and overlap more by chance
            than normal ones do, so this one does not take concentration for composition.
        n_draws: random pairs; no p-value is below 1 / (1 + n_draws), so that of P pairs of heads a
            single one is found at the false discovery rate r only with P / r draws. None takes as
            many for r = 0.05, but 2,000 at least and 20,000 at most.
        seed: of the draws. All pairs of heads are held against the same drawn directions.

    Raises:
        ValueError: an unknown kind or control, no draws, a model with a single layer.

    Example:
        >>> composition_scores(KNOWN["induction"](0).model, "K").top(1)[0].name
        '0.1->1.2.k'
    """
    n_draws = _enough(model) if n_draws is None else n_draws
    check_control(control, n_draws)
    scores = model.all_composition_scores(kind).detach().double()
    if model.cfg.n_layers < 2:
        raise ValueError(f"{model.cfg.model_name} has one layer: no head reads another.")
    # A head that does nothing composes with nothing.
    scores = torch.where(scores.isfinite(), scores, 0.0)
    generator = torch.Generator().manual_seed(seed)
    sample = _rotated if control == "rotated" else _gaussian
    total, squares = torch.zeros_like(scores), torch.zeros_like(scores)
    reached = torch.zeros_like(scores)
    for drawn in sample(model, kind, n_draws, generator):  # [draw, layer, head, layer, head]
        total += drawn.sum(0)
        squares += drawn.square().sum(0)
        reached += (drawn >= scores - 1e-9).sum(0)  # rounding is a tie
    mean = total / n_draws
    std = (squares / n_draws - mean.square()).clamp(min=0).sqrt()
    readable = _readable(model).to(scores.device)

    def array(values: Tensor) -> Array:
        return torch.where(readable, values, torch.nan).cpu().numpy()

    return CompositionScores(
        kind=kind,
        scores=scores.cpu().numpy(),
        random_mean=array(mean),
        random_std=array(std),
        reached=array(reached),
        n_draws=n_draws,
        control=control,
        seed=seed,
        settings={"model": model.cfg.model_name, "digest": model.digest},
    )


def _enough(model: HookedTransformer) -> int:
    """Draws with which one pair alone can be found at a false discovery rate of 0.05."""
    n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
    n_pairs = n_heads**2 * n_layers * (n_layers - 1) // 2
    return min(max(20 * n_pairs, _FEWEST), _MOST)


def _readable(model: HookedTransformer) -> Bool[Tensor, "layer_1 1 layer_2 1"]:
    layers = torch.arange(model.cfg.n_layers)
    return (layers[:, None] < layers)[:, None, :, None]


def _rotated(
    model: HookedTransformer, kind: Kind, n_draws: int, generator: torch.Generator
) -> Iterator[Float[Tensor, "draw layer_1 head_1 layer_2 head_2"]]:
    """Scores of pairs with the heads' singular values, a chunk of draws at a time.

    |U_1 S_1 V_1^T U_2 S_2 V_2^T| = |S_1 R S_2|, where R = V_1^T U_2 is all that says how the two
    subspaces lie to each other. For directions drawn uniformly it is the upper block of one frame.
    """
    later = model.OV if kind == "V" else model.QK
    written, read = (
        shares / shares.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        for shares in (m.S.detach().double().square() for m in (model.OV, later))
    )  # [layer, head, d_head]: of the squared norm
    width = written.shape[-1]
    for start in range(0, n_draws, _CHUNK):
        overlap = torch.stack(
            [
                frame(model.cfg.d_model, width, generator=generator, like=written)[:width]
                for _ in range(min(_CHUNK, n_draws - start))
            ]
        ).square()  # [draw, d_head, d_head]
        for some in overlap.split(_draws_at_a_time(model)):
            yield torch.einsum("lhi,nij,mgj->nlhmg", written, some, read).clamp(min=0).sqrt()


def _gaussian(
    model: HookedTransformer, kind: Kind, n_draws: int, generator: torch.Generator
) -> Iterator[Float[Tensor, "draw 1 1 1 1"]]:
    """Scores of pairs of normal matrices, which are the same for every pair and every kind."""
    like = model.W_E.detach().double()
    shape = model.cfg.d_model, model.cfg.d_head
    for _ in range(n_draws):
        A, B, C, D = (normal(*shape, generator=generator, like=like) for _ in range(4))
        # |A B^T C D^T|^2 = tr((A^T A) (B^T C) (D^T D) (B^T C)^T), and |A B^T|^2 likewise.
        middle = B.T @ C
        both = ((A.T @ A) @ middle @ (D.T @ D) * middle).sum()
        alone = ((A.T @ A) * (B.T @ B)).sum() * ((C.T @ C) * (D.T @ D)).sum()
        yield (both / alone).sqrt().reshape(1, 1, 1, 1, 1)


def _draws_at_a_time(model: HookedTransformer) -> int:
    """So many that their scores, of every pair, stay below about 64 MB."""
    n_pairs = (model.cfg.n_layers * model.cfg.n_heads) ** 2
    return max(1, 8_000_000 // n_pairs)
