"""Counting what is allocated: every tensor operation is intercepted, every storage followed."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .spans import Spans, storage_key

# What these make is memory without data: it counts as filled once something is written to it.
_EMPTY: tuple[str, ...] = ("empty", "new_empty", "zeros", "new_zeros", "full", "new_full")
_EMPTY += ("empty_like", "zeros_like", "full_like", "empty_strided", "new_empty_strided")
_NO_DATA = ("zero_", "fill_")


class Place(NamedTuple):
    """What was running when memory was asked for."""

    layer: int | None = None
    """The block; None outside of all blocks."""
    in_cache: bool = False
    """Inside of the key-value cache's own code."""


@dataclass(eq=False)
class Allocated:
    """One storage that is alive."""

    n_bytes: int
    place: Place
    """Where it was made."""
    is_filled: bool
    """It held data from the beginning."""
    written: dict[int | None, Spans] = field(default_factory=dict)
    """Layer -> what was written there since, of a storage that began without data."""


class Allocations(TorchDispatchMode):
    """While it is entered, every new storage is counted from the operation that makes it until
    nothing holds it any more.

    It sees the results of operations, on any device; not what a kernel allocates and frees within,
    nor what the allocator rounds up or keeps for later.

    Example:
        >>> with Allocations() as seen:
        ...     kept = torch.ones(1000).mul(2)[:10]
        >>> seen.live, seen.peak  # the view keeps its whole storage
        (4000, 8000)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        """Bytes alive now."""
        self.peak = 0
        """The most bytes that were alive at once, since the last `reset_peaks`."""
        self.storages: dict[int, Allocated] = {}
        """What is alive, by `storage_key`."""
        self.live_at: dict[Place, int] = defaultdict(int)
        """Place -> bytes alive that were made there."""
        self.peak_at: dict[Place, int] = defaultdict(int)
        """Place -> the most of them at once."""
        self.written_at: dict[Place, int] = defaultdict(int)
        """Place -> bytes written there in all."""
        self.cache_peak = 0
        """The most bytes at once that were made inside of the cache's code."""
        self._place = Place()

    @contextmanager
    def at(self, place: Place) -> Iterator[None]:
        """Inside, what is made and written belongs to `place`."""
        before, self._place = self._place, place
        try:
            yield
        finally:
            self._place = before

    @property
    def layer(self) -> int | None:
        """The layer that is running."""
        return self._place.layer

    @layer.setter
    def layer(self, layer: int | None) -> None:
        self._place = Place(layer)

    @property
    def cache_live(self) -> int:
        """Bytes alive now that were made inside of the cache's code."""
        return sum(n for place, n in self.live_at.items() if place.in_cache)

    def reset_peaks(self) -> None:
        """From now on, the most is what is alive now."""
        self.peak = self.live
        self.peak_at = defaultdict(int, self.live_at)
        self.cache_peak = self.cache_live

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation and note what it made and wrote (torch calls this)."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = {storage_key(one) for one in _tensors((args, kwargs))}
        name = func.overloadpacket.__name__
        for tensor in _tensors(result):
            key = storage_key(tensor)
            if key not in given and key not in self.storages:
                self._allocated(tensor, key, is_filled=name not in _EMPTY)
        if func._schema.is_mutable and name not in _NO_DATA:
            for tensor in _written(func._schema, args, kwargs):
                self._wrote(tensor)
        return result

    def _allocated(self, tensor: Tensor, key: int, is_filled: bool) -> None:
        storage, place = tensor.untyped_storage(), self._place
        n_bytes = storage.nbytes()
        self.storages[key] = Allocated(n_bytes, place, is_filled)
        weakref.finalize(storage, self._freed, key).atexit = False
        self.live += n_bytes
        self.live_at[place] += n_bytes
        self.peak = max(self.peak, self.live)
        self.peak_at[place] = max(self.peak_at[place], self.live_at[place])
        if place.in_cache:
            self.cache_peak = max(self.cache_peak, self.cache_live)
        if is_filled:
            self.written_at[place] += n_bytes

    def _freed(self, key: int) -> None:
        gone = self.storages.pop(key)
        self.live -= gone.n_bytes
        self.live_at[gone.place] -= gone.n_bytes

    def _wrote(self, tensor: Tensor) -> None:
        found = self.storages.get(storage_key(tensor))
        if found is None:
            return
        self.written_at[self._place] += tensor.numel() * tensor.element_size()
        if not found.is_filled:
            found.written.setdefault(self._place.layer, Spans()).add(tensor)


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple | list):
        for one in tree:
            yield from _tensors(one)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))


def _written(schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors that an operation writes to, by its schema."""
    for at, argument in enumerate(schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        yield from _tensors(args[at] if at < len(args) else kwargs.get(argument.name))
