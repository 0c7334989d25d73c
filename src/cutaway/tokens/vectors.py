"""A token's two vectors, as the model's norms see them, and lists of tokens.

A LayerNorm takes the mean over d_model out of whatever it reads. So that mean of W_E is read by
nobody, and a direction of the stream that W_U points to has none either: both are taken out here.
The final norm's own weights belong to the unembedding. With that, it does not matter whether the
norms were folded when the model was loaded (`model.processing`), except for the mean over the
vocabulary, which centring W_U takes out as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer

Side = Literal["embedding", "unembedding"]
TokenLike: TypeAlias = str | int
Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.integer[Any]]

MOST_CELLS = 4_194_304
"""Numbers of [row, d_vocab] that are held at a time; it changes no result."""


def rows_at_a_time(d_vocab: int) -> int:
    """How many rows of the vocabulary's length fit."""
    return max(1, MOST_CELLS // d_vocab)


def norm_centres(model: HookedTransformer) -> bool:
    """Whether everything that reads the stream takes its mean over d_model out."""
    return model.cfg.normalization_type in ("LN", "LNPre")


def without_mean(
    model: HookedTransformer, vectors: Float[Tensor, "row d_model"]
) -> Float[Tensor, "row d_model"]:
    """The vectors less their mean over d_model, where the model's norms do that."""
    if not norm_centres(model):
        return vectors
    return vectors - vectors.mean(-1, keepdim=True)


@torch.no_grad()
def token_vectors(
    model: HookedTransformer, side: Side = "embedding", centred: bool = True
) -> Float[Tensor, "d_vocab d_model"]:
    """Each token's vector where it is read ("embedding") or said ("unembedding").

    "embedding": the rows of W_E. "unembedding": the direction of the stream that raises the
    token's logit fastest while the final norm's scale stands still, which is W_U's column times
    the norm's weights. Both without their mean over d_model where the norms are LayerNorms.

    Args:
        model: read, not changed.
        side: which of the two.
        centred: less the mean over the vocabulary. Of "unembedding" that changes no probability.

    Raises:
        ValueError: an unknown side.

    Example:
        >>> token_vectors(model, "unembedding").shape
        torch.Size([677, 128])
    """
    if side not in get_args(Side):
        raise ValueError(f"side={side!r} is unknown; it can be 'embedding' or 'unembedding'.")
    if side == "embedding":
        table = at_least_float32(model.W_E.detach())
    else:
        table = at_least_float32(model.W_U.detach().T)
        weights = getattr(model.ln_final, "w", None)
        if weights is not None:
            table = table * at_least_float32(weights.detach())
    table = without_mean(model, table)
    return table - table.mean(0) if centred else table


def token_ids(
    model: HookedTransformer, tokens: TokenLike | Sequence[TokenLike] | Tensor | None
) -> Int[Tensor, " row"]:
    """Token ids of words and numbers; None is the whole vocabulary.

    Raises:
        ValueError: a word that is not one token, an id that the model does not have, none at all.
    """
    d_vocab = model.cfg.d_vocab
    if tokens is None:
        return torch.arange(d_vocab, device=model.device)
    if isinstance(tokens, Tensor):
        found = tokens.detach().reshape(-1).tolist()
    else:
        words = [tokens] if isinstance(tokens, str | int) else list(tokens)
        found = [model.to_single_token(w) if isinstance(w, str) else int(w) for w in words]
    if not found:
        raise ValueError("no tokens are given: name at least one.")
    wrong = next((token for token in found if not 0 <= token < d_vocab), None)
    if wrong is not None:
        raise ValueError(f"there is no token {wrong}: the vocabulary has 0 to {d_vocab - 1}.")
    return torch.tensor(found, dtype=torch.long, device=model.device)


def token_texts(model: HookedTransformer, tokens: Int[Tensor, " row"]) -> tuple[str, ...]:
    """The text of each token, or its number where the model has no tokenizer."""
    tokenizer = model.tokenizer
    if tokenizer is None or not hasattr(tokenizer, "token"):
        return tuple(map(str, tokens.tolist()))
    return tuple(tokenizer.token(token) for token in tokens.tolist())


def normal(*shape: int, seed: int, like: Tensor) -> Tensor:
    """Standard normal numbers that a seed decides, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.empty(shape, dtype=torch.float64).normal_(generator=generator)
    return drawn.to(like.device, like.dtype)
