"""The same probes by scikit-learn, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .solvers import Fitted

_MOST_STEPS = 10_000


def fit_by_sklearn(
    x: Float[Tensor, "place prompt d"],
    y: Tensor,
    n_classes: int,
    penalty: float,
    method: str,
    tolerance: float = 1e-4,
) -> Fitted:
    """Weights and biases of every place and label column.

    Args:
        x: standardised train prompts.
        y: [place, column, prompt], classes, or numbers where `n_classes` is 0.
        n_classes: how many classes there are.
        penalty: in the conventions of `solvers`.
        method: "logistic" or "ridge".
        tolerance: `tol` of LogisticRegression.
    """
    k = n_classes if n_classes > 2 else 1
    weights = np.zeros((*y.shape[:2], x.shape[2], k))
    bias = np.full((*y.shape[:2], k), -np.inf if k > 1 else 0.0)
    inputs, labels = x.double().cpu().numpy(), y.cpu().numpy()
    for place, column in np.ndindex(*y.shape[:2]):
        target = labels[place, column]
        present = np.unique(target).astype(int) if n_classes else np.zeros(1, dtype=int)
        if n_classes and len(present) == 1:
            bias[place, column, 0 if k == 1 else present[0]] = 1.0 if k > 1 else 2 * present[0] - 1
            continue
        w, b = _fit_one(inputs[place], target, n_classes, penalty, method, tolerance)
        if k > 1 and len(present) == 2:  # scikit-learn then has one row, towards the second
            w, b = np.concatenate([-w, w]) / 2, np.concatenate([-b, b]) / 2
        rows = present if k > 1 else np.zeros(1, dtype=int)
        weights[place, column][:, rows] = w.T
        bias[place, column][rows] = b
    return tuple(torch.from_numpy(a).to(x.device) for a in (weights, bias))  # type: ignore[return-value]


def _fit_one(
    x: NDArray[np.float64],
    y: NDArray[Any],
    n_classes: int,
    penalty: float,
    method: str,
    tolerance: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(coefficients [k, d], intercepts [k])."""
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

    if not n_classes:
        model = Ridge(alpha=penalty)
    elif method == "ridge":
        model = RidgeClassifier(alpha=penalty)
    else:
        model = LogisticRegression(C=1 / penalty, tol=tolerance, max_iter=_MOST_STEPS)
    model.fit(x, y)
    return np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
