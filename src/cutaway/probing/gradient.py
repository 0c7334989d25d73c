"""Softmax probes trained by gradient, many at once, each stopped early on its validation loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .settings import ProbeSettings
from .solvers import Fitted, SoftmaxLoss

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True, eq=False)
class Curves:
    """Losses of the probes after 0, 1, ... epochs, in nats; NaN behind the last one."""

    train: Float[Tensor, "place column epoch"]
    validation: Float[Tensor, "place column epoch"]


def train_by_gradient(
    train: tuple[Float[Tensor, "place prompt d"], Int[Tensor, "place column prompt"]],
    validation: tuple[Float[Tensor, "place other d"], Int[Tensor, "place column other"]],
    n_classes: int,
    penalty: float,
    settings: ProbeSettings,
) -> tuple[Fitted, Curves]:
    """Adam (Kingma and Ba 2015) on all train prompts at once, beginning at zero.

    Every probe keeps the weights of its lowest validation loss. Training ends when none of them
    has had a lower one for `patience` epochs, or after `max_epochs`.

    Args:
        train: standardised activations and classes.
        validation: the same, of the prompts that stop it.
        n_classes: how many classes there are.
        penalty: as of `logistic`.
        settings: learning rate, epochs, patience.
    """
    (x, y), (x_val, y_val) = train, validation
    k = 1 if n_classes == 2 else n_classes
    loss, loss_val = SoftmaxLoss(y, n_classes), SoftmaxLoss(y_val, n_classes)
    if n_classes == 2:
        loss_val.alone = torch.zeros_like(loss_val.alone)
    else:
        loss_val.present = torch.ones_like(loss_val.present)
    z, z_val = (torch.cat([a, torch.ones_like(a[..., :1])], dim=2) for a in (x, x_val))
    decay = z.new_full((z.shape[2], 1, 1), penalty / z.shape[1])
    decay[-1] = 0.0
    w = z.new_zeros(len(z), z.shape[2], y.shape[1], k)
    first, second, best = torch.zeros_like(w), torch.zeros_like(w), w
    lowest = torch.full_like(loss_val(z_val, w)[0], torch.inf)
    waited = torch.zeros_like(lowest)
    seen: list[tuple[Tensor, Tensor]] = []
    for epoch in range(1, settings.max_epochs + 2):  # the last turn only looks at the weights
        value, gradient = loss(z, w)
        now, _ = loss_val(z_val, w)
        better = now < lowest
        best = torch.where(better[:, None, :, None], w, best)
        lowest = torch.where(better, now, lowest)
        waited = torch.where(better, 0.0, waited + 1)
        seen.append((value, now))
        if epoch > settings.max_epochs or bool((waited >= settings.patience).all()):
            break
        gradient = gradient + decay * w
        first = _BETAS[0] * first + (1 - _BETAS[0]) * gradient
        second = _BETAS[1] * second + (1 - _BETAS[1]) * gradient.square()
        unbiased = second / (1 - _BETAS[1] ** epoch)
        w = w - settings.learning_rate * first / (1 - _BETAS[0] ** epoch) / (
            unbiased.sqrt() + _EPSILON
        )
    weights, bias = best[:, :-1].movedim(2, 1), best[:, -1]
    if k > 1:
        bias = bias.masked_fill(~loss.present, -torch.inf)
    curves = Curves(*(torch.stack(part, dim=-1) for part in zip(*seen, strict=True)))
    return (weights.contiguous(), bias), curves
