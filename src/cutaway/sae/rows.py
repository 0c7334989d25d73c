"""Rows of activations to train on: numbered blocks, handed out as batches of one size.

A block is a function of its number alone, with its rows already shuffled, so a place in the data is
two numbers and a run that is stopped goes on by asking for the same block again. Every row of a
pass comes exactly once.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..training.source import generator

Rows = dict[str, Tensor]
"""Hook name -> rows [row, width], the same rows of the text at each hook."""

SEQUENCES, ROWS, SHARDS = 11, 12, 13
"""Streams of random numbers: the order of sequences in a pass, of rows in a block, of shards."""
_FEWEST_ROWS_AFTER = 64  # blocks without a single row, after which there will be none


@dataclass(frozen=True)
class Position:
    """A place in the data: everything before it was handed out."""

    block: int = 0
    """Counted through all passes."""
    row: int = 0
    """Of that block."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows, and where the next ones begin. Do not write into the rows: they are a block's."""

    rows: Rows
    after: Position


class RowSource(ABC):
    """Rows of one or several hooks, in an order that the seed alone decides.

    Example:
        >>> for batch in source.batches(4096):  # endless
        ...     x = batch.rows["blocks.2.hook_resid_post"]
    """

    widths: Mapping[str, int]
    """Hook name -> width of its rows."""
    n_blocks: int | None
    """Blocks of a pass; None where no pass ends."""
    facts: Mapping[str, Any] = MappingProxyType({})
    """Fields of a `DictionaryConfig` that say where the rows come from: model, text, context."""
    _last: tuple[int, Rows] | None = None

    @property
    @abstractmethod
    def digest(self) -> str:
        """Of all that decides the rows and their order."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the rows are."""

    @abstractmethod
    def block(self, number: int) -> Rows:
        """The rows of a block, shuffled; depends on the number alone."""

    def batches(self, batch_size: int, start: Position = Position()) -> Iterator[Batch]:
        """Batches of exactly `batch_size` rows without end, pass after pass.

        Args:
            batch_size: rows of a batch.
            start: where to begin: the `after` of an earlier batch goes on behind it.

        Raises:
            ValueError: fewer than one row in a batch, or no rows at all.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is too few: at least 1.")
        parts: list[Rows] = []
        missing, n_empty = batch_size, 0
        for number in count(start.block):
            rows = self._block(number)
            n = len(next(iter(rows.values())))
            n_empty = 0 if n else n_empty + 1
            if n_empty == min(self.n_blocks or _FEWEST_ROWS_AFTER, _FEWEST_ROWS_AFTER):
                raise ValueError("there are no rows: all tokens are BOS or padding.")
            at = start.row if number == start.block else 0
            while at < n:
                end = min(at + missing, n)
                parts.append({hook: values[at:end] for hook, values in rows.items()})
                at, missing = end, missing - (end - at)
                if not missing:
                    after = Position(number, at) if at < n else Position(number + 1, 0)
                    yield Batch(_joined(parts), after)
                    parts, missing = [], batch_size

    def _block(self, number: int) -> Rows:
        """A block, or the last one again: whoever reads it twice in a row has it made once."""
        if self._last is None or self._last[0] != number:
            self._last = None  # not two in memory while the next one is made
            self._last = (number, self.block(number))
        return self._last[1]

    def next_rows(self, n: int, start: Position = Position()) -> Rows:
        """The rows that come at a place: what starts, scales and resampling look at."""
        return next(iter(self.batches(n, start))).rows

    def check_hooks(self, *hooks: str) -> None:
        """Refuse hooks that these rows are not of.

        Raises:
            ValueError: one of them.
        """
        for hook in hooks:
            if hook not in self.widths:
                raise ValueError(
                    f"there are no rows of {hook!r} here: these are of {', '.join(self.widths)}."
                )


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return {hook: torch.cat([part[hook] for part in parts]) for hook in parts[0]}


def permuted(
    n: int, seed: int, stream: int, number: int, device: torch.device | str = "cpu"
) -> Int[Tensor, "n"]:
    """The numbers below `n` in an order that the other three decide."""
    order = generator(seed, stream, number).permutation(n)
    return torch.from_numpy(order).to(device)


def digest_of(*parts: object) -> str:
    """SHA-256 of plain values and arrays."""
    hasher = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            array = np.ascontiguousarray(part.detach().cpu().numpy())
            hasher.update(f"{array.dtype} {array.shape}".encode())
            hasher.update(array.data)
        else:
            hasher.update(repr(part).encode())
        hasher.update(b"\0")
    return hasher.hexdigest()


class GivenRows(RowSource):
    """Rows that are at hand, in another order in each pass.

    Args:
        rows: hook name -> [row, width], of each hook equally many; a tensor alone is of the hook
            "" (synthetic activations).
        seed: of the order.

    Raises:
        ValueError: no rows, hooks with unequal numbers of rows, or values that are not finite.

    Example:
        >>> source = GivenRows(torch.randn(1000, 16))
        >>> next(source.batches(64)).rows[""].shape
        torch.Size([64, 16])
    """

    n_blocks = 1

    def __init__(
        self, rows: Float[Tensor, "row width"] | Mapping[str, Tensor], seed: int = 0
    ) -> None:
        self.rows = {"": rows} if isinstance(rows, Tensor) else dict(rows)
        self.seed = seed
        counts = {hook: len(values) for hook, values in self.rows.items()}
        if not counts or not min(counts.values()):
            raise ValueError("there are no rows to train on.")
        if len(set(counts.values())) > 1:
            raise ValueError(f"each hook needs the same number of rows, and there are {counts}.")
        for hook, values in self.rows.items():
            check_finite(values, hook or "the given rows", "row")
        self.widths = {hook: values.shape[1] for hook, values in self.rows.items()}

    @property
    def digest(self) -> str:
        """Of the rows and the seed."""
        return digest_of("given", self.seed, *(part for item in self.rows.items() for part in item))

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return next(iter(self.rows.values())).device

    def block(self, number: int) -> Rows:
        """All rows in the order of pass `number`."""
        n = len(next(iter(self.rows.values())))
        order = permuted(n, self.seed, ROWS, number, self.device)
        return {hook: values[order] for hook, values in self.rows.items()}


class DrawnRows(RowSource):
    """Rows that are drawn as they are needed, never the same twice: toy models, synthetic data.

    Args:
        draw: random numbers -> rows [row, width], or one such for each hook; equally many each
            time.
        name: of what is drawn, for the digest: the same name and seed must give the same rows.
        seed: of the random numbers.
        device: where `draw` puts the rows.

    Example:
        >>> def draw(generator):
        ...     return torch.randn(512, 16, generator=generator)
        >>> source = DrawnRows(draw, "noise of width 16")
    """

    n_blocks = None

    def __init__(
        self,
        draw: Callable[[torch.Generator], Tensor | Mapping[str, Tensor]],
        name: str,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self._draw, self.name, self.seed, self._device = draw, name, seed, torch.device(device)
        self.widths = {hook: values.shape[1] for hook, values in self.block(0).items()}

    @property
    def digest(self) -> str:
        """Of the name and the seed."""
        return digest_of("drawn", self.name, self.seed)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self._device

    def block(self, number: int) -> Rows:
        """What is drawn at the `number`-th time."""
        seed = int(generator(self.seed, ROWS, number).integers(2**62))
        drawn = self._draw(torch.Generator(self._device).manual_seed(seed))
        rows = {"": drawn} if isinstance(drawn, Tensor) else dict(drawn)
        for hook, values in rows.items():
            check_finite(values, hook or self.name, f"block {number}, row")
        return rows


def check_finite(values: Float[Tensor, "row width"], what: str, place: str) -> None:
    """Refuse NaN and infinite values: one such row would spoil every weight.

    Args:
        values: the rows.
        what: what holds them, in words.
        place: what a row is, in words, before its number.

    Raises:
        ValueError: there are some; it names the first row.
    """
    bad = ~torch.isfinite(values).all(dim=1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        kind = "NaN" if bool(values[first].isnan().any()) else "infinite values"
        raise ValueError(
            f"{what} holds {kind}, first in {place} {first:,} ({int(bad.sum()):,} of "
            f"{len(values):,} rows): a dictionary cannot be trained on them."
        )
