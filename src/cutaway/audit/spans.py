"""Which bytes of their storage tensors really cover, each byte counted once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Spans:
    """A set of byte intervals of one storage, as a union: a byte that is added twice is one byte.

    A tensor can be a view with gaps, such as the first tokens of a buffer that holds more: only
    the bytes of its own elements are added.

    Example:
        >>> spans = Spans()
        >>> spans.add(torch.zeros(4, 10)[:, :3])
        >>> spans.n_bytes
        48
    """

    def __init__(self) -> None:
        self._ends: NDArray[np.int64] = np.empty((0, 2), dtype=np.int64)  # [run, (start, end)]

    def add(self, tensor: Tensor) -> None:
        """Add every byte of the tensor's elements."""
        starts, length = _runs(tensor)
        if not len(starts):
            return
        new = np.stack([starts, starts + length], axis=1) * tensor.element_size()
        every = np.concatenate([self._ends, new])
        every = every[np.argsort(every[:, 0], kind="stable")]
        reach = np.maximum.accumulate(every[:, 1])
        is_first = np.concatenate([[True], every[1:, 0] > reach[:-1]])
        is_last = np.concatenate([is_first[1:], [True]])
        self._ends = np.stack([every[is_first, 0], reach[is_last]], axis=1)

    @property
    def n_bytes(self) -> int:
        """Bytes in the set."""
        return int((self._ends[:, 1] - self._ends[:, 0]).sum())


def _runs(tensor: Tensor) -> tuple[NDArray[np.int64], int]:
    """Where the tensor's runs of neighbouring elements begin, and how long each is, in elements."""
    if tensor.numel() == 0:
        return np.empty(0, dtype=np.int64), 0
    axes = sorted(
        (stride, size)
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        if size > 1 and stride > 0
    )
    length = 1
    starts = np.array([tensor.storage_offset()], dtype=np.int64)
    for stride, size in axes:
        if stride == length:
            length *= size
        else:
            starts = (starts[:, None] + stride * np.arange(size)).ravel()
    return starts, length


def storage_key(tensor: Tensor) -> int:
    """What identifies the tensor's storage while it is alive."""
    return int(tensor.untyped_storage()._cdata)


def bytes_held(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages that these tensors keep alive, each storage once.

    A small view of a large tensor keeps all of it.

    Example:
        >>> x = torch.zeros(1000)
        >>> bytes_held([x, x[:10]])
        4000
    """
    storages = {storage_key(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """Every tensor that can be reached from an object through its attributes and containers."""
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            yield one
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            waiting.extend(one)
        elif not callable(one):  # a module or function leads to everything else
            waiting.extend(getattr(one, "__dict__", {}).values())
