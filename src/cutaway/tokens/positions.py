"""How alike positions are: the table W_pos, and what rotary models have in its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .. import plotting
from ..array_files import load_arrays, save_arrays
from ..model.attention_context import rotary_angles, rotate
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from .vectors import Floats, Integers, without_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KIND = "similarity of positions"
_ARRAYS = (
    "positions",
    "cosines",
    "by_distance",
    "variance_shares",
    "components",
    "periods",
    "power_shares",
    "random_power_shares",
    "walk_power_shares",
)
_WALKS = 20  # random walks
_FEWEST = 4  # positions that a period can be read from


@dataclass(frozen=True)
class PositionSimilarity:
    """Cosines between the positions' vectors, and the waves that their components are.

    Example:
        >>> found = position_similarity(model)
        >>> found.by_distance[1], found.periods[0]  # neighbours; of the first component
        (0.92, 64.0)
    """

    model: str
    """The model's name."""
    centred: bool
    """Whether the mean over positions was taken out before cosines."""
    positions: Int[Integers, " pos"]
    """Those that were read."""
    cosines: Float[Floats, "pos pos"]
    """Of every pair."""
    by_distance: Float[Floats, " pos"]
    """The mean cosine of pairs this far apart; 1 at distance 0."""
    variance_shares: Float[Floats, " component"]
    """Of the variance of the vectors over positions, by principal component."""
    components: Float[Floats, "component pos"]
    """Each component as a curve over positions, of length 1; its sign means nothing."""
    periods: Float[Floats, " component"]
    """Positions in one turn of the wave that has most of the curve's power."""
    power_shares: Float[Floats, " component"]
    """That wave's share of the curve's power. 1 is a pure wave."""
    random_power_shares: Float[Floats, "draw component"]
    """The control: the largest share of one wave where the positions are in random order."""
    walk_power_shares: Float[Floats, "walk component"]
    """The second control: that of random walks of as many steps in as many dimensions, which are
    smooth and have no period at all."""

    def p_values(self) -> Float[Floats, " component"]:
        """How often positions in random order have a wave with at least as much of the power."""
        reached = (self.random_power_shares >= self.power_shares).sum(0)
        return np.asarray((1 + reached) / (1 + len(self.random_power_shares)))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each component; pandas takes it as is."""
        p, random = self.p_values(), self.random_power_shares.mean(0)
        walk = self.walk_power_shares.mean(0)
        return [
            {
                "component": at,
                "variance_share": float(self.variance_shares[at]),
                "period": float(self.periods[at]),
                "power_share": float(self.power_shares[at]),
                "random_power_share": float(random[at]),
                "p": float(p[at]),
                "walk_power_share": float(walk[at]),
            }
            for at in range(len(self.periods))
        ]

    def plot(self) -> Figure:
        """The cosines of all pairs as a heat map."""
        labels = [str(position) for position in self.positions]
        return plotting.heatmap(
            self.cosines,
            labels,
            labels,
            f"{self.model}: positions",
            row_axis="position",
            column_axis="position",
            value_label="cosine",
            limit=1,
            cell_labels=False,
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the arrays, and the rest as JSON in its header."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        save_arrays(path, _KIND, arrays, {"model": self.model, "centred": self.centred})

    @classmethod
    def load(cls, path: str | Path) -> PositionSimilarity:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, is a folder, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        return cls(**described, **{name: arrays[name] for name in _ARRAYS})


@torch.no_grad()
def position_similarity(
    model: HookedTransformer,
    positions: range | None = None,
    *,
    centred: bool = True,
    n_components: int = 6,
    n_random: int = 1000,
    seed: int = 0,
) -> PositionSimilarity:
    """The cosines of all pairs of rows of W_pos, and their principal components as waves.

    Components are those of the rows less their mean over positions. A component's power is that of
    its discrete Fourier transform over positions, frequency 0 left out; the wave with most of it
    has the period n / frequency. **Controls:** the positions in random order, where the largest
    wave has some percent by luck; and random walks. The components of *any* smooth path look like
    slow waves (Antognini and Sohl-Dickstein 2018), so that a period as long as the table, or half
    of it, is a sign of smoothness and not of a period.

    Args:
        model: one with a learned table; rows are taken as its norms take them (`vectors`).
        positions: consecutive ones; None is all. Position 0 is often unlike all others, and rows
            beyond the longest text of training were never trained: leave them out.
        centred: take the mean over these positions out before cosines; without it they are high
            wherever the mean is long.
        n_components: of the largest variance.
        n_random: random orders.
        seed: of the orders.

    Raises:
        ValueError: a model without a table of positions, positions outside it, fewer than 4, or
            not consecutive; fewer than one component or one random order.

    Example:
        >>> position_similarity(model, range(1, 64)).plot()
    """
    cfg = model.cfg
    if cfg.positional_embedding_type != "standard":
        instead = (
            "its positions turn queries and keys, see rotary_similarity"
            if cfg.positional_embedding_type == "rotary"
            else "it has no positions at all"
        )
        raise ValueError(f"{cfg.model_name} has no table W_pos: {instead}.")
    chosen = range(cfg.n_ctx) if positions is None else positions
    if (
        len(chosen) < _FEWEST
        or chosen.step != 1
        or not 0 <= chosen.start < chosen.stop <= cfg.n_ctx
    ):
        raise ValueError(
            f"positions={chosen} must be at least {_FEWEST} consecutive ones of 0 to "
            f"{cfg.n_ctx - 1}."
        )
    if n_components < 1 or n_random < 1:
        raise ValueError(f"n_components={n_components} and n_random={n_random} must be at least 1.")
    rows = without_mean(model, at_least_float32(model.W_pos.detach()[chosen.start : chosen.stop]))
    spread = rows - rows.mean(0)
    unit = torch.nn.functional.normalize(spread if centred else rows, dim=-1)
    cosines = (unit @ unit.T).double().cpu().numpy()
    n_components = min(n_components, len(chosen) - 1, cfg.d_model)
    curves, variance = _components(spread.double().cpu().numpy(), n_components)
    periods, shares = _largest_wave(curves)
    rng = np.random.default_rng(seed)
    walks = rng.standard_normal((_WALKS, *rows.shape)).cumsum(1)  # [walk, pos, d_model]
    orders = np.stack([rng.permutation(len(chosen)) for _ in range(n_random)])
    return PositionSimilarity(
        model=cfg.model_name,
        centred=centred,
        positions=np.arange(chosen.start, chosen.stop),
        cosines=cosines,
        by_distance=np.array([np.diagonal(cosines, d).mean() for d in range(len(chosen))]),
        variance_shares=variance,
        components=curves,
        periods=periods,
        power_shares=shares,
        random_power_shares=_largest_wave(curves[:, orders].swapaxes(0, 1))[1],
        walk_power_shares=np.stack(
            [_largest_wave(_components(walk, n_components)[0])[1] for walk in walks]
        ),
    )


def rotary_similarity(
    model: HookedTransformer,
    distances: Int[Tensor, " distance"] | range,
    query: Float[Tensor, " d_head"] | None = None,
    key: Float[Tensor, " d_head"] | None = None,
) -> Float[Tensor, " distance"]:
    """What rotary positions do to q . k as the key moves away: the analogue of W_pos' cosines.

    Rotary positions (Su et al. 2021) add nothing to the stream. They turn the pair i of query and
    key by an angle theta_i for each position, so that with the key `distance` before the query

        q . k = sum_i |q_i| |k_i| cos(distance theta_i + phi_i) + what is not turned,

    phi_i being the angle from k_i to q_i. Without a query and a key, all pairs are alike and point
    the same way, and the value is the mean of cos(distance theta_i) over all dimensions of the
    head: 1 at distance 0, falling and waving after. That is what the rotation does by itself; a
    head's own queries and keys decide which pairs it uses.

    Args:
        model: one with rotary positions.
        distances: of the key before the query, 0 or more.
        query: before the rotation; None is as above.
        key: likewise.

    Returns:
        The product at each distance over |q| |k|, from -1 to 1.

    Raises:
        ValueError: a model without rotary positions, a negative distance, only one of query and
            key, or one of another width or of zeros.

    Example:
        >>> rotary_similarity(model, range(3))
        tensor([1.0000, 0.9662, 0.8845])
    """
    cfg = model.cfg
    if cfg.positional_embedding_type != "rotary":
        raise ValueError(
            f"{cfg.model_name} does not turn its queries and keys (positional_embedding_type is "
            f"{cfg.positional_embedding_type!r}): see position_similarity."
        )
    places = torch.as_tensor(list(distances) if isinstance(distances, range) else distances)
    if places.numel() and int(places.min()) < 0:
        raise ValueError(f"the distance {int(places.min())} is negative: no query sees later keys.")
    if (query is None) != (key is None):
        raise ValueError("a query needs a key and a key a query: give both or neither.")
    ones = torch.ones(cfg.d_head, device=model.device)
    q, k = (_unit(ones if x is None else x.detach().to(ones), cfg.d_head) for x in (query, key))
    cos, sin = rotary_angles(cfg, places.to(model.device)[None], q.dtype)
    turned = rotate(cfg, q.expand(1, len(places), 1, -1), cos, sin)[0, :, 0]  # [distance, d_head]
    return turned @ k  # the key at position 0 is not turned


def _unit(x: Float[Tensor, " width"], d_head: int) -> Tensor:
    length = x.norm() if x.ndim == 1 else x.new_zeros(())
    if x.shape != (d_head,) or not length > 0:
        raise ValueError(
            f"a query or key of shape {tuple(x.shape)} and length {float(length):g} is not a "
            f"direction of [{d_head}]."
        )
    return x / length


def _components(rows: Float[Floats, "pos d_model"], n: int) -> tuple[Floats, Floats]:
    """The first principal components as curves [component, pos], and their variance shares."""
    u, s, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return np.ascontiguousarray(u.T[:n]), s[:n] ** 2 / (s**2).sum()


def _largest_wave(curves: Float[Floats, "*lead pos"]) -> tuple[Floats, Floats]:
    """The period of the wave with most of each curve's power, and its share of it."""
    n = curves.shape[-1]
    power = np.abs(np.fft.rfft(curves, axis=-1)[..., 1:]) ** 2  # [..., frequency 1 to n // 2]
    if n % 2 == 0:
        power[..., -1] /= 2  # the fastest wave has no mirror image, all others have
    shares = power / power.sum(-1, keepdims=True)
    best = shares.argmax(-1)
    return np.asarray(n / (best + 1)), np.asarray(shares.max(-1))
