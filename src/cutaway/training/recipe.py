"""What makes an embedded model, as one value; its shape and settings are in assets/recipes/."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from ..model.transformer import HookedTransformer

Sequences = Callable[[int, int], Int[Tensor, "count pos"]]
"""(start, count) -> tokens; sequence i depends on its number alone."""


@dataclass(frozen=True)
class Recipe:
    """How a model is made from nothing, and what is measured of it in the end."""

    name: str
    """Of the model; the command is `cutaway train NAME`."""
    fresh: Callable[[int], HookedTransformer]
    """seed -> the untrained model, with its tokenizer."""
    text: Callable[[int], Sequences]
    """seed -> the training text."""
    measure: Callable[[HookedTransformer], dict[str, str]]
    """The trained model -> a line of text for each thing that it was made for."""
