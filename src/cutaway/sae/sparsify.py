"""Folders of sparsify (EleutherAI): cfg.json and sae.safetensors, as version 1.3 writes them.

It has one kind, top-k, as autoencoder, transcoder and skip-transcoder:

    features = top-k(relu((x - b_dec) encoder.weight^T + encoder.bias))
    output   = features W_dec + b_dec + x W_skip^T

b_dec is not subtracted by transcoders, and W_skip is theirs. The name of the folder is the module
whose output is read, as sparsify names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import DictionaryConfig, DictionaryError
from .dictionary import Dictionary
from .saelens_options import need
from .weights import Weights, folded, tensors_of

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
_OPTIONS = (
    *("activation", "expansion_factor", "normalize_decoder", "num_latents", "k", "multi_topk"),
    *("skip_connection", "transcode", "signed", "d_in", "cutaway"),
)
_NOTE = "cutaway"
"""What else we say; sparsify leaves out fields that it does not know."""
_NOTED = ("model_name", "hook", "hook_out", "prepend_bos", "n_ctx", "text")


def read(
    folder: Path, values: Mapping[str, Any], assume: Mapping[str, Any]
) -> tuple[DictionaryConfig, dict[str, Tensor]]:
    """Configuration and weights of a folder.

    Args:
        folder: that holds the two files.
        values: what its cfg.json says.
        assume: what it does not say, from somebody who knows.

    Raises:
        DictionaryError: a field is missing or means something that a `Dictionary` cannot do; the
            weights do not fit, or are not finite.
    """
    source = folder / CONFIG
    for name in assume:
        if values.get(name) is not None:
            raise DictionaryError(
                f"{source} says itself that {name} is {values[name]!r}: take it out of assume."
            )
    values = {**values, **assume}
    _check_options(values, source)
    tensors = tensors_of(folder / WEIGHTS)
    cfg = _config(values, tensors, folder)
    weights = Weights(tensors, getattr(torch, cfg.dtype), folder / WEIGHTS)
    return cfg, _state(weights, cfg)


def _check_options(values: Mapping[str, Any], source: Path) -> None:
    strangers = [name for name in values if name not in _OPTIONS]
    if strangers:
        raise DictionaryError(
            f"{source} has the option {strangers[0]!r}, which this release does not know: it might "
            "change the features. If it does not, take it out of the file."
        )
    # Files from before there was a choice have no such field: top-k was all there was.
    activation = values.get("activation", "topk")
    if activation != "topk":
        raise DictionaryError(
            f"{source} has activation={activation!r}: a dictionary here keeps the k largest of "
            "all features (topk), not the largest of each group."
        )
    if values.get("signed"):
        raise DictionaryError(
            f"{source} has signed=true: it keeps the largest features of either sign, and features "
            "here are not negative."
        )
    if values.get("skip_connection") and not values.get("transcode"):
        raise DictionaryError(
            f"{source} has skip_connection=true without transcode: an autoencoder beside a linear "
            "map from its own input has no counterpart here."
        )


def _config(
    values: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path
) -> DictionaryConfig:
    source = folder / CONFIG
    d_in = need(values, "d_in", source)
    n_features = values.get("num_latents") or d_in * need(values, "expansion_factor", source)
    transcode = bool(values.get("transcode", False))
    hook = "" if transcode else _hook_of(folder.resolve().name)
    fields: dict[str, Any] = {
        "kind": "top-k",
        "d_in": d_in,
        "d_features": n_features,
        "d_out": d_in if transcode else None,
        "k": need(values, "k", source),
        "skip": bool(values.get("skip_connection", False)),
        "subtract_decoder_bias": not transcode,
        "hook": hook,
        "dtype": _format_of(tensors, folder / WEIGHTS),
    }
    note = values.get(_NOTE) or {}
    fields |= {name: note[name] for name in _NOTED if name in note}
    try:
        return DictionaryConfig.from_dict(fields)
    except DictionaryError as fault:
        raise DictionaryError(f"{source} describes no dictionary: {fault}") from None


def _format_of(tensors: Mapping[str, Tensor], source: Path) -> str:
    """Number format of the weights, which cfg.json does not say."""
    formats = {str(value.dtype).removeprefix("torch.") for value in tensors.values()}
    if len(formats) != 1:
        raise DictionaryError(
            f"{source} holds {', '.join(sorted(formats)) or 'nothing'}: the weights of a "
            "dictionary have one number format."
        )
    return formats.pop()


def _hook_of(name: str) -> str:
    """What the module of that name in Hugging Face's models writes, as a hook; "" if unknown."""
    if name == "embed_tokens":
        return "hook_embed"
    match = re.fullmatch(r"(?:.*\.)?(?:layers|h|blocks)\.(\d+)(?:\.(mlp|attn|self_attn))?", name)
    if match is None:
        return ""
    written = {None: "resid_post", "mlp": "mlp_out"}.get(match[2], "attn_out")
    return f"blocks.{match[1]}.hook_{written}"


def _state(weights: Weights, cfg: DictionaryConfig) -> dict[str, Tensor]:
    d_in, n, d_out = cfg.d_in, cfg.d_features, cfg.output_width
    state = {
        "W_enc": weights.take("encoder.weight", n, d_in).t(),
        "b_enc": weights.take("encoder.bias", n),
        "W_dec": weights.take("W_dec", n, d_out),
        "b_dec": weights.take("b_dec", d_out),
    }
    if cfg.skip:
        state["W_skip"] = weights.take("W_skip", d_out, d_in).t()
    weights.finish()
    return state


def written(dictionary: Dictionary) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What goes into cfg.json and into the weights: scale and decoder norms folded.

    Raises:
        DictionaryError: sparsify has nothing that computes the same.
    """
    cfg = dictionary.cfg
    if cfg.kind != "top-k":
        raise DictionaryError(f"sparsify has top-k dictionaries only; this one is {cfg.kind}.")
    if cfg.output_width != cfg.d_in:
        raise DictionaryError(
            f"sparsify has one width for input and output; this transcoder has {cfg.d_in} and "
            f"{cfg.output_width}."
        )
    stored = folded(dictionary, norms=cfg.rescale_by_decoder_norm)
    bias: Tensor = stored.b_enc
    if not (cfg.is_transcoder or cfg.subtract_decoder_bias):
        # It always subtracts: what that takes from the pre-activations is given back here.
        bias = (bias.double() + stored.b_dec.double() @ stored.W_enc.double()).to(bias.dtype)
    norms = stored.W_dec.detach().float().norm(dim=-1)
    values: dict[str, Any] = {
        "activation": "topk",
        "expansion_factor": max(cfg.d_features // cfg.d_in, 1),
        "normalize_decoder": bool(((norms - 1).abs() < 1e-2).all()),
        "num_latents": cfg.d_features,
        "k": cfg.k,
        "multi_topk": False,
        "skip_connection": cfg.skip,
        "transcode": cfg.is_transcoder,
        "d_in": cfg.d_in,
        _NOTE: {name: getattr(cfg, name) for name in _NOTED},
    }
    named = {
        "encoder.weight": stored.W_enc.t(),
        "encoder.bias": bias,
        "W_dec": stored.W_dec,
        "b_dec": stored.b_dec,
    }
    if stored.W_skip is not None:
        named["W_skip"] = stored.W_skip.t()
    return values, {name: value.to(dictionary.dtype) for name, value in named.items()}
