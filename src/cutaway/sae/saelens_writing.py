"""SAELens' folders, written: what cfg.json and the weights say of a `Dictionary`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .config import DictionaryConfig, DictionaryError
from .dictionary import Dictionary
from .kinds import BatchTopK, Gated, JumpReLU
from .saelens import ARCHITECTURES, NOTE, NOTE_VERSION
from .weights import folded

VERSION = "6.54.12"
"""The version whose folders we write, and whose code the tests run beside ours."""


def written(dictionary: Dictionary, format: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What goes into cfg.json and into the weights.

    Scale is folded into the weights, as SAELens does at the end of training; batch-top-k and
    matryoshka become jumprelu, as there, with their decoder norms folded where they count.

    Args:
        dictionary: what is to be saved.
        format: "saelens", or "cutaway", which also says, in the metadata, what SAELens has no
            field for; without it the kinds that SAELens lacks are refused.

    Raises:
        DictionaryError: SAELens has no architecture that computes the same.
    """
    note = format == "cutaway"
    stored = folded(dictionary, norms=not _keeps_norms(dictionary))
    name = _name_of(stored.cfg)
    if not (note or ARCHITECTURES[name].known_there):
        raise DictionaryError(
            f"SAELens has no {stored.cfg.kind} transcoder; it has standard and jump-relu ones. Our "
            "own format keeps it."
        )
    values = _values(stored, name, dictionary.dtype)
    values["metadata"] = _metadata(dictionary.cfg, name)
    if note:
        values["metadata"][NOTE] = _own_note(dictionary)
    return values, _tensors(stored, dictionary.dtype)


def _keeps_norms(dictionary: Dictionary) -> bool:
    """Whether decoder norms may stay: SAELens divides by them, also by those that are zero."""
    cfg = dictionary.cfg
    return not cfg.rescale_by_decoder_norm or (
        cfg.kind == "top-k" and bool((dictionary.W_dec.norm(dim=-1) > 0).all())
    )


def _name_of(cfg: DictionaryConfig) -> str:
    kind = "jump-relu" if cfg.kind in ("batch-top-k", "matryoshka") else cfg.kind
    wanted = (kind, cfg.is_transcoder, cfg.skip)
    return next(n for n, a in ARCHITECTURES.items() if (a.kind, a.transcoder, a.skip) == wanted)


def _values(stored: Dictionary, name: str, dtype: torch.dtype) -> dict[str, Any]:
    cfg = stored.cfg
    is_z = cfg.hook.endswith("hook_z") and not cfg.is_transcoder
    values: dict[str, Any] = {
        "architecture": name,
        "d_in": cfg.d_in,
        "d_sae": cfg.d_features,
        "dtype": str(dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": cfg.subtract_decoder_bias,
        "normalize_activations": "none",
        "reshape_activations": "hook_z" if is_z else "none",
    }
    if cfg.is_transcoder:
        values["d_out"] = cfg.output_width
    if cfg.kind == "top-k":
        values |= {"k": cfg.k, "rescale_acts_by_decoder_norm": cfg.rescale_by_decoder_norm}
    return values


def _metadata(cfg: DictionaryConfig, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "sae_lens_version": VERSION,
        "sae_lens_training_version": None,
        "model_name": cfg.model_name or None,
        "hook_name": cfg.hook or None,
        "hook_head_index": None,
        "model_from_pretrained_kwargs": {},
        "prepend_bos": cfg.prepend_bos,
        "context_size": cfg.n_ctx or None,
        "dataset_path": cfg.text or None,
    }
    if ARCHITECTURES[name].transcoder:
        metadata["hook_name_out"] = cfg.hook_out or None
    if cfg.kind in ("batch-top-k", "matryoshka"):  # what SAELens keeps of them beside jumprelu
        was = "batchtopk" if cfg.kind == "batch-top-k" else "matryoshka_batchtopk"
        details: dict[str, Any] = {"k": cfg.k}
        if cfg.sizes:
            details["matryoshka_widths"] = list(cfg.sizes)
        metadata |= {"training_architecture": was, "training_architecture_details": details}
    return metadata


def _own_note(dictionary: Dictionary) -> dict[str, Any]:
    cfg = dictionary.cfg
    note: dict[str, Any] = {
        "version": NOTE_VERSION,
        "kind": cfg.kind,
        "bandwidth": cfg.bandwidth,
        "d_out": cfg.d_out,
        "hook_out": cfg.hook_out,
    }
    if isinstance(dictionary, BatchTopK):  # the file has the threshold in the weights' format
        note |= {"k": cfg.k, "threshold": float(dictionary.threshold)}
    if cfg.kind == "matryoshka":
        note["sizes"] = list(cfg.sizes)
    return note


def _tensors(stored: Dictionary, dtype: torch.dtype) -> dict[str, Tensor]:
    named = {name: getattr(stored, name) for name in ("W_enc", "W_dec", "b_dec")}
    for name in ("b_gate", "b_mag", "r_mag") if isinstance(stored, Gated) else ("b_enc",):
        named[name] = getattr(stored, name)
    if stored.W_skip is not None:
        named["W_skip"] = stored.W_skip.t()
    if isinstance(stored, JumpReLU):
        named["threshold"] = stored.threshold
    elif isinstance(stored, BatchTopK):
        named["threshold"] = stored.threshold.expand(stored.cfg.d_features)
    return {name: value.to(dtype) for name, value in named.items()}
