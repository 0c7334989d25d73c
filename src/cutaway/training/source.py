"""What a model is trained on: rows of tokens that depend on the seed and the step alone.

A run that is stopped therefore needs no position of its own in the data: the step is the position,
and no random state outlives a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.tokenizer import Tokenizer

Integers = NDArray[np.int64]
Rows = Callable[[int, int], Int[Tensor, "batch pos"]]
"""(step, sequences) -> tokens."""

TRAINED, HELD_OUT = 0, 1
"""Streams of random numbers: what is trained on, and what never is."""


@dataclass(frozen=True, eq=False)
class Source:
    """One kind of data, opened.

    A row of n_ctx + 1 tokens is read without its last token and predicts all but its first; a row
    of n_ctx tokens is given to the model as it is.
    """

    tokenizer: Tokenizer
    """Its vocabulary is the model's."""
    rows: Rows
    """What is trained on."""
    held_out: Int[Tensor, "n pos"]
    """What is only measured."""
    digest: str
    """Of what the rows are drawn from: equal for the same data."""
    known: Bool[Tensor, "n pos"] | None = None
    """Of `held_out`: tokens that follow from what stands before them. None: no such tokens."""
    prompt: str = ""
    """What samples begin with; empty: there are none."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Facts for the report."""


def generator(seed: int, stream: int, step: int) -> np.random.Generator:
    """The random numbers of one step of one stream."""
    return np.random.default_rng([seed, stream, step])


def as_tensor(rows: Integers) -> Int[Tensor, "n *pos"]:
    """Rows of numbers, or one number each, as tokens."""
    return torch.from_numpy(np.ascontiguousarray(rows))
