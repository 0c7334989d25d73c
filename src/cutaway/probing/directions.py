"""Directions that stand for a concept, as plain vectors in the units of the activations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .labels import Labels


def mean_difference(
    x: Float[Tensor, "prompt d"],
    labels: Labels,
    towards: str | None = None,
    away: str | None = None,
) -> Float[Tensor, " d"]:
    """The difference of the means of two classes: "mass mean" (Marks and Tegmark 2023).

    It points from the mean of one class to that of the other, and says how far they are apart. A
    probe's direction discounts what varies within the classes; this one does not.

    Args:
        x: activations of one place: leave the test prompts out.
        labels: of these prompts.
        towards: a class; None means the second of two.
        away: the other class; None means the other one, or of more than two all the others.

    Raises:
        ValueError: labels that are numbers, a class that is not there or has no prompts.

    Example:
        >>> mean_difference(data.at(layer=2, position="END"), data.labels, "S first").shape
        torch.Size([128])
    """
    if labels.is_numeric:
        raise ValueError(f"the label {labels.name!r} is a number, and has no two means.")
    if len(x) != len(labels):
        raise ValueError(f"there are {len(x)} prompts and {len(labels)} labels.")
    if towards is None and len(labels.classes) > 2:
        raise ValueError(
            f"there are {len(labels.classes)} classes: name the one that the direction is towards, "
            f"such as {labels.classes[0]!r}."
        )
    wanted = labels.classes[1] if towards is None else towards
    if away is None and towards is None:
        away = labels.classes[0]
    values = torch.from_numpy(labels.values).to(x.device)
    inside = values == _index(labels, wanted)
    outside = ~inside if away is None else values == _index(labels, away)
    for name, chosen in ((wanted, inside), (away, outside)):
        if not bool(chosen.any()):
            raise ValueError(f"no prompt has the label {name or 'of another class'!r}.")
    return x[inside].mean(0) - x[outside].mean(0)


def _index(labels: Labels, name: str) -> int:
    if name not in labels.classes:
        raise ValueError(f"there is no class {name!r}; there are {', '.join(labels.classes)}.")
    return labels.classes.index(name)
