"""L-BFGS for many small convex problems at once (Nocedal and Wright 2006, algorithm 7.4).

Every problem has its own history, direction and step; they share the matrix products. One that
has converged stands still and waits for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""parameters [*problem and own axes] -> (value [*problem], gradient of the parameters' shape)"""

_DECREASE = 1e-4  # of the step's first-order promise: Armijo's condition
_HALVINGS = 30


def minimise(
    objective: Objective,
    start: Tensor,
    own: Sequence[int],
    tolerance: float,
    max_steps: int = 1000,
    memory: int = 10,
) -> tuple[Tensor, Bool[Tensor, "..."]]:
    """The minima of many smooth convex functions.

    Args:
        objective: value and gradient of all problems.
        start: parameters to begin with.
        own: the axes of `start` that belong to one problem; the others count problems.
        tolerance: a problem has converged when no |gradient| is above it.
        max_steps: steps at most.
        memory: how many past steps shape the direction.

    Returns:
        parameters, and which problems have converged.
    """

    def dot(a: Tensor, b: Tensor) -> Float[Tensor, "..."]:
        return (a * b).sum(tuple(own), keepdim=True)

    def largest(gradient: Tensor) -> Tensor:
        return gradient.abs().amax(tuple(own), keepdim=True)

    x = start
    value, gradient = objective(x)
    value = _shaped(value, gradient, own)
    history: list[tuple[Tensor, Tensor, Tensor]] = []  # (step, change of gradient, 1 / their dot)
    moving = largest(gradient) > tolerance
    for _ in range(max_steps):
        if not bool(moving.any()):
            break
        direction = -_two_loops(gradient, history, dot)
        slope = dot(gradient, direction)
        downhill = slope < 0
        direction = torch.where(downhill, direction, -gradient)
        slope = torch.where(downhill, slope, -dot(gradient, gradient))
        new, new_value, new_gradient, found = _search(
            objective, x, value, direction, slope, moving, own
        )
        step, change = new - x, new_gradient - gradient
        curvature = dot(step, change)
        fine = curvature > 1e-14 * dot(change, change)
        inverse = torch.where(fine, 1 / torch.where(fine, curvature, torch.ones_like(curvature)), 0)
        history = [*history[-(memory - 1) :], (step, change, inverse)]
        x, value, gradient = new, new_value, new_gradient
        # Where no step lowers the value, rounding is all that is left.
        moving = moving & found & (largest(gradient) > tolerance)
    done = largest(gradient) <= max(tolerance, 1e-9)
    return x, done.squeeze(tuple(own))


def _two_loops(
    gradient: Tensor,
    history: Sequence[tuple[Tensor, Tensor, Tensor]],
    dot: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The inverse Hessian, as the history has it, times the gradient."""
    q, shares = gradient, []
    for step, change, inverse in reversed(history):
        share = inverse * dot(step, q)
        shares.append(share)
        q = q - share * change
    if history:
        step, change, inverse = history[-1]
        squared = dot(change, change)
        known = (inverse > 0) & (squared > 0)
        first = dot(step, change) / torch.where(known, squared, torch.ones_like(squared))
        q = q * torch.where(known, first, torch.ones_like(first))
    for (step, change, inverse), share in zip(history, reversed(shares), strict=True):
        q = q + step * (share - inverse * dot(change, q))
    return q


def _search(
    objective: Objective,
    x: Tensor,
    value: Tensor,
    direction: Tensor,
    slope: Tensor,
    moving: Tensor,
    own: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halve each problem's step until its value has fallen enough; (x, value, gradient, found)."""
    step = moving.to(x.dtype)
    accepted = ~moving
    for _ in range(_HALVINGS):
        new = x + step * direction
        new_value, gradient = objective(new)
        new_value = _shaped(new_value, gradient, own)
        # The last term lets through what differs by rounding alone.
        enough = new_value <= value + _DECREASE * step * slope + 1e-15 * value.abs()
        accepted = accepted | enough
        if bool(accepted.all()):
            return new, new_value, gradient, accepted
        step = torch.where(accepted, step, step / 2)
    step = torch.where(accepted, step, torch.zeros_like(step))
    new = x + step * direction
    new_value, gradient = objective(new)
    return new, _shaped(new_value, gradient, own), gradient, accepted


def _shaped(value: Tensor, like: Tensor, own: Sequence[int]) -> Tensor:
    """[*problem] with axes of 1 in place of the problems' own."""
    shape = [1 if axis in {a % like.ndim for a in own} else n for axis, n in enumerate(like.shape)]
    return value.reshape(shape)
