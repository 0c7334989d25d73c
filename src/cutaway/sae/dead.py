"""Features that do not fire any more: who they are, and how they begin anew."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..training.source import generator
from .dictionary import Dictionary
from .kinds import Gated, JumpReLU

RESAMPLE = 14
"""Stream of random numbers: which rows dead features begin from."""
_ENCODER_SHARE = 0.2  # of the mean norm of living features: Bricken et al. 2023


class Firing(nn.Module):
    """How long ago each feature last fired, in rows. A module, so that checkpoints keep it.

    Args:
        n_features: of the dictionary.

    Example:
        >>> firing = Firing(512)
        >>> firing.saw(fired, n_rows=4096)
        >>> firing.dead(after=200_000).float().mean()  # the dead share
    """

    rows_since: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("rows_since", torch.zeros(n_features, dtype=torch.long))

    def saw(self, fired: Bool[Tensor, "d_features"], n_rows: int) -> None:
        """Count a batch in which some features fired."""
        self.rows_since.add_(n_rows).masked_fill_(fired, 0)

    def dead(self, after: int) -> Bool[Tensor, "d_features"]:
        """Features that did not fire in the last `after` rows."""
        return self.rows_since >= after

    def begin_anew(self, features: Int[Tensor, "n"]) -> None:
        """Count these from now on."""
        self.rows_since[features] = 0


@torch.no_grad()
def resample(
    dictionary: Dictionary,
    features: Int[Tensor, "n"],
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"] | None = None,
    *,
    seed: int = 0,
    step: int = 0,
) -> Int[Tensor, "n"]:
    """Let features begin anew at rows that are badly reconstructed (Bricken et al. 2023).

    Each takes a row, drawn with a probability proportional to its squared error. Its decoder row
    becomes the unit vector along what is to be written there (the target less the bias), its
    encoder column the one along what is read, as long as 0.2 times the mean of the features that
    live on; its bias becomes 0, and gates and thresholds are as in a fresh dictionary. Forgetting
    what the optimiser knows of them is the caller's business.

    Args:
        dictionary: changed in place.
        features: that begin anew.
        x: rows to choose from, in units of the model; as many as fit in memory.
        target: what a transcoder predicts.
        seed: of the choice.
        step: of training; another step chooses others.

    Returns:
        The row that each feature took.

    Raises:
        ValueError: no rows.

    Example:
        >>> resample(dictionary, firing.dead(200_000).nonzero()[:, 0], x, seed=0, step=1000)
    """
    if not len(x):
        raise ValueError("there are no rows for features to begin from.")
    cfg = dictionary.cfg
    wanted = dictionary.scaled_target(x, target)
    error = (dictionary(x) * cfg.scale - wanted).square().sum(-1)
    chosen = _drawn(error, len(features), seed, step)
    written = nn.functional.normalize(wanted[chosen] - dictionary.b_dec, dim=-1)
    read = nn.functional.normalize(dictionary.encoder_input(x[chosen]), dim=-1)
    alive = torch.ones(cfg.d_features, dtype=torch.bool, device=x.device)
    alive[features] = False
    norms = dictionary.W_enc.norm(dim=0)  # [d_features]
    length = _ENCODER_SHARE * (norms[alive].mean() if bool(alive.any()) else norms.new_ones(()))
    dictionary.W_dec[features] = written.to(dictionary.dtype)
    dictionary.W_enc[:, features] = (length * read).t().to(dictionary.dtype)
    _reset_decisions(dictionary, features)
    return chosen


def _drawn(error: Float[Tensor, "row"], n: int, seed: int, step: int) -> Int[Tensor, "n"]:
    """Numbers of rows, with probabilities proportional to their errors; several may be the same."""
    at = torch.from_numpy(generator(seed, RESAMPLE, step).random(n)).to(error.device)
    below = error.double().cumsum(0)
    if float(below[-1]) == 0:  # nothing is badly reconstructed
        below = torch.arange(1, len(error) + 1, device=error.device, dtype=torch.float64)
    return torch.searchsorted(below, at * below[-1], right=True).clamp(max=len(error) - 1)


def _reset_decisions(dictionary: Dictionary, features: Int[Tensor, "n"]) -> None:
    """Biases, gates and thresholds of some features, as in a fresh dictionary."""
    if isinstance(dictionary, Gated):
        for values in (dictionary.r_mag, dictionary.b_gate, dictionary.b_mag):
            values[features] = 0
        return
    dictionary.b_enc[features] = 0
    if isinstance(dictionary, JumpReLU):
        dictionary.log_threshold[features] = torch.tensor(JumpReLU.first_threshold).log()


def per_feature(name: str) -> int | None:
    """The axis of a weight along which the features lie; None for those that all share."""
    axes = {"W_enc": 1, "W_dec": 0, "b_dec": None, "W_skip": None}
    return axes.get(name, 0)
