"""`LinearProbe`: one fitted probe, in the units of the activations it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .labels import Labels
from .settings import Method, Solver
from .sklearn_solver import fit_by_sklearn
from .solvers import Fitted, Scale, Whitened, class_targets, decide, logistic, ridge

_TOLERANCE = 1e-9  # one probe is quick, so that it may be exact


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Weights and bias for activations as the model has them: nothing to standardise.

    Example:
        >>> probe = fit_probe(data.at(layer=2, position="END"), data.labels)
        >>> probe.accuracy(data.at(layer=2, position="END"), data.labels)
        1.0
    """

    weights: Float[Tensor, "k d"]
    """One row for each class; of two classes, or of numbers, a single one (towards the second
    class, or the larger number)."""
    bias: Float[Tensor, " k"]
    """-inf for a class that was missing among the train prompts."""
    classes: tuple[str, ...]
    """Empty of a regression."""

    def scores(self, x: Float[Tensor, "prompt d"]) -> Float[Tensor, "prompt k"]:
        """Logits of classes (of two: of the second over the first), or predicted numbers."""
        return x.to(self.weights.dtype) @ self.weights.T + self.bias

    def predict(self, x: Float[Tensor, "prompt d"]) -> NDArray[np.int64] | NDArray[np.float64]:
        """The class of every prompt, by its index, or the number: [prompt]."""
        scores = self.scores(x)
        if not self.classes:
            return np.asarray(scores[:, 0].cpu().numpy())
        return np.asarray(decide(scores).cpu().numpy())

    def accuracy(self, x: Float[Tensor, "prompt d"], labels: Labels) -> float:
        """Share of prompts whose class is found; of numbers R^2 about their own mean."""
        found, wanted = self.predict(x), labels.values
        if self.classes:
            return float((found == wanted).mean())
        return float(1 - ((wanted - found) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())

    def direction(self, towards: str | None = None, away: str | None = None) -> Tensor:
        """The direction along which the probe's evidence grows fastest, as [d] in its own units.

        Moving an activation by v changes the evidence, a logit, by v @ direction. It is not the
        direction in which the activations of two classes differ: that is `mean_difference`.

        Args:
            towards: a class; None means the second of two, or larger numbers.
            away: the class that it is weighed against; None means the other one, or of more than
                two all the others on average.

        Raises:
            ValueError: no such class, or no class named where there are more than two.
        """
        if len(self.weights) == 1:
            side = 1 if towards is None else self._index(towards)
            if away is not None and self._index(away) == side:
                raise ValueError(f"a direction towards {away!r} and away from it is none.")
            return self.weights[0] if side == 1 else -self.weights[0]
        if towards is None:
            raise ValueError(
                f"there are {len(self.classes)} classes: name the one that the direction is "
                f"towards, such as {self.classes[0]!r}."
            )
        index = self._index(towards)
        others = [i for i in range(len(self.weights)) if i != index]
        if away is not None:
            others = [self._index(away)]
        return self.weights[index] - self.weights[others].mean(0)

    def _index(self, name: str) -> int:
        if name not in self.classes:
            raise ValueError(f"there is no class {name!r}; there are {', '.join(self.classes)}.")
        return self.classes.index(name)


def fit_probe(
    x: Float[Tensor, "prompt d"],
    labels: Labels,
    method: Method = "logistic",
    penalty: float = 1.0,
    solver: Solver = "sklearn",
) -> LinearProbe:
    """One probe on all the prompts given, standardised by their own mean and deviation.

    Args:
        x: activations to fit on: leave the test prompts out.
        labels: of these prompts.
        method: "logistic" (of classes) or "ridge" (of classes or numbers; numbers always).
        penalty: 1 / C of logistic regression, alpha of ridge, in scikit-learn's conventions.
        solver: "sklearn", or "torch", which gives the same.

    Raises:
        ValueError: as many labels as prompts are needed, and a positive penalty.

    Example:
        >>> probe = fit_probe(data.at(layer=2, position="END")[parts.train], train_labels)
    """
    if len(x) != len(labels):
        raise ValueError(f"there are {len(x)} prompts and {len(labels)} labels.")
    if not penalty > 0:
        raise ValueError(f"penalty={penalty} must be positive.")
    if method not in ("logistic", "ridge"):
        raise ValueError(f"method={method!r} is neither logistic nor ridge.")
    inputs = x.double()[None]
    scale = Scale.of(inputs)
    y = torch.from_numpy(np.asarray(labels.values)).to(x.device)[None, None]
    n_classes = len(labels.classes)
    fitted = solve(scale(inputs), y, n_classes, penalty, method, solver, _TOLERANCE)
    weights, bias = scale.raw(*fitted)
    return LinearProbe(weights[0, 0].T.contiguous(), bias[0, 0], labels.classes)


def solve(
    x: Float[Tensor, "place prompt d"],
    y: Tensor,
    n_classes: int,
    penalty: float,
    method: str,
    solver: str,
    tolerance: float = 1e-4,
) -> Fitted:
    """Probes of standardised train prompts, for every place and label column, by either solver.

    Args:
        x: train prompts.
        y: [place, column, prompt], classes, or numbers where `n_classes` is 0.
        n_classes: how many classes there are.
        penalty: as of `fit_probe`.
        method: "logistic" or "ridge"; numbers always take ridge.
        solver: "torch" or "sklearn".
        tolerance: of the gradient, where the solver goes step by step.
    """
    if solver == "sklearn":
        return fit_by_sklearn(x, y, n_classes, penalty, method, tolerance)
    if not n_classes:
        return ridge(x, y.transpose(1, 2)[..., None], penalty)
    if method == "ridge":
        return ridge(x, class_targets(y, n_classes), penalty)
    data = Whitened.of(x, n_classes, penalty)
    return logistic(data, y, n_classes, penalty, tolerance=tolerance)[0]
