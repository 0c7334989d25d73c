"""What a reader looks at to understand a feature: where it fires, and what it writes.

Examples of the strongest places alone make every feature look purer than it is (Bricken et al.
2023, "feature analysis"); so examples of all strengths stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..model.transformer import HookedTransformer
from .dictionary import Dictionary
from .fires import Firings
from .splicing import hooks_of, written_rows

_KIND = "examples of features"
OUTSIDE = -1
"""Stands in the place of a token before or behind the text, and of an example that is not there."""


@dataclass(frozen=True, eq=False)
class FeatureExamples:
    """Examples of every feature, and its histogram.

    Example:
        >>> found = feature_examples(firings(model, dictionary, tokens))
        >>> found.tokens[12, 0]  # the strongest place of feature 12, with what stands around it
    """

    before: int
    """Tokens that a window shows before the place itself."""
    n_top: int
    """The first so many examples of a feature are its strongest, the strongest first."""
    tokens: Int[NDArray[np.int64], "feature example window"]
    """OUTSIDE where there is none."""
    values: Float[NDArray[np.float32], "feature example window"]
    """The feature at each of them."""
    band: Int[NDArray[np.int64], "example"]
    """0 for the strongest; then 1 for the upper quarter of its values, ... 4 for the lowest."""
    histogram: Int[NDArray[np.int64], "feature bin"]
    """Places by value, in bins of equal width from 0 to the largest value."""

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        names = ("tokens", "values", "band", "histogram")
        described = {"before": self.before, "n_top": self.n_top}
        save_arrays(path, _KIND, {name: getattr(self, name) for name in names}, described)

    @classmethod
    def load(cls, path: str | Path) -> FeatureExamples:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        arrays, described = load_arrays(path, _KIND)
        return cls(**described, **arrays)


def feature_examples(
    found: Firings,
    *,
    n_top: int = 10,
    n_per_band: int = 3,
    n_bands: int = 4,
    before: int = 12,
    after: int = 4,
    n_bins: int = 24,
    seed: int = 0,
) -> FeatureExamples:
    """Choose examples of every feature.

    Args:
        found: where features fire.
        n_top: strongest places, at most one from each sequence.
        n_per_band: places drawn at random from each band of values.
        n_bands: bands with equally many places; the first has the largest values.
        before, after: tokens around a place.
        n_bins: of the histograms.
        seed: of the draws. Those of one feature do not depend on the others.

    Raises:
        ValueError: numbers that cannot be.

    Example:
        >>> feature_examples(found, n_top=5, n_per_band=2).tokens.shape
    """
    for name, given, least in (
        ("n_top", n_top, 1),
        ("n_per_band", n_per_band, 0),
        ("n_bands", n_bands, 1),
        ("before", before, 0),
        ("after", after, 0),
        ("n_bins", n_bins, 1),
    ):
        if given < least:
            raise ValueError(f"{name}={given} is too small: at least {least}.")
    band = np.array([0] * n_top + [1 + b for b in range(n_bands) for _ in range(n_per_band)])
    shape = (found.n_features, len(band), before + 1 + after)
    tokens = np.full(shape, OUTSIDE, dtype=np.int64)
    values = np.zeros(shape, dtype=np.float32)
    histogram = np.zeros((found.n_features, n_bins), dtype=np.int64)
    for feature in range(found.n_features):
        place, value = found.of(feature)
        if not len(place):
            continue
        histogram[feature] = np.histogram(value, bins=n_bins, range=(0, float(value.max())))[0]
        random = np.random.default_rng((seed, feature))
        chosen = _strongest(place, value, found.tokens.shape[1], n_top)
        chosen += _of_bands(place, value, n_bands, n_per_band, random)
        for example, at in enumerate(chosen):
            if at is not None:
                window = _window(found, feature, at, before, after)
                tokens[feature, example], values[feature, example] = window
    return FeatureExamples(before, n_top, tokens, values, band, histogram)


def _strongest(
    place: NDArray[np.int64], value: NDArray[np.float32], n_pos: int, n: int
) -> list[int | None]:
    """The strongest place of each sequence, the strongest first; None where there are no more."""
    order = np.lexsort((place, -value))  # of equal values the earlier one
    _, first = np.unique(place[order] // n_pos, return_index=True)
    best = place[order[np.sort(first)[:n]]]
    return [*(int(at) for at in best), *([None] * (n - len(best)))]


def _of_bands(
    place: NDArray[np.int64],
    value: NDArray[np.float32],
    n_bands: int,
    n_per_band: int,
    random: np.random.Generator,
) -> list[int | None]:
    order = np.lexsort((place, -value))
    chosen: list[int | None] = []
    for own in np.array_split(order, n_bands):
        drawn = random.permutation(own)[:n_per_band]
        some = sorted(drawn.tolist(), key=lambda at: -value[at])
        chosen += [int(place[at]) for at in some] + [None] * (n_per_band - len(some))
    return chosen


def _window(
    found: Firings, feature: int, at: int, before: int, after: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Tokens and values around a place, within its sequence."""
    n_pos = found.tokens.shape[1]
    sequence, pos = divmod(at, n_pos)
    offsets = np.arange(pos - before, pos + after + 1)
    inside = (offsets >= 0) & (offsets < n_pos)
    tokens = np.where(inside, found.tokens[sequence, np.clip(offsets, 0, n_pos - 1)], OUTSIDE)
    values = np.zeros(len(offsets), dtype=np.float32)
    place, value = found.of(feature)
    first, last = np.searchsorted(place, [sequence * n_pos, (sequence + 1) * n_pos])
    shown = place[first:last] - sequence * n_pos - (pos - before)
    within = (shown >= 0) & (shown < len(offsets))
    values[shown[within]] = value[first:last][within]
    return tokens, values


@dataclass(frozen=True, eq=False)
class FeatureDirections:
    """What features write: the tokens that they promote and suppress, and who writes alike."""

    promoted: Int[NDArray[np.int64], "feature k"]
    """Tokens whose logits rise most, the first most; empty where it does not write to logits."""
    promoted_by: Float[NDArray[np.float32], "feature k"]
    """Logits per unit of the feature, less the mean over the vocabulary, before the final norm's
    scale."""
    suppressed: Int[NDArray[np.int64], "feature k"]
    suppressed_by: Float[NDArray[np.float32], "feature k"]
    similar: Int[NDArray[np.int64], "feature n"]
    """Features whose decoder rows have the largest cosines with its own."""
    cosine: Float[NDArray[np.float32], "feature n"]


@torch.no_grad()
def feature_directions(
    model: HookedTransformer, dictionary: Dictionary, *, k: int = 8, n_similar: int = 5
) -> FeatureDirections:
    """The direct effect of every feature on the logits, and its neighbours in the dictionary.

    The direct path alone: what later layers make of the feature is not in it. Of dictionaries
    whose output is no vector of the stream (a head's z) nothing is promoted.

    Args:
        model: with the unembedding.
        dictionary: of any kind.
        k: tokens on either side.
        n_similar: neighbours.

    Example:
        >>> model.to_str_tokens(feature_directions(model, dictionary).promoted[12])
    """
    rows = written_rows(dictionary).float()
    k, n_similar = min(k, model.cfg.d_vocab), min(n_similar, len(rows) - 1)
    tops: list[tuple[Tensor, ...]] = []
    unit = rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    writes = _writes_to_the_stream(model, dictionary)
    W_U = model.W_U.float() - model.W_U.float().mean(-1, keepdim=True)
    for some in torch.arange(len(rows), device=rows.device).split(_AT_ONCE):
        cosine = unit[some] @ unit.T
        cosine[torch.arange(len(some)), some] = -torch.inf
        near = cosine.topk(n_similar, dim=-1)
        logits = rows[some] @ W_U if writes else rows.new_zeros(len(some), 0)
        n = k if writes else 0
        most, least = logits.topk(n, dim=-1), logits.topk(n, dim=-1, largest=False)
        tops.append((*_of(most), *_of(least), *_of(near)))
    joined = [torch.cat(one).cpu().numpy() for one in zip(*tops, strict=True)]
    return FeatureDirections(*joined)


_AT_ONCE = 512


def _of(top: torch.return_types.topk) -> tuple[Tensor, Tensor]:
    return top.indices, top.values


def _writes_to_the_stream(model: HookedTransformer, dictionary: Dictionary) -> bool:
    last = hooks_of(dictionary)[1].rsplit(".", 1)[-1]
    stream = last.startswith(("hook_resid", "hook_attn_out", "hook_mlp_out", "hook_embed"))
    return stream and dictionary.cfg.output_width == model.cfg.d_model
