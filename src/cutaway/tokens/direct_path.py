"""The direct path: what a token's embedding says of the next token, with (nearly) nothing between.

Elhage et al. (2021, "A Mathematical Framework for Transformer Circuits", zero-layer transformers):
without layers the logits are W_E W_U, a table from each token to the next, and the best that can be
done is the statistics of bigrams. With layers, the table is one term of many. Three starting points
are read here, each by the model's own final norm and unembedding:

- "embedding": W_E alone;
- "first-mlp": W_E and what the first MLP adds when it reads a token's embedding alone;
- "first-layer": W_E through the whole first layer, as if each token saw nothing but itself.

No position is added unless one is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from .vectors import (
    Floats,
    Integers,
    TokenLike,
    rows_at_a_time,
    token_ids,
    token_texts,
    token_vectors,
)

Start = Literal["embedding", "first-mlp", "first-layer"]
TieKind = Literal["one matrix", "equal values", "separate"]


def starts_of(model: HookedTransformer) -> tuple[Start, ...]:
    """The starting points that this model has."""
    found: list[Start] = ["embedding"]
    if model.cfg.n_layers and not model.cfg.attn_only:
        found.append("first-mlp")
    if model.cfg.n_layers:
        found.append("first-layer")
    return tuple(found)


@torch.no_grad()
def starting_stream(
    model: HookedTransformer,
    tokens: Int[Tensor, " row"],
    start: Start = "embedding",
    position: int | None = None,
) -> Float[Tensor, "row d_model"]:
    """The stream of single tokens where the direct path starts.

    Args:
        model: read, not changed.
        tokens: ids.
        start: see above.
        position: the row of W_pos that is added; None adds none.

    Raises:
        ValueError: a starting point that the model does not have, a position without a table.
    """
    if start not in get_args(Start):
        known = ", ".join(map(repr, get_args(Start)))
        raise ValueError(f"start={start!r} is unknown; it can be {known}.")
    if start not in starts_of(model):
        lacks = "layers" if not model.cfg.n_layers else "MLPs"
        raise ValueError(f"start={start!r}: {model.cfg.model_name} has no {lacks}.")
    x: Tensor = model.W_E.detach()[tokens]  # [row, d_model]
    if position is not None:
        x = x + _position(model, position)
    if start == "first-mlp":
        x = x + model.blocks[0].mlp_out(x[:, None])[:, 0]
    elif start == "first-layer":
        x = model.blocks[0](x[:, None])[:, 0]  # a sequence of one token each
    return x


@torch.no_grad()
def direct_logits(
    model: HookedTransformer,
    tokens: TokenLike | Sequence[TokenLike] | Tensor | None = None,
    start: Start = "embedding",
    position: int | None = None,
) -> Float[Tensor, "row d_vocab"]:
    """norm(x) W_U + b_U of each token's starting stream x: rows of the model's bigram table.

    The final norm takes its scale from x itself. All rows of a large vocabulary are gigabytes (10
    of GPT-2's): ask for some tokens, or use `direct_successors`, which reads the table in blocks.

    Args:
        model: read, not changed.
        tokens: texts or ids; None is the whole vocabulary.
        start, position: as in `starting_stream`.

    Raises:
        ValueError: as in `starting_stream`; a word that is not one token.

    Example:
        >>> direct_logits(model, [" John"]).argmax(-1)
    """
    x = starting_stream(model, token_ids(model, tokens), start, position)
    return at_least_float32(model.unembed(model.ln_final(x)))


@dataclass(frozen=True)
class Successors:
    """What the direct path holds likeliest to come after each token."""

    start: str
    """Where the path starts."""
    tokens: Int[Integers, " row"]
    """The tokens that were asked for."""
    texts: tuple[str, ...]
    """Theirs."""
    successors: Int[Integers, "row k"]
    """The likeliest next tokens, the likeliest first."""
    successor_texts: tuple[tuple[str, ...], ...]
    """Theirs."""
    probabilities: Float[Floats, "row k"]
    """What the path gives to each."""

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each token and successor; pandas takes it as is."""
        return [
            {
                "token": text,
                "rank": at + 1,
                "successor": self.successor_texts[row][at],
                "probability": float(self.probabilities[row, at]),
            }
            for row, text in enumerate(self.texts)
            for at in range(self.successors.shape[1])
        ]


@torch.no_grad()
def direct_successors(
    model: HookedTransformer,
    tokens: TokenLike | Sequence[TokenLike] | Tensor | None = None,
    k: int = 5,
    start: Start = "embedding",
    position: int | None = None,
) -> Successors:
    """The k likeliest successors of each token by the direct path, in blocks of rows.

    Args:
        model: read, not changed.
        tokens: texts or ids; None is the whole vocabulary.
        k: successors of each.
        start, position: as in `starting_stream`.

    Raises:
        ValueError: as in `direct_logits`, or k out of range.

    Example:
        >>> direct_successors(model, " went", k=2, start="first-mlp").successor_texts
        ((' to', ' out'),)
    """
    if not 1 <= k <= model.cfg.d_vocab:
        raise ValueError(f"k={k} is not between 1 and {model.cfg.d_vocab}, the vocabulary.")
    ids = token_ids(model, tokens)
    values, places, step = [], [], rows_at_a_time(model.cfg.d_vocab)
    for at in range(0, len(ids), step):
        logits = direct_logits(model, ids[at : at + step], start, position)
        best = logits.softmax(-1).topk(k, dim=-1)
        values.append(best.values)
        places.append(best.indices)
    chosen = torch.cat(places)
    return Successors(
        start=start,
        tokens=ids.cpu().numpy(),
        texts=token_texts(model, ids),
        successors=chosen.cpu().numpy(),
        successor_texts=tuple(token_texts(model, row) for row in chosen),
        probabilities=torch.cat(values).double().cpu().numpy(),
    )


@dataclass(frozen=True)
class EmbeddingTie:
    """Whether a token is said by the vector that it is read by, and what follows from it."""

    kind: TieKind
    """"one matrix" (shared storage), "equal values" (two copies), or "separate"."""
    own_cosine: Float[Floats, " d_vocab"]
    """Of each token's vector where it is read with that where it is said (`token_vectors`)."""
    other_cosine: Float[Floats, " d_vocab"]
    """The control: with the vector that says another token."""
    symmetric_share: float
    """Of W_E W_U without the norms: ||(M + M^T) / 2||^2 / ||M||^2. 1 is symmetric, 1/2 is as a
    random table, 0 antisymmetric."""
    random_symmetric_share: float
    """The control: that of W_E with the columns of W_U in random order."""
    self_share: float
    """Of all tokens: how many the direct path holds likeliest to come after themselves."""

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict)."""
        return [
            {
                "kind": self.kind,
                "own_cosine": float(self.own_cosine.mean()),
                "other_cosine": float(self.other_cosine.mean()),
                "symmetric_share": self.symmetric_share,
                "random_symmetric_share": self.random_symmetric_share,
                "self_share": self.self_share,
            }
        ]


@torch.no_grad()
def embedding_tie(model: HookedTransformer, seed: int = 0) -> EmbeddingTie:
    """Whether W_U is W_E transposed, and how symmetric the table W_E W_U is.

    A tied table is symmetric but for the norms: it says of "q u" what it says of "u q". Text is
    not like that, so that a tied model without layers cannot know its bigrams. Folding the norms
    (`from_pretrained` does) makes two matrices of one, and then `kind` says "separate" while
    `own_cosine` stays near 1: load with `from_pretrained_no_processing` to see the tie itself.

    Norms of tables are taken by their factors, ||W_E W_U||^2 = tr(W_E^T W_E W_U W_U^T), so that no
    table is ever there.

    Args:
        model: read, not changed.
        seed: of the control's order.

    Example:
        >>> embedding_tie(HookedTransformer.from_pretrained("shakespeare-small")).kind
        'separate'
    """
    W_E, W_U = model.W_E.detach(), model.W_U.detach()
    d_vocab = model.cfg.d_vocab
    kind: TieKind = "separate"
    if W_E.data_ptr() == W_U.data_ptr() and W_E.shape == W_U.T.shape:
        kind = "one matrix"
    elif torch.equal(W_E, W_U.T):
        kind = "equal values"
    read = torch.nn.functional.normalize(token_vectors(model, "embedding"), dim=-1)
    said = torch.nn.functional.normalize(token_vectors(model, "unembedding"), dim=-1)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(d_vocab, generator=generator).to(model.device)
    other = torch.empty_like(order)
    other[order] = order.roll(1)  # a cycle: no token keeps its own
    left, right = at_least_float32(W_E).double(), at_least_float32(W_U).double()
    best = direct_successors(model, k=1).successors[:, 0]
    return EmbeddingTie(
        kind=kind,
        own_cosine=(read * said).sum(-1).double().cpu().numpy(),
        other_cosine=(read * said[other]).sum(-1).double().cpu().numpy(),
        symmetric_share=_symmetric_share(left, right),
        random_symmetric_share=_symmetric_share(left, right[:, order]),
        self_share=float((best == np.arange(d_vocab)).mean()),
    )


def _symmetric_share(
    left: Float[Tensor, "d_vocab d_model"], right: Float[Tensor, "d_model d_vocab"]
) -> float:
    """||(M + M^T) / 2||^2 / ||M||^2 = (1 + <M, M^T> / ||M||^2) / 2 of M = left @ right."""
    size = ((left.T @ left) * (right @ right.T)).sum()
    small = right @ left  # <M, M^T> = tr(M M) = tr(small small)
    return float((1 + (small * small.T).sum() / size) / 2)


def _position(model: HookedTransformer, position: int) -> Float[Tensor, " d_model"]:
    if model.cfg.positional_embedding_type != "standard":
        raise ValueError(
            f"position={position}: {model.cfg.model_name} has no table of positions "
            f"(positional_embedding_type is {model.cfg.positional_embedding_type!r}): leave it out."
        )
    if not 0 <= position < model.cfg.n_ctx:
        raise ValueError(f"position={position} is not between 0 and {model.cfg.n_ctx - 1}.")
    row: Tensor = model.W_pos.detach()[position]
    return row
