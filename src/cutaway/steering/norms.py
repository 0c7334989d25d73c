"""The residual stream of prompts: read at one layer, and how long its vectors are there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..model.cache import get_act_name
from ..model.config import ModelConfig
from ..model.transformer import HookedTransformer
from ..patching.sites import check_layers, get_site

STREAM_SITES = ("resid_pre", "resid_mid", "resid_post")
_AT_ONCE = 32  # prompts of one run


def check_stream_site(cfg: ModelConfig, site: str, layer: int | Sequence[int] | None) -> list[int]:
    """The layers, if the site is a place of the residual stream that the model has.

    Raises:
        ValueError: another site, one that the model lacks, or a layer that it does not have.
    """
    if site not in STREAM_SITES:
        raise ValueError(f"site={site!r} is not of the stream: {', '.join(STREAM_SITES)}.")
    return check_layers(cfg, get_site(site, cfg), layer)


def real_tokens_of(
    model: HookedTransformer, texts: str | list[str] | Int[Tensor, "*n pos"]
) -> tuple[Int[Tensor, "n pos"], Bool[Tensor, "n pos"]]:
    """Texts (padded on the left) or tokens as they are, and which tokens are not padding."""
    if isinstance(texts, Tensor):
        tokens, left = model.to_input(texts, None, None, None, None)
        real = model.real_tokens(tokens, left)
    else:
        tokens, real = model.to_input(texts, None, "left", None, None)
    return tokens, torch.ones_like(tokens, dtype=torch.bool) if real is None else real


@torch.no_grad()
def stream_at(
    model: HookedTransformer,
    tokens: Int[Tensor, "n pos"],
    layer: int,
    site: str,
    real: Bool[Tensor, "n pos"],
) -> Float[Tensor, "n pos d_model"]:
    """The residual stream at one layer."""
    hook = get_act_name(site, layer)
    parts = []
    for rows, mask in zip(tokens.split(_AT_ONCE), real.split(_AT_ONCE), strict=True):
        _, values = model.record(
            rows, return_type=None, names_filter=hook, attention_mask=_left_mask(mask)
        )
        parts.append(values[hook])
    return torch.cat(parts)


@torch.no_grad()
def residual_norms(
    model: HookedTransformer,
    tokens: list[str] | Int[Tensor, "prompt pos"],
    layers: int | Sequence[int] | None = None,
    site: str = "resid_pre",
    where: Bool[Tensor, "prompt pos"] | None = None,
) -> dict[int, float]:
    """The mean Euclidean norm of the residual stream at a site: the unit of coefficients.

    Args:
        model: without hooks attached.
        tokens: prompts.
        layers: which layers; None means all.
        site: "resid_pre", "resid_mid" or "resid_post".
        where: at which positions; None means all but padding and each prompt's first token, whose
            norm can be many times that of the others and would drown them.

    Returns:
        Layer -> mean norm over prompts and positions.

    Raises:
        ValueError: a site or layer that the model does not have; no position is left.

    Example:
        >>> residual_norms(model, task.clean, layers=[0, 1])  # doctest: +SKIP
        {0: 1.02, 1: 10.2}
    """
    chosen = check_stream_site(model.cfg, site, layers)
    rows, real = real_tokens_of(model, tokens)
    if where is None:
        where = real & (real.long().cumsum(1) > 1)
    where = where.to(rows.device)
    if not bool(where.any()):
        raise ValueError("there is no position to measure the residual norm at.")
    hooks = {layer: get_act_name(site, layer) for layer in chosen}
    sums = dict.fromkeys(chosen, 0.0)
    parts = zip(rows.split(_AT_ONCE), real.split(_AT_ONCE), where.split(_AT_ONCE), strict=True)
    for part, mask, at in parts:
        _, values = model.record(
            part,
            return_type=None,
            names_filter=list(hooks.values()),
            attention_mask=_left_mask(mask),
        )
        for layer, hook in hooks.items():
            sums[layer] += float(values[hook].norm(dim=-1)[at].double().sum())
    return {layer: total / int(where.sum()) for layer, total in sums.items()}


def _left_mask(real: Bool[Tensor, "n pos"]) -> Bool[Tensor, "n pos"] | None:
    """The mask of padding in front; padding behind is never read and needs none."""
    left = real.long().cumsum(1) > 0
    return None if bool(left.all()) else left
