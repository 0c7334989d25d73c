"""Ridge and logistic probes of many places and many label columns at once, in torch.

The conventions are scikit-learn's, so that the two give the same weights:

    ridge      sum |y - w x - b|^2 + penalty |w|^2            Ridge(alpha=penalty)
    logistic   sum cross-entropy   + penalty / 2 |w|^2        LogisticRegression(C=1 / penalty)

The intercept b is not penalised. Two classes have one row of weights, towards the second; more
classes have one each. A class that is missing among the train prompts cannot be predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from .lbfgs import minimise

_TIE = 1e-9
_JITTER = 1e-11  # of the size of the products


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean and standard deviation of the train prompts, by which all prompts are standardised."""

    mean: Float[Tensor, "place d"]
    std: Float[Tensor, "place d"]
    """1 where a number hardly varies: what is left there is rounding, and is not blown up."""

    @classmethod
    def of(cls, train: Float[Tensor, "place prompt d"]) -> Scale:
        """From the train prompts, and nothing else."""
        mean = train.mean(1)
        std = train.std(1, correction=0)
        least = 1e-5 * train.square().mean((1, 2)).sqrt()[:, None]
        return cls(mean, torch.where(std > least, std, torch.ones_like(std)))

    def __call__(self, x: Float[Tensor, "place prompt d"]) -> Float[Tensor, "place prompt d"]:
        """Standardised activations."""
        return (x - self.mean[:, None]) / self.std[:, None]

    def raw(
        self, weights: Float[Tensor, "place column d k"], bias: Float[Tensor, "place column k"]
    ) -> tuple[Float[Tensor, "place column d k"], Float[Tensor, "place column k"]]:
        """Weights and biases for activations as the model has them."""
        of_raw = weights / self.std[:, None, :, None]
        return of_raw, bias - torch.einsum("pcdk,pd->pck", of_raw, self.mean)


Fitted = tuple[Float[Tensor, "place column d k"], Float[Tensor, "place column k"]]


def class_targets(
    y: Int[Tensor, "place column prompt"], n_classes: int
) -> Float[Tensor, "place prompt column k"]:
    """Targets of the ridge classifier: 1 for a prompt's class and -1 for the others."""
    if n_classes == 2:
        return (2.0 * y.double() - 1).transpose(1, 2)[..., None]
    return 2.0 * one_hot(y.transpose(1, 2), n_classes).double() - 1


def ridge(
    x: Float[Tensor, "place prompt d"],
    targets: Float[Tensor, "place prompt column k"],
    penalty: float,
) -> Fitted:
    """Least squares with a penalty, in closed form; the smaller of the two systems is solved.

    Args:
        x: standardised, so that its mean over prompts is 0.
        targets: what is predicted.
        penalty: of |w|^2.
    """
    n, d = x.shape[1:]
    mean = targets.mean(1)  # [place, column, k]
    y = (targets - mean[:, None]).flatten(2)  # [place, prompt, column k]
    x = x - x.mean(1, keepdim=True)
    small = x @ x.mT if n < d else x.mT @ x
    small.diagonal(dim1=1, dim2=2).add_(penalty)
    factor = torch.linalg.cholesky(small)
    if n < d:
        weights = x.mT @ torch.cholesky_solve(y, factor)
    else:
        weights = torch.cholesky_solve(x.mT @ y, factor)
    return weights.unflatten(2, mean.shape[1:]).movedim(1, 2), mean


@dataclass(frozen=True, eq=False)
class Whitened:
    """Standardised activations in coordinates in which logistic regression is nearly round.

    No loss is steeper than c/n x^T x (Boehning 1992; c is 1/4 for two classes, 1/2 for more). With
    M = c/n x^T x + penalty/n and M = C C^T, weights w = C^-T v have scores z v with z = x C^-T, and
    the penalty on w is |v|^2 less c/n times the squared scores, so that it costs nothing extra.
    """

    z: Float[Tensor, "place prompt r"]
    """Coordinates, and a constant as the last one, for the intercept."""
    x: Float[Tensor, "place prompt d"]
    factor: Float[Tensor, "place rank rank"]
    """C"""
    gram: Float[Tensor, "place prompt prompt"] | None
    """L with x x^T = L L^T where there are fewer prompts than d: weights lie in their span."""
    curvature: float
    """c"""
    penalty: float
    """The one that the coordinates are made for; they serve others nearly as well."""

    @classmethod
    def of(cls, x: Float[Tensor, "place prompt d"], n_classes: int, penalty: float) -> Whitened:
        """Of train prompts, whose mean is 0."""
        n, d = x.shape[1:]
        c = 0.25 if n_classes == 2 else 0.5
        gram, inputs = None, x
        if n < d:
            products = x @ x.mT
            size = products.diagonal(dim1=1, dim2=2).mean(1)
            # The mean is 0, so that the products are singular by themselves.
            products.diagonal(dim1=1, dim2=2).add_((_JITTER * (size + 1))[:, None])
            gram = inputs = torch.linalg.cholesky(products)
        steepest = c / n * (inputs.mT @ inputs)
        steepest.diagonal(dim1=1, dim2=2).add_(penalty / n)
        factor = torch.linalg.cholesky(steepest)
        z = torch.linalg.solve_triangular(factor, inputs.mT, upper=False).mT
        z = torch.cat([z, torch.full_like(z[..., :1], c**-0.5)], dim=2)
        return cls(z, x, factor, gram, c, penalty)

    def weights(self, v: Float[Tensor, "place r column k"]) -> Fitted:
        """Weights and biases for standardised activations."""
        flat = torch.linalg.solve_triangular(self.factor.mT, v[:, :-1].flatten(2), upper=True)
        if self.gram is not None:
            flat = torch.linalg.solve_triangular(self.gram.mT, flat, upper=True)
            flat = self.x.mT @ flat
        return flat.unflatten(2, v.shape[2:]).movedim(1, 2), v[:, -1] * self.curvature**-0.5


def logistic(
    data: Whitened,
    y: Int[Tensor, "place column prompt"],
    n_classes: int,
    penalty: float,
    start: Float[Tensor, "place r column k"] | None = None,
    tolerance: float = 1e-4,
) -> tuple[Fitted, Float[Tensor, "place r column k"], Bool[Tensor, "place column"]]:
    """Logistic regression, softmax over more than two classes, run until it has converged.

    Args:
        data: train prompts.
        y: the class of each.
        n_classes: how many classes there are.
        penalty: of |w|^2 / 2.
        start: coordinates to begin with, as they came back for another penalty.
        tolerance: largest entry of the gradient of the loss per prompt at the end, in the whitened
            coordinates.

    Returns:
        weights and biases; the coordinates they come from; which problems have converged.
    """
    k = 1 if n_classes == 2 else n_classes
    loss = SoftmaxLoss(y, n_classes)
    n, share = y.shape[2], penalty / data.penalty

    def objective(v: Tensor) -> tuple[Tensor, Tensor]:
        scores = (data.z @ v.flatten(2)).unflatten(2, v.shape[2:])  # [place, prompt, column, k]
        value, slope = loss.of_scores(scores)
        pull = data.curvature * scores
        value = value + 0.5 * share * (v.square().sum((1, 3)) - (pull * scores).sum((1, 3)) / n)
        gradient = (data.z.mT @ (slope - share * pull).flatten(2)).unflatten(2, v.shape[2:]) / n
        return value, gradient + share * v

    if start is None:
        start = data.z.new_zeros(len(y), data.z.shape[2], y.shape[1], k)
    v, converged = minimise(objective, start, (1, 3), tolerance)
    weights, bias = data.weights(v)
    if k == 1:  # one class only: there is no finite minimum, and its side is all there is to say
        alone = loss.alone
        weights[alone] = 0.0
        bias[alone] = 2.0 * y[..., :1].double()[alone] - 1
    else:
        bias = bias.masked_fill(~loss.present, -torch.inf)
    return (weights, bias), v, converged


class SoftmaxLoss:
    """Mean cross-entropy of many label columns, and its gradient with respect to the weights."""

    def __init__(self, y: Int[Tensor, "place column prompt"], n_classes: int) -> None:
        self.binary = n_classes == 2
        self.y = y.transpose(1, 2)  # [place, prompt, column]
        if self.binary:
            self.alone: Tensor = (y == y[..., :1]).all(2)  # [place, column]
        else:
            hits = one_hot(y, n_classes).any(2)  # [place, column, class]
            self.present: Tensor = hits

    def __call__(
        self, z: Float[Tensor, "place prompt r"], w: Float[Tensor, "place r column k"]
    ) -> tuple[Float[Tensor, "place column"], Float[Tensor, "place r column k"]]:
        """(value, gradient); z holds 1 as its last coordinate."""
        scores = (z @ w.flatten(2)).unflatten(2, w.shape[2:])  # [place, prompt, column, k]
        value, slope = self.of_scores(scores)
        gradient = (z.mT @ slope.flatten(2)).unflatten(2, w.shape[2:]) / z.shape[1]
        return value, gradient

    def of_scores(
        self, scores: Float[Tensor, "place prompt column k"]
    ) -> tuple[Float[Tensor, "place column"], Float[Tensor, "place prompt column k"]]:
        """Mean loss, and what each score adds to it."""
        if self.binary:
            score, y = scores[..., 0], self.y.to(scores.dtype)
            value = (softplus(score) - y * score).mean(1)
            slope = (score.sigmoid() - y).masked_fill(self.alone[:, None], 0.0)
            return torch.where(self.alone, 0.0, value), slope[..., None]
        scores = scores.masked_fill(~self.present[:, None], -torch.inf)
        log_p = scores.log_softmax(-1)
        index = self.y[..., None]
        value = -log_p.gather(-1, index)[..., 0].mean(1)
        slope = log_p.exp().scatter_add(-1, index, -torch.ones_like(scores[..., :1]))
        return value, slope


def decide(scores: Float[Tensor, "*prompts k"]) -> Int[Tensor, "*prompts"]:
    """The class that scores say; a tie, up to rounding, goes to the first class.

    Where nothing can be read, scores are equal but for rounding, which depends on how many probes
    are fitted together.
    """
    if scores.shape[-1] == 1:
        return (scores[..., 0] > _TIE).long()
    best = scores.amax(-1, keepdim=True)
    return (scores >= best - _TIE).long().argmax(-1)


def predict(x: Float[Tensor, "place prompt d"], fitted: Fitted, is_numeric: bool = False) -> Tensor:
    """The class (or number) that each probe gives every prompt: [place, column, prompt]."""
    weights, bias = fitted
    k = bias.shape[2]
    flat = weights.movedim(2, 1).flatten(2)  # [place, d, column k]
    scores = (x @ flat).unflatten(2, (-1, k)) + bias[:, None]
    if is_numeric:
        chosen: Tensor = scores[..., 0]
    else:
        chosen = decide(scores)
    return chosen.transpose(1, 2)
