"""The active features of a batch as one list, and the products that touch nothing else.

A dense step of a top-k dictionary makes six products with all features of all rows, forwards and
backwards, though all but k of each row's features are zero. Here only the first is whole, since
which features are the largest cannot be known without it. The others go through the list.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..patching.precision import Precision
from .kinds import BatchTopK, Matryoshka, TopK
from .sparse import Scoring, largest_of_all, top_k_of_rows


@dataclass(frozen=True, eq=False)
class Active:
    """Active features, one entry each, in the order of bags.

    A bag is a row, or of a matryoshka dictionary one nested group of a row: bag = row x n_groups +
    group, where group g holds the features from one prefix size to the next.
    """

    bag: Int[Tensor, "n"]
    """Of each entry, rising."""
    feature: Int[Tensor, "n"]
    """Which one it is."""
    value: Float[Tensor, "n"]
    """Its strength as a coefficient of its decoder row; positive."""
    n_bags: int
    """Rows times groups."""
    n_features: int
    """Of the dictionary."""

    def starts(self) -> Int[Tensor, "n_bags"]:
        """Where each bag begins in the list."""
        return _starts(self.bag, self.n_bags)

    def by_feature(self) -> tuple[Int[Tensor, "n"], Int[Tensor, "d_features"], Tensor]:
        """The order that lists entries by feature, where each begins, and how many it has."""
        # Sorting short integers goes by their digits, which takes a quarter of the time.
        short = torch.int16 if self.n_features <= torch.iinfo(torch.int16).max else torch.int32
        order = self.feature.to(short).sort(stable=True).indices
        counts = torch.bincount(self.feature, minlength=self.n_features)
        return order, counts.cumsum(0) - counts, counts


def _starts(sorted_keys: Int[Tensor, "n"], n: int) -> Int[Tensor, "n_keys"]:
    counts = torch.bincount(sorted_keys, minlength=n)
    return counts.cumsum(0) - counts


# ---- which features are active ----


@torch.no_grad()
def active_in_training(
    dictionary: TopK, read: Float[Tensor, "row d_in"], precision: Precision = "float32"
) -> Active:
    """The features that the loss of a top-k kind sees. Moves the threshold of batch kinds.

    Args:
        dictionary: of a top-k kind.
        read: what its encoder reads (`Dictionary.encoder_input`).
        precision: bfloat16 chooses by rounded scores; the values are those of float32 either way.
    """
    scoring = dictionary.scoring(rounded=precision == "bfloat16")
    if isinstance(dictionary, BatchTopK):
        return _active_of_batch(dictionary, scoring, read)
    assert dictionary.cfg.k is not None
    value, index = top_k_of_rows(scoring, read, dictionary.cfg.k)
    n_rows, k = index.shape
    bag = torch.arange(n_rows, device=read.device).repeat_interleave(k)
    return _positive(dictionary, bag, index.flatten(), value.flatten(), n_rows)


def _active_of_batch(
    dictionary: BatchTopK, scoring: Scoring, read: Float[Tensor, "row d_in"]
) -> Active:
    n_rows, n_features = len(read), dictionary.cfg.d_features
    assert dictionary.cfg.k is not None
    scores = read.new_empty(n_rows, n_features)
    for _, some in scoring.chunks(read, kept=scores):
        some.relu_()
    value, at = largest_of_all(scores, dictionary.cfg.k * n_rows)
    at, order = at.sort()
    row, feature, value = at // n_features, at % n_features, value[order]
    if scoring.rounded:
        # Where the rounded score was 0, the feature was not active.
        exact = scoring.exactly(read, _starts(row, n_rows), feature)
        value = torch.where(value > 0, exact, 0)
    dictionary.follow(value)
    bag, n_groups = row, 1
    if isinstance(dictionary, Matryoshka):
        sizes = torch.tensor(dictionary.cfg.sizes, device=read.device)
        n_groups = len(sizes)
        bag = row * n_groups + torch.searchsorted(sizes, feature, right=True)
    return _positive(dictionary, bag, feature, value, n_rows * n_groups)


def _positive(dictionary: TopK, bag: Tensor, feature: Tensor, score: Tensor, n_bags: int) -> Active:
    """What is not positive is not active, and has no gradient either."""
    keep = score > 0
    if not bool(keep.all()):
        bag, feature, score = bag[keep], feature[keep], score[keep]
    if dictionary.cfg.rescale_by_decoder_norm:
        score = score / dictionary.decoder_norms()[feature]
    return Active(bag, feature, score, n_bags, dictionary.cfg.d_features)
