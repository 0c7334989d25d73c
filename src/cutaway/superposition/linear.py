"""The linear toy model in closed form: its best is that of principal components.

x' = W^T W x + b can be any projection of rank m, and no better (Eckart and Young 1936; Baldi and
Hornik 1989). It never keeps more features than it has dimensions, however sparse they are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ..array_files import Array


def best_linear_loss(
    covariance: Float[Array, "feature feature"],
    importance: Float[Array, " feature"],
    n_hidden: int,
) -> float:
    """The least loss that a linear model can have, sum_i I_i E(x_i - x'_i)^2.

    Either the features are uncorrelated and of equal variance: then the m most important are kept,
    and the others cost their variance. Or all are equally important: then the loss is the sum of
    the smallest n - m eigenvalues.

    Args:
        covariance: of the features.
        importance: I.
        n_hidden: m.

    Raises:
        ValueError: neither is so.

    Example:
        >>> best_linear_loss(np.eye(3), np.array([1.0, 0.5, 0.25]), 1)
        0.75
    """
    n_left = max(0, len(importance) - n_hidden)
    if np.allclose(importance, importance[0]):
        return float(importance[0] * np.linalg.eigvalsh(covariance)[:n_left].sum())
    if not np.allclose(covariance, covariance[0, 0] * np.eye(len(importance))):
        raise ValueError(
            "the features are correlated (or of different variance) and of different importance: "
            "no closed form is known here. Give one of the two up."
        )
    return float(covariance[0, 0] * np.sort(importance)[:n_left].sum())


def principal_components(
    covariance: Float[Array, "feature feature"], n_hidden: int
) -> Float[Array, "hidden feature"]:
    """The first m of them, as rows: a W of least loss, where all are equally important.

    Example:
        >>> np.abs(principal_components(np.diag([1.0, 3.0]), 1)).tolist()
        [[0.0, 1.0]]
    """
    _, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors[:, ::-1][:, :n_hidden].T)
