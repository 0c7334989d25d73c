"""The active features alone: as lists, and how they are found among all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class SparseFeatures:
    """The active features of each row, in no order; all others have the value 0."""

    index: Int[Tensor, "row k"]
    """Which features."""
    value: Float[Tensor, "row k"]
    """How strong each is; 0 where a row has fewer than k."""

    def dense(self, d_features: int) -> Float[Tensor, "row d_features"]:
        """The same with all features of each row written out."""
        rows = self.value.new_zeros(self.index.shape[0], d_features)
        return rows.scatter_add(1, self.index, self.value)


def sparse_from_dense(features: Float[Tensor, "row d_features"]) -> SparseFeatures:
    """The active features of each row, as many places as the fullest row needs (at least one)."""
    row, feature = features.nonzero(as_tuple=True)
    return in_places(row, feature, features[row, feature], len(features))


def in_places(
    row: Int[Tensor, "n"], feature: Int[Tensor, "n"], value: Float[Tensor, "n"], n_rows: int
) -> SparseFeatures:
    """Lists of entries, rows rising, put side by side; places that stay empty have the value 0."""
    counts = torch.bincount(row, minlength=n_rows)
    fullest = max(int(counts.max()) if n_rows else 0, 1)
    place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    index = feature.new_zeros(n_rows, fullest)
    values = value.new_zeros(n_rows, fullest)
    index[row, place], values[row, place] = feature, value
    return SparseFeatures(index, values)


# ---- scores, some rows at a time ----

_CHUNK_BYTES = 24 * 2**20
"""Scores that are computed before they are looked at: they should still be in cache."""


@dataclass(frozen=True, eq=False)
class Scoring:
    """What makes scores of rows: one product, a bias, and perhaps a factor for each feature."""

    weights: Float[Tensor, "d_in d_features"]
    bias: Float[Tensor, "d_features"]
    factor: Float[Tensor, "d_features"] | None = None
    """Positive."""
    rounded: bool = False
    """Products in bfloat16: scores to choose by, not to use."""

    @torch.no_grad()
    def chunks(
        self,
        read: Float[Tensor, "row d_in"],
        kept: Float[Tensor, "row d_features"] | None = None,
    ) -> Iterator[tuple[slice, Float[Tensor, "some d_features"]]]:
        """All scores of so many rows at a time; in `kept`, or each time in the same place."""
        n_rows, n_features = len(read), self.weights.shape[1]
        size = n_rows
        if read.device.type == "cpu":
            size = max(_CHUNK_BYTES // (n_features * read.element_size()), 1)
        room = read.new_empty(min(size, n_rows), n_features) if kept is None else kept
        weights = self.weights.to(torch.bfloat16) if self.rounded else self.weights
        for start in range(0, n_rows, size):
            rows = slice(start, min(start + size, n_rows))
            scores = room[: rows.stop - start] if kept is None else kept[rows]
            if self.rounded:
                scores.copy_(read[rows].to(torch.bfloat16) @ weights).add_(self.bias)
            else:
                torch.addmm(self.bias, read[rows], weights, out=scores)
            yield rows, scores if self.factor is None else scores.mul_(self.factor)

    @torch.no_grad()
    def exactly(
        self,
        read: Float[Tensor, "row d_in"],
        row_starts: Int[Tensor, "row"],
        feature: Int[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Scores of some features of each row, not rounded.

        Args:
            read: rows.
            row_starts: where each row's entries begin in `feature`.
            feature: whose score.
        """
        scores = products_of_entries(read, self.weights.t(), row_starts, feature)
        scores += self.bias[feature]
        return scores if self.factor is None else scores.mul_(self.factor[feature])


def products_of_entries(
    rows: Float[Tensor, "bag width"],
    weights: Float[Tensor, "d_features width"],
    starts: Int[Tensor, "bag"],
    feature: Int[Tensor, "n"],
) -> Float[Tensor, "n"]:
    """For each entry of a bag, the product of the bag's row with the weights of its feature.

    This is the gradient of a weighed sum of weights for its coefficients, which torch computes
    without writing the gathered weights down.
    """
    coefficients = rows.new_zeros(len(feature), requires_grad=True)
    with torch.enable_grad():
        sums = nn.functional.embedding_bag(
            feature, weights, starts, per_sample_weights=coefficients, mode="sum"
        )
        (products,) = torch.autograd.grad(sums, coefficients, rows)
    return products


def top_k_of_rows(
    scoring: Scoring, read: Float[Tensor, "row d_in"], k: int
) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    """The k largest scores of each row and whose they are; all scores are never kept."""
    value = read.new_empty(len(read), k)
    index = torch.empty(value.shape, dtype=torch.long, device=read.device)
    for rows, scores in scoring.chunks(read):
        value[rows], index[rows] = largest(scores, k)
    if scoring.rounded:
        starts = torch.arange(0, index.numel(), k, device=read.device)
        value = scoring.exactly(read, starts, index.flatten()).view_as(index)
    return value, index


# ---- the largest ----


def largest(
    scores: Float[Tensor, "*batch d_features"], k: int
) -> tuple[Float[Tensor, "*batch k"], Int[Tensor, "*batch k"]]:
    """The k largest of each row and where they are, in no order.

    The same as `torch.topk`, faster where few are wanted of many. Elements are put in blocks of
    four. Each of the k largest lies in one of the k blocks of largest maximum, since fewer than k
    blocks can hold something larger; so the rest need not be looked at. The blocks are found in the
    same way. Which of equal elements are taken is not said, but depends on nothing else than the
    row.
    """
    width = scores.shape[-1]
    if scores.device.type != "cpu" or width % _BLOCK or width < _WORTH_IT * k:
        value, index = scores.topk(k, dim=-1, sorted=False)
        return value, index
    n_blocks = width // _BLOCK
    # Block j is j, j + n_blocks, ...: so the maxima are taken over whole stretches of memory.
    blocks = scores.unflatten(-1, (_BLOCK, n_blocks))
    _, which = largest(blocks.amax(-2), k)
    starts = torch.arange(0, width, n_blocks, device=scores.device)
    candidates = (which.unsqueeze(-2) + starts[:, None]).flatten(-2)  # [*batch, 4 k]
    value, place = scores.gather(-1, candidates).topk(k, dim=-1, sorted=False)
    return value, candidates.gather(-1, place)


_BLOCK = 4
_WORTH_IT = 12
"""Blocks from rows of so many times k on."""


def largest_of_all(
    scores: Float[Tensor, "*shape"], n: int
) -> tuple[Float[Tensor, "n"], Int[Tensor, "n"]]:
    """The n largest elements and where they are in the flattened tensor, in no order.

    A sample says where the n-th largest must lie above, with a margin of six standard deviations;
    only what is above is compared. If the sample misled, and fewer than n are, all are compared.
    """
    flat = scores.flatten()
    sample = flat[::_EVERY]
    expected = n / _EVERY
    rank = int(expected + 6 * expected**0.5) + 1
    if rank < len(sample) // 2:
        bound = sample.topk(rank, sorted=False).values.min()
        candidates = (flat >= bound).nonzero().squeeze(1)
        if len(candidates) >= n:
            value, place = flat[candidates].topk(n, sorted=False)
            return value, candidates[place]
    value, index = flat.topk(n, sorted=False)
    return value, index


_EVERY = 61
"""One in so many is sampled; prime, so that no width of rows is sampled in one column only."""
