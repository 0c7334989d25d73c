"""Nearest tokens of a token or of any direction, by cosine, beside those of random directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from .vectors import (
    Floats,
    Integers,
    Side,
    TokenLike,
    normal,
    rows_at_a_time,
    token_ids,
    token_texts,
    token_vectors,
    without_mean,
)

CONTROLS = ("isotropic", "same covariance")
"""Random directions: all alike, or spread over the stream as the tokens' own vectors are."""
_KIND = "nearest tokens"
_ARRAYS = ("query_tokens", "tokens", "cosines", "random")


@dataclass(frozen=True)
class Neighbours:
    """The nearest tokens of each query, the nearest first, and how near random directions come.

    Example:
        >>> found = nearest_tokens(model, [" John", " store"], k=3)
        >>> found.to_frame()[0]
        {'query': ' John', 'rank': 1, 'token': 584, 'text': 'John', 'cosine': 0.75, 'p': 0.001}
    """

    model: str
    """The model's name."""
    side: str
    """Whose vectors: "embedding" or "unembedding"."""
    centred: bool
    """Whether the mean over the vocabulary was taken out."""
    queries: tuple[str, ...]
    """What was asked for: a token's text, or "vector 0"."""
    query_tokens: Int[Integers, " query"]
    """The query's own token, which is left out of its neighbours; -1 for vectors."""
    tokens: Int[Integers, "query k"]
    """The nearest tokens."""
    texts: tuple[tuple[str, ...], ...]
    """Theirs, [query][k]."""
    cosines: Float[Floats, "query k"]
    """Of the angle between the query and each."""
    random: Float[Floats, "control draw k"]
    """The cosines of random directions with *their* nearest tokens, for each of `CONTROLS`."""

    def p_values(self, control: str = "same covariance") -> Float[Floats, "query k"]:
        """How often a random direction's j-th nearest token is at least as near as this j-th.

        One is added to both counts, so that none is 0 (Phipson and Smyth 2010). They are not
        corrected for the number of queries.

        Raises:
            ValueError: an unknown control.
        """
        if control not in CONTROLS:
            raise ValueError(
                f"control={control!r} is unknown; it can be {', '.join(map(repr, CONTROLS))}."
            )
        drawn = self.random[CONTROLS.index(control)]
        reached = (drawn[None] >= self.cosines[:, None]).sum(1)
        return np.asarray((1 + reached) / (1 + len(drawn)))

    def random_quantile(
        self, share: float = 0.95, control: str = "same covariance"
    ) -> Float[Floats, " k"]:
        """The cosine that this share of the random directions does not exceed, by rank."""
        return np.asarray(np.quantile(self.random[CONTROLS.index(control)], share, axis=0))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each query and neighbour; pandas takes it as is."""
        p = self.p_values()
        return [
            {
                "query": query,
                "rank": at + 1,
                "token": int(self.tokens[row, at]),
                "text": self.texts[row][at],
                "cosine": float(self.cosines[row, at]),
                "p": float(p[row, at]),
            }
            for row, query in enumerate(self.queries)
            for at in range(self.tokens.shape[1])
        ]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the arrays, and the rest as JSON in its header."""
        plain = ("model", "side", "centred", "queries", "texts")
        save_arrays(
            path,
            _KIND,
            {name: getattr(self, name) for name in _ARRAYS},
            {name: getattr(self, name) for name in plain},
        )

    @classmethod
    def load(cls, path: str | Path) -> Neighbours:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, is a folder, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        described["queries"] = tuple(described["queries"])
        described["texts"] = tuple(map(tuple, described["texts"]))
        return cls(**described, **{name: arrays[name] for name in _ARRAYS})


@torch.no_grad()
def nearest_tokens(
    model: HookedTransformer,
    query: TokenLike | Sequence[TokenLike] | Tensor,
    *,
    side: Side = "embedding",
    centred: bool = True,
    k: int = 10,
    n_random: int = 1000,
    seed: int = 0,
) -> Neighbours:
    """The tokens whose vectors point most nearly where the query points.

    The vectors are those of `token_vectors`. A vector of the stream as a query is taken as the
    norms take it (less its mean over d_model where they are LayerNorms). On the side of the
    embedding the vocabulary's mean is taken out of it too if `centred`, since it is held against
    points; on that of the unembedding it is not, since it is held against directions, and
    subtracting what all logits share moves nothing. A cosine with an unembedding is not a logit:
    that is the cosine times the length of the token's direction, plus b_U (and what the norm's
    own bias adds). So the nearest token need not be the likeliest one.

    **Control.** Cosines mean something only beside those that come by chance, and the nearest of
    many tokens is never far. Directions are drawn at random, all alike ("isotropic") or with the
    mean and covariance of the tokens' own vectors ("same covariance", the fairer one), and *their*
    nearest tokens are found in the same way.

    Args:
        model: read, not changed.
        query: a token (its text or its number), a list of them, or vectors [d_model] or
            [row, d_model] of floating point.
        side: the vectors that are searched, and of a token the query's own too.
        centred: take out the mean over the vocabulary.
        k: neighbours of each query; a token is not its own.
        n_random: random directions of each control.
        seed: of the draws.

    Raises:
        ValueError: a word that is not one token, a vector of another width or of zeros, k out of
            range, no random direction.

    Example:
        >>> nearest_tokens(model, " John", k=3).texts
        (('John', ' Kevin', ' Nancy'),)
    """
    table = token_vectors(model, side, centred)
    d_vocab = model.cfg.d_vocab
    if not 1 <= k < d_vocab:
        raise ValueError(f"k={k} is not between 1 and {d_vocab - 1}, the other tokens.")
    if n_random < 1:
        raise ValueError(f"n_random={n_random} must be at least 1: it is what cosines mean.")
    if isinstance(query, Tensor) and query.is_floating_point():
        vectors = _stream_vectors(model, query, side, centred)
        own = torch.full((len(vectors),), -1, device=model.device)
        names = tuple(f"vector {row}" for row in range(len(vectors)))
    else:
        own = token_ids(model, query)
        vectors, names = table[own], token_texts(model, own)
    cosines, tokens = _nearest(vectors, table, own, k)
    mean = token_vectors(model, side, centred=False).mean(0)
    drawn = _random_directions(table, mean if not centred else None, n_random, seed)
    nobody = torch.full((n_random,), -1, device=model.device)
    random = [_nearest(directions, table, nobody, k)[0] for directions in drawn]
    return Neighbours(
        model=model.cfg.model_name,
        side=side,
        centred=centred,
        queries=names,
        query_tokens=own.cpu().numpy(),
        tokens=tokens.cpu().numpy(),
        texts=tuple(token_texts(model, row) for row in tokens),
        cosines=cosines.double().cpu().numpy(),
        random=torch.stack(random).double().cpu().numpy(),
    )


@torch.no_grad()
def token_cosines(
    model: HookedTransformer,
    tokens: Sequence[TokenLike] | Tensor,
    *,
    side: Side = "embedding",
    centred: bool = True,
) -> Float[Tensor, "row row"]:
    """The cosines of all pairs of some tokens' vectors.

    Args:
        model: read, not changed.
        tokens: texts or numbers.
        side, centred: as in `nearest_tokens`.

    Raises:
        ValueError: a word that is not one token, or one whose vector is zero.

    Example:
        >>> token_cosines(model, [" John", " Mary", " store"]).shape
        torch.Size([3, 3])
    """
    chosen = token_ids(model, tokens)
    unit = _unit(token_vectors(model, side, centred)[chosen])
    return unit @ unit.T


def _stream_vectors(
    model: HookedTransformer, query: Tensor, side: Side, centred: bool
) -> Float[Tensor, "row d_model"]:
    vectors = at_least_float32(query.detach().to(model.device))
    vectors = vectors[None] if vectors.ndim == 1 else vectors
    if vectors.ndim != 2 or vectors.shape[-1] != model.cfg.d_model or not len(vectors):
        raise ValueError(
            f"the query has the shape {tuple(query.shape)}, not [{model.cfg.d_model}] or "
            f"[row, {model.cfg.d_model}] as vectors of the stream of {model.cfg.model_name}."
        )
    vectors = without_mean(model, vectors)
    if side == "embedding" and centred:
        vectors = vectors - token_vectors(model, side, centred=False).mean(0)
    return vectors


def _unit(vectors: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
    lengths = vectors.norm(dim=-1, keepdim=True)
    if not (lengths > 0).all() or not lengths.isfinite().all():
        row = int((~((lengths > 0) & lengths.isfinite())).nonzero()[0, 0])
        raise ValueError(f"vector {row} has the length {float(lengths[row]):g}: no direction.")
    unit: Tensor = vectors / lengths
    return unit


def _nearest(
    vectors: Float[Tensor, "query d_model"],
    table: Float[Tensor, "d_vocab d_model"],
    own: Int[Tensor, " query"],
    k: int,
) -> tuple[Float[Tensor, "query k"], Int[Tensor, "query k"]]:
    """Cosines and numbers of the nearest rows of the table, a row's own number left out."""
    units = _unit(vectors)
    lengths = table.norm(dim=-1).clamp(min=torch.finfo(table.dtype).tiny)  # a zero row is at 0
    cosines, tokens, step = [], [], rows_at_a_time(len(table))
    for at in range(0, len(units), step):
        found = units[at : at + step] @ table.T / lengths  # [query, d_vocab]
        mine = own[at : at + step]
        rows = (mine >= 0).nonzero()[:, 0]
        found[rows, mine[rows]] = -torch.inf
        best = found.topk(k, dim=-1)
        cosines.append(best.values)
        tokens.append(best.indices)
    return torch.cat(cosines), torch.cat(tokens)


def _random_directions(
    table: Float[Tensor, "d_vocab d_model"],
    mean: Float[Tensor, " d_model"] | None,
    n: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """[draw, d_model] of each control; `mean` is added to the second where it was not taken out."""
    drawn = normal(2, n, table.shape[1], seed=seed, like=table)
    spread = table - table.mean(0)
    values, axes = torch.linalg.eigh(spread.T @ spread / len(table))
    shaped = (drawn[1] * values.clamp(min=0).sqrt()) @ axes.T  # covariance: axes values axes^T
    return drawn[0], shaped if mean is None else shaped + mean
