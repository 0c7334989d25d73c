"""Where steering vectors come from: embeddings, a pair of texts, two sets of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from .norms import check_stream_site, real_tokens_of, stream_at
from .vectors import SteeringVector

Tokens = str | int | Sequence[str] | Tensor
"""One token, or [prompt] of them: text or numbers."""


@torch.no_grad()
def embedding_difference(
    model: HookedTransformer,
    towards: Tokens,
    away_from: Tokens,
    matrix: str = "W_E",
) -> SteeringVector:
    """Emb(towards) - Emb(away_from): added at layer 0 where a token stands, it exchanges the token.

    The stream begins as W_E[token] (plus the position), and ends as what W_U compares with its
    columns (Elhage et al. 2021, "the residual stream as a communication channel"). W_E is what a
    token is when it is read, W_U what it is when it is said; in a model that does not tie them the
    two need have nothing to do with each other.

    Args:
        model: its embeddings, and its tokenizer for text.
        towards: one token (text or number) for all prompts, or one for each.
        away_from: the same.
        matrix: "W_E" takes rows of the embedding, "W_U" columns of the unembedding.

    Returns:
        [d_model] where both tokens are fixed, else [prompt, d_model].

    Raises:
        ValueError: text that is not one token, different numbers of prompts, twice the same token.

    Example:
        >>> embedding_difference(model, " Paul", task.correct).vector.shape  # doctest: +SKIP
        torch.Size([64, 128])
    """
    if matrix not in ("W_E", "W_U"):
        raise ValueError(f"matrix={matrix!r} is neither 'W_E' nor 'W_U'.")
    rows = model.W_E if matrix == "W_E" else model.W_U.T  # [d_vocab, d_model]
    plus, minus = (token_numbers(model, tokens) for tokens in (towards, away_from))
    if plus.ndim and minus.ndim and len(plus) != len(minus):
        raise ValueError(f"towards has {len(plus)} tokens and away_from {len(minus)}.")
    vector = rows[plus.to(rows.device)] - rows[minus.to(rows.device)]
    names = [_said(model, tokens) for tokens in (plus, minus)]
    return SteeringVector(vector.detach().clone(), f"{matrix}[{names[0]}] - {matrix}[{names[1]}]")


@torch.no_grad()
def activation_difference(
    model: HookedTransformer,
    plus: str | Int[Tensor, "..."],
    minus: str | Int[Tensor, "..."],
    layer: int,
    site: str = "resid_pre",
    filler: str | int | None = None,
) -> SteeringVector:
    """act(plus) - act(minus) at one layer, position by position from the front (ActAdd).

    This is Turner et al. (2023, section 3, "Activation Addition"), who fill the shorter text up
    with spaces and add the difference to the front of the prompt.

    Args:
        model: without hooks attached.
        plus: one text, or its tokens, of what is wanted; text gets BOS where the model wants it.
        minus: what it is compared with.
        layer: where the stream is read.
        site: "resid_pre", "resid_mid" or "resid_post".
        filler: a token, put behind the shorter of the two; None allows no difference in length.

    Returns:
        [1, pos, d_model]: the same for every prompt, zero where both texts are the same so far.

    Raises:
        ValueError: texts of different length without a filler; equal texts; no such layer or site.

    Example:
        >>> activation_difference(model, " happy", " sad", layer=2)  # doctest: +SKIP
    """
    check_stream_site(model.cfg, site, layer)
    rows = [_row(model, text) for text in (plus, minus)]
    length = max(map(len, rows))
    if len(rows[0]) != len(rows[1]):
        if filler is None:
            raise ValueError(
                f"plus has {len(rows[0])} tokens and minus {len(rows[1])}: give texts of the same "
                "length, or a token as filler= for the shorter one."
            )
        fill = int(token_numbers(model, filler))
        rows = [torch.cat([row, row.new_full((length - len(row),), fill)]) for row in rows]
    real = torch.ones(2, length, dtype=torch.bool, device=model.device)
    stream = stream_at(model, torch.stack(rows), layer, site, real)  # [2, pos, d_model]
    said = [text if isinstance(text, str) else "tokens" for text in (plus, minus)]
    origin = f"{said[0]!r} - {said[1]!r} at {site} {layer}"
    return SteeringVector((stream[0] - stream[1])[None], origin, layer, site)


@torch.no_grad()
def mean_difference(
    model: HookedTransformer,
    positive: list[str] | Int[Tensor, "n pos"],
    negative: list[str] | Int[Tensor, "m pos2"],
    layer: int,
    site: str = "resid_pre",
    at: str | int | Tensor = "last",
) -> SteeringVector:
    """Mean stream over positive texts minus mean over negative ones, at one layer (CAA).

    This is the "mean difference" vector of Rimsky et al. (2024, section 3.1), who take pairs that
    differ in one answer token and read there. With as many positive as negative texts, `settings`
    says how well the pairs agree: the mean cosine of one pair's difference with the mean of all.

    Args:
        model: without hooks attached.
        positive: texts, or tokens, of what is wanted.
        negative: the same number of them (pairs) or another.
        layer: where the stream is read.
        site: "resid_pre", "resid_mid" or "resid_post".
        at: "last", each text's last token; "all", the mean over all but the first; a whole number,
            counted in the text's own tokens (negative from its end); or for each pair the column
            where both are read, such as `task.positions["END"]`.

    Returns:
        [d_model].

    Raises:
        ValueError: an empty set, a position outside a text, no such layer or site.

    Example:
        >>> end = task.positions["END"]
        >>> mean_difference(model, task.corrupted, task.clean, 2, at=end)  # doctest: +SKIP
    """
    check_stream_site(model.cfg, site, layer)
    read = [_read_set(model, tokens, layer, site, at) for tokens in (positive, negative)]
    vector = read[0].mean(0) - read[1].mean(0)
    settings: dict[str, Any] = {"n_positive": len(read[0]), "n_negative": len(read[1])}
    if len(read[0]) == len(read[1]):
        pairs = torch.cosine_similarity(read[0] - read[1], vector[None], dim=-1)
        settings["agreement"] = float(pairs.mean())
    where = "given positions" if isinstance(at, Tensor) else at
    origin = f"mean of {len(read[0])} - mean of {len(read[1])} texts at {site} {layer}, {where}"
    return SteeringVector(vector, origin, layer, site, settings)


def token_numbers(model: HookedTransformer, tokens: Tokens) -> Int[Tensor, "*prompt"]:
    """Tokens as numbers: a scalar for one, [prompt] for several.

    Raises:
        ValueError: text that is not exactly one token, or numbers that the model does not know.
    """
    if isinstance(tokens, str):
        found = torch.tensor(model.to_single_token(tokens))
    elif isinstance(tokens, int | Tensor):
        found = torch.as_tensor(tokens)
    else:
        found = torch.tensor([int(token_numbers(model, one)) for one in tokens])
    if found.is_floating_point() or found.ndim > 1 or found.numel() == 0:
        raise ValueError(f"tokens are one whole number or [prompt], not {tuple(found.shape)}.")
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= model.cfg.d_vocab:
        raise ValueError(
            f"token {low if low < 0 else high} is not from 0 to {model.cfg.d_vocab - 1}."
        )
    return found.to(model.device)


def _said(model: HookedTransformer, tokens: Int[Tensor, "*prompt"]) -> str:
    if tokens.ndim:
        return f"{len(tokens)} tokens"
    number = int(tokens)
    return str(number) if model.tokenizer is None else model.to_single_str_token(number)


def _row(model: HookedTransformer, text: str | Int[Tensor, "..."]) -> Int[Tensor, " pos"]:
    tokens = model.to_tokens(text) if isinstance(text, str) else torch.as_tensor(text)
    row = tokens.to(model.device).reshape(-1)
    if tokens.ndim > 1 and tokens.shape[0] != 1:
        raise ValueError(f"one text is needed, not a batch of {tokens.shape[0]}.")
    return row


def _read_set(
    model: HookedTransformer,
    texts: list[str] | Int[Tensor, "n pos"],
    layer: int,
    site: str,
    at: Any,
) -> Float[Tensor, "n d_model"]:
    """The stream of each text, at one position or averaged over all."""
    tokens, real = real_tokens_of(model, texts)
    stream = stream_at(model, tokens, layer, site, real)
    where = _where(tokens, real, at)  # [n, pos]
    weights = where.to(stream.dtype)
    read = torch.einsum("npd,np->nd", stream, weights) / weights.sum(1, keepdim=True)
    return read


def _where(
    tokens: Int[Tensor, "n pos"], real: Bool[Tensor, "n pos"], at: Any
) -> Bool[Tensor, "n pos"]:
    """Which tokens are read; at least one of each text.

    Raises:
        ValueError: a position outside a text, or an `at` that is none.
    """
    n, n_pos = tokens.shape
    index = real.long().cumsum(1) - 1  # of each token in its text
    length = real.sum(1, keepdim=True)
    if isinstance(at, Tensor):
        if at.shape != (n,) or bool(((at < 0) | (at >= n_pos)).any()):
            raise ValueError(
                f"at= has the shape {tuple(at.shape)}: it must give a column of {n_pos} for each "
                f"of {n} texts."
            )
        return torch.arange(n_pos, device=real.device) == at.to(real.device)[:, None]
    if at == "last":
        at = -1
    if at == "all":
        found = real & (index > 0)
        if not bool(found.any(1).all()):
            raise ValueError("a text has one token only, and the first one is left out.")
        return found
    if isinstance(at, bool) or not isinstance(at, int):
        raise ValueError(f"at={at!r} is neither 'last', 'all', a whole number nor a tensor.")
    found = real & (index == (at if at >= 0 else length + at))
    if not bool(found.any(1).all()):
        short = int((~found.any(1)).long().argmax())
        raise ValueError(f"at={at} is outside text {short}, which has {int(length[short])} tokens.")
    return found
