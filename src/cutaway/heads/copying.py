"""Whether a head copies: the eigenvalues of its full OV circuit, beside those of random heads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .. import evidence, plotting
from ..array_files import Array, load_arrays, save_arrays
from ..model.transformer import HookedTransformer
from .random_weights import Control, check_control, frame, normal

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def copying_scores(
    model: HookedTransformer,
    embedding: Float[Tensor, "d_vocab d_model"] | None = None,
) -> Float[Tensor, "layer head"]:
    """How far each head raises the logit of the token that it attends to, by its weights alone.

    The sum of the eigenvalues of the full OV circuit W_E W_V W_O W_U over the sum of their sizes
    (Elhage et al. 2021, "A Mathematical Framework", on copying heads): +1 if every eigenvalue is
    real and positive (each of its eigenvectors, a mixture of tokens, raises itself), -1 if all
    are negative, about 0 for a head that moves tokens to other tokens. The eigenvalues are those of
    W_O W_U W_E W_V, which is [d_head, d_head].

    The weights are taken as they are: `weight_circuits.folded` gives a model whose norms are in
    its weights. A head that the unembedding does not read at all (sizes within rounding) scores 0.
    A high score alone says little, since few eigenvalues may agree by chance: `copying_baseline`.

    Args:
        model: any; key-value groups are given for each query head.
        embedding: what stands for W_E, such as `weight_circuits.extended_embedding(model)`.

    Raises:
        ValueError: an embedding of another shape.

    Example:
        >>> from cutaway.circuits.known import KNOWN
        >>> round(float(copying_scores(KNOWN["induction"](0).model)[1, 2]), 3)  # induction head
        1.0
    """
    middle = _logits_of_stream(model, embedding)
    W_V, W_O = (_precise(W) for W in (model.W_V, model.W_O))
    product = W_O @ middle @ W_V  # [layer, head, d_head, d_head]
    size = _size(W_O) * _size(middle) * _size(W_V)  # [layer, head]
    return _scores(product, size * _rounding(model)).to(torch.float32)


@dataclass(frozen=True, eq=False)
class CopyingBaseline:
    """The copying scores of a model's heads beside those of random heads of the same shape.

    Example:
        >>> copying = copying_baseline(model)
        >>> copying.scores[1, 2], copying.p_values[1, 2], copying.percentiles[1, 2]
    """

    scores: Float[Array, "layer head"]
    """As `copying_scores`."""
    draws: Float[Array, "*heads draw"]
    """Scores of random heads: [layer, head, draw] if each head has its own ("rotated"), [draw]
    if all share them ("gaussian")."""
    control: Control
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it: the model's name and digest."""

    @property
    def p_values(self) -> NDArray[np.float64]:
        """[layer, head], two-sided: the share of draws at least as far from 0 as the score.

        The score itself counts as one draw, so that none is 0 (Phipson and Smyth 2010).
        """
        reached = np.abs(self.draws) >= np.abs(self.scores)[..., None] - 1e-6  # rounding is a tie
        return np.asarray((1 + reached.sum(-1)) / (1 + self.draws.shape[-1]), dtype=np.float64)

    @property
    def percentiles(self) -> NDArray[np.float64]:
        """[layer, head], 0 to 100: the share of draws below the score, ties counted half."""
        scores = self.scores[..., None]
        below = (self.draws < scores - 1e-6).mean(-1)
        tied = (np.abs(self.draws - scores) <= 1e-6).mean(-1)
        return np.asarray(100 * (below + tied / 2), dtype=np.float64)

    def band(self, level: float = 0.95) -> tuple[Array, Array]:
        """(low, high) that hold the middle `level` of the draws: of each head, or of all."""
        if not 0 < level < 1:
            raise ValueError(f"level={level} must lie between 0 and 1.")
        tail = (1 - level) / 2
        return np.quantile(self.draws, tail, axis=-1), np.quantile(self.draws, 1 - tail, axis=-1)

    def discoveries(self, rate: float = 0.05) -> evidence.Discoveries:
        """The heads whose score random ones do not reach, all heads being one family of tests."""
        return evidence.benjamini_hochberg(self.p_values, rate)

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each head; pandas takes it as is."""
        p, percentile = self.p_values, self.percentiles
        adjusted = evidence.benjamini_hochberg(p).adjusted
        low, high = (np.broadcast_to(end, self.scores.shape) for end in self.band())
        return [
            {
                "layer": index[0],
                "head": index[1],
                "copying": float(self.scores[index]),
                "p": float(p[index]),
                "q": float(adjusted[index]),
                "percentile": float(percentile[index]),
                "random_low": float(low[index]),
                "random_high": float(high[index]),
            }
            for index in np.ndindex(self.scores.shape)
        ]

    def plot(self, title: str | None = None) -> Figure:
        """A heat map of the scores, [layer, head]."""
        n_layers, n_heads = self.scores.shape
        return plotting.heatmap(
            self.scores,
            row_labels=[str(layer) for layer in range(n_layers)],
            column_labels=[str(head) for head in range(n_heads)],
            title=title or "copying score of each head",
            row_axis="layer",
            column_axis="head",
            limit=1.0,
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        described = {"control": self.control, "seed": self.seed, "settings": self.settings}
        save_arrays(path, "copying", {"scores": self.scores, "draws": self.draws}, described)

    @classmethod
    def load(cls, path: str | Path) -> CopyingBaseline:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        arrays, described = load_arrays(path, "copying")
        return cls(arrays["scores"], arrays["draws"], **described)


def copying_baseline(
    model: HookedTransformer,
    control: Control = "rotated",
    n_draws: int = 1000,
    seed: int = 0,
    embedding: Float[Tensor, "d_vocab d_model"] | None = None,
) -> CopyingBaseline:
    """The copying scores, each beside those of random heads between the same W_E and W_U.

    Args:
        model: whose heads.
        control: "rotated" draws the directions that a head reads and writes and keeps the
            singular values of its W_V W_O; "gaussian" draws W_V and W_O themselves, once for all
            heads. `random_weights` says why the first is fairer. Both are symmetric about 0.
        n_draws: random heads; no p-value is below 1 / (1 + n_draws). "rotated" computes the
            eigenvalues of n_draws matrices [d_head, d_head] for every head, which takes a quarter
            of an hour in a model like GPT-2; "gaussian" of n_draws in all.
        seed: of the draws. All heads are held against the same drawn directions.
        embedding: as in `copying_scores`.

    Raises:
        ValueError: an unknown control, no draws, an embedding of another shape.

    Example:
        >>> copying = copying_baseline(model, n_draws=200)
        >>> copying.discoveries().found.nonzero()
    """
    check_control(control, n_draws)
    scores = copying_scores(model, embedding)
    middle = _logits_of_stream(model, embedding)
    generator = torch.Generator().manual_seed(seed)
    sample = _rotated if control == "rotated" else _gaussian
    draws = sample(model, middle, n_draws, generator)
    return CopyingBaseline(
        scores.cpu().numpy().astype(np.float64),
        draws.cpu().numpy().astype(np.float64),
        control,
        seed,
        {"model": model.cfg.model_name, "digest": model.digest},
    )


def _rotated(
    model: HookedTransformer, middle: Tensor, n_draws: int, generator: torch.Generator
) -> Float[Tensor, "layer head draw"]:
    """Scores of heads with the singular values of W_V W_O and random directions."""
    S = model.OV.S.detach().to(middle.dtype)  # [layer, head, d_head]
    width = S.shape[-1]
    size = S.norm(dim=-1) * _size(middle)
    draws = torch.empty(*S.shape[:-1], n_draws, dtype=middle.dtype, device=middle.device)
    for draw in range(n_draws):
        # U S V^T reads along U and writes along V.
        u, v = (frame(len(middle), width, generator=generator, like=middle) for _ in range(2))
        product = S[..., :, None] * (v.T @ middle @ u)  # [layer, head, d_head, d_head]
        draws[..., draw] = _scores(product, size * _rounding(model))
    return draws


def _gaussian(
    model: HookedTransformer, middle: Tensor, n_draws: int, generator: torch.Generator
) -> Float[Tensor, " draw"]:
    """Scores of heads whose W_V and W_O are normal numbers."""
    shape = len(middle), model.cfg.d_head
    products = []
    for _ in range(n_draws):
        read, written = (normal(*shape, generator=generator, like=middle) for _ in range(2))
        products.append(written.T @ middle @ read)  # [d_head, d_head]
    return _scores(torch.stack(products), 0.0)


def _scores(product: Float[Tensor, "*heads d d"], noise: Tensor | float) -> Float[Tensor, "*heads"]:
    """sum(eigenvalues) / sum |eigenvalues|; 0 where the product's size is within `noise`."""
    # The trace is exact where the eigenvalues are not (those of a nilpotent matrix).
    trace = torch.diagonal(product, dim1=-2, dim2=-1).sum(-1)
    sizes = torch.linalg.eigvals(product).abs().sum(-1)
    counts = (_size(product) > noise) & (sizes > 0)
    return torch.where(counts, trace / torch.where(counts, sizes, 1.0), 0.0)


def _logits_of_stream(
    model: HookedTransformer, embedding: Tensor | None
) -> Float[Tensor, "d_model d_model"]:
    """W_U W_E: from what is written to the stream to logits, and back as if each token were fed
    in as strongly as its logit."""
    W_E = model.W_E if embedding is None else embedding
    if W_E.shape != model.W_E.shape:
        raise ValueError(
            f"the embedding has the shape {tuple(W_E.shape)}; this model's W_E has "
            f"{tuple(model.W_E.shape)}."
        )
    return _precise(model.W_U) @ _precise(W_E)


def _precise(W: Tensor) -> Tensor:
    return W.detach().to(torch.float64)


def _size(matrix: Tensor) -> Tensor:
    size: Tensor = torch.linalg.matrix_norm(matrix)
    return size


def _rounding(model: HookedTransformer) -> float:
    """What is smaller, in parts of the product of the factors' sizes, may be rounding alone."""
    # Coarser formats are not given more: the products of real heads are not much larger than that.
    return 10 * min(torch.finfo(model.dtype).eps, torch.finfo(torch.float32).eps)
