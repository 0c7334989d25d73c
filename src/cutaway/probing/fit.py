"""Probes of every place at once: the real labels, the controls and the shuffled ones together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .gradient import Curves, train_by_gradient
from .linear_probe import solve
from .settings import ProbeSettings
from .solvers import Fitted, Scale, Whitened, logistic, predict
from .splits import Split

Array = NDArray[np.float64]
Progress = Callable[[float], None]
Start = tuple[Whitened, Tensor | None] | None
_MOST_NUMBERS = 30_000_000  # scores held at a time; it changes no result


@dataclass(frozen=True, eq=False)
class Fits:
    """What the probes of some places say, for every column of labels."""

    test: Array
    """[place, column, prompt], the class or number that each test prompt is given."""
    score: Float[Array, "place column prompt"]
    """Of test prompts: 1 where the class is right, else 0; of numbers 1 - squared error / mean
    squared error of the train mean, so that the mean over prompts is R^2."""
    validation: Float[Array, "place column"]
    """Mean score on the validation prompts, with the penalty that was chosen by it."""
    penalty: Float[Array, "place column"]
    weights: Float[Tensor, "place k d"]
    """Of the first column, in the units of the activations."""
    bias: Float[Tensor, "place k"]
    curves: Curves | None
    """Of probes that are trained by gradient; of the last penalty."""
    n_unconverged: int
    """Logistic probes that had not converged."""


def fit_places(
    x: Float[Tensor, "place prompt d"],
    columns: NDArray[np.float64] | NDArray[np.int64],
    n_classes: int,
    parts: Split,
    settings: ProbeSettings,
    progress: Progress | None = None,
) -> Fits:
    """Fit every place and column on the train prompts, and see what they say of the others.

    Standardisation, weights and stopping see train and validation prompts; the test prompts are
    only predicted. Of several penalties each place and column takes the one with the highest mean
    validation score, of equal ones the largest.

    Args:
        x: activations.
        columns: [place, column, prompt], classes, or numbers where `n_classes` is 0.
        n_classes: how many classes there are.
        parts: which prompts are for what.
        settings: method, penalties, solver.
        progress: called with the share that is done.
    """
    k = max(n_classes, 1)
    per_place = columns.shape[1] * len(parts.train) * k
    step = max(1, _MOST_NUMBERS // per_place)
    found = []
    for first in range(0, len(x), step):
        chunk = slice(first, first + step)
        found.append(_fit_chunk(x[chunk], columns[chunk], n_classes, parts, settings))
        if progress is not None:
            progress(min(1.0, (first + step) / len(x)))
    return _joined(found)


def _fit_chunk(
    x: Float[Tensor, "place prompt d"],
    columns: NDArray[np.float64] | NDArray[np.int64],
    n_classes: int,
    parts: Split,
    settings: ProbeSettings,
) -> Fits:
    index = [torch.from_numpy(part).to(x.device) for part in vars(parts).values()]
    x_train, x_validation, x_test = (x[:, part].double() for part in index)
    scale = Scale.of(x_train)
    y = torch.from_numpy(np.ascontiguousarray(columns)).to(x.device)
    y_train, y_validation, y_test = (y[..., part] for part in index)
    standardised, is_numeric = scale(x_train), not n_classes
    best: _Best | None = None
    curves, unconverged = None, 0
    stopping = (scale(x_validation), y_validation)
    penalties = sorted(settings.penalties, reverse=True)
    method = settings.method_for(n_classes)
    for penalty in penalties[-1:] if method == "gradient" else penalties:
        state = None if best is None else best.start
        fitted, start, curve, missed = _fitted(
            (standardised, y_train), stopping, n_classes, penalty, settings, state
        )
        curves, unconverged = curve or curves, unconverged + missed
        says = predict(stopping[0], fitted, is_numeric)
        score = scores_of(says, y_validation, y_train, n_classes).mean(-1)
        best = _Best.of(best, fitted, score, penalty, start)
    assert best is not None
    says = predict(scale(x_test), best.fitted, is_numeric)
    weights, bias = scale.raw(*best.fitted)
    return Fits(
        test=_numpy(says),
        score=_numpy(scores_of(says, y_test, y_train, n_classes)),
        validation=_numpy(best.score),
        penalty=_numpy(best.penalty),
        weights=weights[:, 0].mT.contiguous(),
        bias=bias[:, 0],
        curves=curves,
        n_unconverged=unconverged,
    )


def _fitted(
    train: tuple[Tensor, Tensor],
    stopping: tuple[Tensor, Tensor],
    n_classes: int,
    penalty: float,
    settings: ProbeSettings,
    start: Start,
) -> tuple[Fitted, Start, Curves | None, int]:
    """(weights and biases, where the next penalty begins, curves, how many have not converged)."""
    x, y = train
    method = settings.method_for(n_classes)
    if method == "gradient":
        fitted, curves = train_by_gradient(train, stopping, n_classes, penalty, settings)
        return fitted, None, curves, 0
    if method == "logistic" and settings.solver == "torch":
        if start is None:
            middle = sorted(settings.penalties)[len(settings.penalties) // 2]
            start = Whitened.of(x, n_classes, middle), None
        fitted, last, converged = logistic(start[0], y, n_classes, penalty, start[1])
        return fitted, (start[0], last), None, int((~converged).sum())
    return solve(x, y, n_classes, penalty, method, settings.solver), None, None, 0


@dataclass(frozen=True, eq=False)
class _Best:
    """The penalty of every place and column that does best on the validation prompts so far."""

    fitted: Fitted
    score: Tensor
    penalty: Tensor
    start: Start

    @classmethod
    def of(
        cls,
        before: _Best | None,
        fitted: Fitted,
        score: Tensor,
        penalty: float,
        start: Start,
    ) -> _Best:
        here = torch.full_like(score, penalty)
        if before is None:
            return cls(fitted, score, here, start)
        better = score > before.score
        weights = torch.where(better[..., None, None], fitted[0], before.fitted[0])
        bias = torch.where(better[..., None], fitted[1], before.fitted[1])
        return cls(
            (weights, bias),
            torch.where(better, score, before.score),
            torch.where(better, here, before.penalty),
            start,
        )


def scores_of(
    says: Tensor, wanted: Tensor, train: Tensor, n_classes: int
) -> Float[Tensor, "place column prompt"]:
    """Per-prompt scores, whose mean is accuracy or R^2 (see `Fits.score`)."""
    if n_classes:
        return (says == wanted).double()
    mean = train.mean(-1, keepdim=True)
    spread = (wanted - mean).square().mean(-1, keepdim=True)
    return 1 - (wanted - says).square() / spread


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.double().cpu().numpy())


def _joined(found: list[Fits]) -> Fits:
    def join(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(one, name) for one in found])

    return Fits(
        test=join("test"),
        score=join("score"),
        validation=join("validation"),
        penalty=join("penalty"),
        weights=torch.cat([one.weights for one in found]),
        bias=torch.cat([one.bias for one in found]),
        curves=_joined_curves([one.curves for one in found if one.curves is not None]),
        n_unconverged=sum(one.n_unconverged for one in found),
    )


def _joined_curves(found: list[Curves]) -> Curves | None:
    """Chunks may have been trained for different numbers of epochs: what is missing is NaN."""
    if not found:
        return None
    longest = max(one.train.shape[-1] for one in found)

    def join(name: str) -> Tensor:
        parts = [getattr(one, name) for one in found]
        return torch.cat(
            [
                torch.nn.functional.pad(part, (0, longest - part.shape[-1]), value=torch.nan)
                for part in parts
            ]
        )

    return Curves(join("train"), join("validation"))
