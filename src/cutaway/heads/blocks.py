"""A large product of thin factors read in blocks of rows: extremes, ranks and statistics, exactly.

[d_vocab, d_vocab] of GPT-2 is 2.5 billion numbers, 10 GB. Nothing here holds more than
`MOST_CELLS` of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .. import evidence
from ..model.factored import FactoredMatrix
from ..model.parts import at_least_float32

MOST_CELLS = 4_194_304
"""Numbers of the product that are held at a time, unless a single row has more."""

Order = Literal["largest", "smallest", "absolute"]


@dataclass(frozen=True, eq=False)
class Entries:
    """Chosen entries of a matrix, the most extreme first.

    Example:
        >>> found = top_entries(full_ov(model, 9, 9), k=20)
        >>> found.to_frame(tokens, tokens)[0]
        {'row': ' Mary', 'column': ' Mary', 'value': 11.2}
    """

    values: Float[Tensor, " entry"]
    rows: Int[Tensor, " entry"]
    columns: Int[Tensor, " entry"]

    def to_frame(
        self, row_labels: Sequence[str] | None = None, column_labels: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """One row (a dict) for each entry, with numbers or labels; pandas takes it as is."""

        def named(number: int, labels: Sequence[str] | None) -> int | str:
            return number if labels is None else labels[number]

        found = zip(self.rows.tolist(), self.columns.tolist(), self.values.tolist(), strict=True)
        return [
            {"row": named(i, row_labels), "column": named(j, column_labels), "value": value}
            for i, j, value in found
        ]


def row_blocks(
    matrix: FactoredMatrix, most_cells: int | None = None
) -> Iterator[tuple[int, Float[Tensor, "row right"]]]:
    """(number of the first row, some rows of the product), from the top to the bottom.

    Args:
        matrix: [left, right], without leading axes.
        most_cells: numbers of one block at most (but always one row); None is `MOST_CELLS`.

    Raises:
        ValueError: the matrix has leading axes.
    """
    A, B = _plain(matrix)
    step = max(1, (MOST_CELLS if most_cells is None else most_cells) // max(1, B.shape[1]))
    for start in range(0, len(A), step):
        yield start, A[start : start + step] @ B


def top_entries(
    matrix: FactoredMatrix, k: int = 20, order: Order = "largest", most_cells: int | None = None
) -> Entries:
    """The k most extreme entries of the whole product, exactly; of equal ones, any.

    Args:
        matrix: [left, right], without leading axes.
        k: how many; all of them if there are fewer.
        order: "largest", "smallest" (the most negative first), or "absolute".
        most_cells: numbers of the product held at a time; None is `MOST_CELLS`.

    Raises:
        ValueError: a k below 1, an unknown order, leading axes.

    Example:
        >>> top_entries(full_ov(model, 1, 2), k=3).rows
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1.")
    if order not in get_args(Order):
        raise ValueError(f"order={order!r} is unknown; it can be {', '.join(get_args(Order))}.")
    values = matrix.A.new_empty(0)
    places = torch.empty(0, dtype=torch.long, device=values.device)
    for start, block in row_blocks(matrix, most_cells):
        flat = block.flatten()
        at = _size(flat, order).topk(min(k, flat.numel())).indices
        values = torch.cat([values, flat[at]])
        places = torch.cat([places, at + start * matrix.rdim])
        kept = _size(values, order).argsort(descending=True, stable=True)[:k]
        values, places = values[kept], places[kept]
    return Entries(values, places // matrix.rdim, places % matrix.rdim)


def _size(values: Tensor, order: Order) -> Tensor:
    """What the largest of is asked for."""
    if order == "absolute":
        return values.abs()
    return -values if order == "smallest" else values


def diagonal(matrix: FactoredMatrix, offset: int = 0) -> Float[Tensor, "*heads entry"]:
    """The entries [i, i + offset] of the product, which is not multiplied out.

    Args:
        matrix: [..., left, right].
        offset: 0 the main diagonal; -1 of a positional QK circuit: each position's score for the
            one before.

    Raises:
        ValueError: no entry lies on this diagonal.

    Example:
        >>> diagonal(full_ov(model, 1, 2)).mean()  # how much a token raises itself
    """
    first, start = max(0, -offset), max(0, offset)
    n = min(matrix.ldim - first, matrix.rdim - start)
    if n < 1:
        raise ValueError(f"a matrix of shape {tuple(matrix.shape)} has no diagonal {offset}.")
    A = matrix.A[..., first : first + n, :]
    B = matrix.B[..., :, start : start + n]
    return (A * B.transpose(-2, -1)).sum(-1)


@dataclass(frozen=True, eq=False)
class RowStatistics:
    """What each row of a matrix holds; give `matrix.T` for its columns."""

    mean: Float[Tensor, " row"]
    std: Float[Tensor, " row"]
    """Over the row's entries (divided by their number)."""
    largest: Float[Tensor, " row"]
    argmax: Int[Tensor, " row"]
    smallest: Float[Tensor, " row"]
    argmin: Int[Tensor, " row"]


def row_statistics(matrix: FactoredMatrix, most_cells: int | None = None) -> RowStatistics:
    """Mean, spread and extremes of every row of the product, by blocks.

    Raises:
        ValueError: leading axes.

    Example:
        >>> row_statistics(full_ov(model, 1, 2)).argmax  # the token that each token promotes most
    """
    found = []
    for _, block in row_blocks(matrix, most_cells):
        std = block.std(-1, correction=0)
        found.append((block.mean(-1), std, *block.max(-1), *block.min(-1)))
    return RowStatistics(*(torch.cat(part) for part in zip(*found, strict=True)))


def diagonal_ranks(matrix: FactoredMatrix, most_cells: int | None = None) -> Int[Tensor, " row"]:
    """How many other entries of its row are at least as large as each diagonal entry.

    0: the diagonal entry alone is the largest. Ties count against it, so that a matrix of zeros
    has the worst ranks and not the best.

    Raises:
        ValueError: the matrix is not square, or has leading axes.
    """
    if matrix.ldim != matrix.rdim:
        raise ValueError(
            f"a matrix of shape {tuple(matrix.shape)} has no one diagonal: not square."
        )
    ranks = []
    for start, block in row_blocks(matrix, most_cells):
        own = block[:, start : start + len(block)].diagonal()  # [row], to the bit as in the block
        ranks.append((block >= own[:, None]).sum(-1) - 1)
    return torch.cat(ranks)


def diagonal_accuracy(
    matrix: FactoredMatrix, k: int = 1, most_cells: int | None = None, level: float = 0.95
) -> evidence.Interval:
    """The share of rows whose diagonal entry is among their k largest, with Wilson's interval.

    By chance it is k / (number of columns).

    Args:
        matrix: square, [row, row], without leading axes.
        k: how many of a row count.
        most_cells: numbers of the product held at a time.
        level: of the interval, which takes the rows for a sample.

    Raises:
        ValueError: a matrix that is not square or has leading axes, a k outside 1 to its width.

    Example:
        >>> diagonal_accuracy(full_qk(model, 1, 2, key_through=(0, 1))).estimate
        1.0
    """
    if not 1 <= k <= matrix.rdim:
        raise ValueError(f"k={k} must lie between 1 and {matrix.rdim}, the width of a row.")
    ranks = diagonal_ranks(matrix, most_cells)
    return evidence.proportion(int((ranks < k).sum()), len(ranks), level=level)


def _plain(matrix: FactoredMatrix) -> tuple[Tensor, Tensor]:
    if matrix.ndim != 2:
        raise ValueError(
            f"a matrix of shape {tuple(matrix.shape)} is several: index its leading axes first."
        )
    return at_least_float32(matrix.A.detach()), at_least_float32(matrix.B.detach())
