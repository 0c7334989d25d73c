"""Slices of one axis, in the forms in which the field writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Slice:
    """One way to index one axis.

    None leaves it alone; a number takes it away; a tuple is a slice, (stop,), (start, stop) or
    (start, stop, step); a list, array or tensor of numbers (or of booleans) selects.

    Example:
        >>> Slice((1, 3)).apply(torch.arange(5)).tolist(), Slice(-1).apply(torch.arange(5)).item()
        ([1, 2], 4)
    """

    def __init__(self, input_slice: SliceInput = None) -> None:
        if isinstance(input_slice, Slice):
            input_slice = input_slice.index
        if isinstance(input_slice, tuple):
            input_slice = slice(*input_slice)
        self.index: Any = input_slice

    def apply(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """`tensor` with that axis indexed."""
        index = self.index
        if index is None:
            return tensor
        dim %= tensor.ndim
        if isinstance(index, int):
            return tensor.select(dim, index)
        if not isinstance(index, slice):
            index = torch.as_tensor(index, device=tensor.device)
        return tensor[(slice(None),) * dim + (index,)]

    def keeping_axis(self) -> Slice:
        """The same, but for a number, which becomes a slice of length 1."""
        return Slice([self.index]) if isinstance(self.index, int) else self

    def __repr__(self) -> str:
        return f"Slice({self.index!r})"


SliceInput = int | slice | tuple[int, ...] | Sequence[int] | Tensor | Slice | Any | None
"""What a `Slice` can be made of; `Any` stands for numpy's arrays."""


def take(tensor: Tensor, index: SliceInput, dim: int) -> Tensor:
    """`Slice(index).apply(tensor, dim)`."""
    return Slice(index).apply(tensor, dim)
