"""SAELens' folders, read: cfg.json and sae_weights.safetensors, as its versions 6 write them.

What its inference classes compute is written here in terms of a `Dictionary`; `saelens_writing` is
the other way round. Nothing about what a file computes is guessed: an option that we do not have,
and one that we have never heard of, is an error that names it. docs/methods/dictionary-files.md has
the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import DictionaryConfig, DictionaryError
from .saelens_options import (
    METADATA,
    TRAINING,
    as_version_6,
    check_metadata,
    input_scale,
    need,
)
from .weights import Weights, exact_log

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"


@dataclass(frozen=True)
class Architecture:
    """What a name in cfg.json stands for."""

    kind: str
    transcoder: bool = False
    skip: bool = False
    known_there: bool = True
    """False: SAELens has no such class and refuses the name; only folders of ours have it."""


ARCHITECTURES = {
    "standard": Architecture("standard"),
    "gated": Architecture("gated"),
    "topk": Architecture("top-k"),
    "jumprelu": Architecture("jump-relu"),
    "batchtopk": Architecture("batch-top-k"),
    "matryoshka_batchtopk": Architecture("matryoshka"),
    "transcoder": Architecture("standard", True),
    "skip_transcoder": Architecture("standard", True, True),
    "jumprelu_transcoder": Architecture("jump-relu", True),
    "jumprelu_skip_transcoder": Architecture("jump-relu", True, True),
    "gated_transcoder": Architecture("gated", True, known_there=False),
    "gated_skip_transcoder": Architecture("gated", True, True, known_there=False),
    "topk_transcoder": Architecture("top-k", True, known_there=False),
    "topk_skip_transcoder": Architecture("top-k", True, True, known_there=False),
}
_OPTIONS = (
    *("architecture", "d_in", "d_sae", "d_out", "dtype", "device", "k", "metadata"),
    *("apply_b_dec_to_input", "normalize_activations", "reshape_activations"),
    *("rescale_acts_by_decoder_norm", "matryoshka_widths", "finetuning_scaling_factor"),
    *("hook_head_index", "activation_fn", "sae_lens_version"),
)
NOTE = "cutaway"
"""The entry of the metadata in which our folders say what the rest has no field for."""
NOTE_VERSION = 1


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
    values, scaling_factor = as_version_6(values, assume, source)
    found = _architecture(values, source)
    _check_options(values, source)
    metadata: Mapping[str, Any] = values["metadata"]
    check_metadata(metadata, source)
    note = _note(metadata, found, source)
    cfg = _config(values, found, note, source).replace(
        scale=input_scale(values, scaling_factor, folder)
    )
    weights = Weights.of_file(folder / WEIGHTS, cfg)
    state = _state(weights, cfg, found.kind, bool(values.get("finetuning_scaling_factor")))
    if "threshold" in note:
        _check_threshold(weights, state["threshold"], note["threshold"])
        state["threshold"] = torch.tensor(note["threshold"], dtype=torch.float32)
    return cfg, state


def _architecture(values: Mapping[str, Any], source: Path) -> Architecture:
    name = need(values, "architecture", source)
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise DictionaryError(
            f"{source} has architecture={name!r}, which has no counterpart here; {known} have."
        )
    return ARCHITECTURES[name]


def _check_options(values: Mapping[str, Any], source: Path) -> None:
    """Refuse what changes the features and what nobody here has heard of."""
    strangers = [n for n in values if n not in _OPTIONS and n not in TRAINING and n not in METADATA]
    if strangers:
        raise DictionaryError(
            f"{source} has the option {strangers[0]!r}, which this release does not know: it might "
            "change the features. If it does not, take it out of the file."
        )
    activation = values.get("activation_fn", "relu")
    if activation != "relu" and (activation, values["architecture"]) != ("topk", "topk"):
        raise DictionaryError(
            f"{source} has activation_fn={activation!r}: a {values['architecture']} dictionary "
            "here has ReLU."
        )
    if values.get("hook_head_index") is not None:
        raise DictionaryError(
            f"{source} has hook_head_index={values['hook_head_index']!r}: it reads one head alone, "
            "and a dictionary here reads all heads of a hook side by side."
        )
    reshape = need(values, "reshape_activations", source)
    if reshape not in ("none", "hook_z"):
        raise DictionaryError(
            f"{source} has reshape_activations={reshape!r}; it can be 'none' or 'hook_z'."
        )


def _config(
    values: Mapping[str, Any], found: Architecture, note: Mapping[str, Any], source: Path
) -> DictionaryConfig:
    metadata = values["metadata"]
    is_topk = found.kind in ("top-k", "batch-top-k", "matryoshka")
    # Files from before the option existed have none; until then nothing was rescaled.
    rescale = is_topk and bool(values.get("rescale_acts_by_decoder_norm", False))
    fields: dict[str, Any] = {
        "kind": found.kind,
        "d_in": need(values, "d_in", source),
        "d_features": need(values, "d_sae", source),
        "d_out": need(values, "d_out", source) if found.transcoder else None,
        "k": _whole_k(need(values, "k", source), source) if is_topk else None,
        "hook": metadata.get("hook_name") or "",
        "hook_out": (metadata.get("hook_name_out") or "") if found.transcoder else "",
        "skip": found.skip,
        "subtract_decoder_bias": need(values, "apply_b_dec_to_input", source),
        "sizes": _sizes(values, source) if found.kind == "matryoshka" else (),
        "rescale_by_decoder_norm": rescale,
        "model_name": metadata.get("model_name") or "",
        "prepend_bos": bool(metadata.get("prepend_bos")),
        "n_ctx": metadata.get("context_size") or 0,
        "text": metadata.get("dataset_path") or "",
        "dtype": str(need(values, "dtype", source)).removeprefix("torch."),
    }
    fields |= {name: note[name] for name in note if name not in ("version", "threshold")}
    try:
        return DictionaryConfig.from_dict(fields)
    except DictionaryError as fault:
        raise DictionaryError(f"{source} describes no dictionary: {fault}") from None


def _whole_k(k: Any, source: Path) -> Any:
    """SAELens trains batch-top-k with any positive number; here it is a whole one."""
    if isinstance(k, float):
        if not k.is_integer():
            raise DictionaryError(f"{source} has k={k}: here k is a whole number.")
        return int(k)
    return k


def _sizes(values: Mapping[str, Any], source: Path) -> tuple[int, ...]:
    widths = tuple(need(values, "matryoshka_widths", source))
    d_sae = values["d_sae"]
    return widths if widths and widths[-1] == d_sae else (*widths, d_sae)  # as SAELens completes it


def _note(metadata: Mapping[str, Any], found: Architecture, source: Path) -> dict[str, Any]:
    note = metadata.get(NOTE)
    if note is None:
        return {}
    common = {"version", "kind", "bandwidth", "d_out", "hook_out"}
    kinds = {found.kind: common}
    if found.kind == "jump-relu":
        kinds["batch-top-k"] = common | {"k", "threshold"}
        kinds["matryoshka"] = common | {"k", "threshold", "sizes"}
    if (
        not isinstance(note, dict)
        or note.get("version") != NOTE_VERSION
        or set(note) != kinds.get(note.get("kind", ""))
    ):
        raise DictionaryError(
            f"{source} has a note of Cutaway's (metadata.{NOTE}) that this release cannot read; "
            "without the note it is one of SAELens' own."
        )
    return note


def _state(weights: Weights, cfg: DictionaryConfig, stored: str, scaled: bool) -> dict[str, Tensor]:
    """The weights under our names; `stored` is the kind that the file holds, `cfg.kind` ours."""
    d_in, n, d_out = cfg.d_in, cfg.d_features, cfg.output_width
    state = {name: weights.take(name, *shape) for name, shape in _shared(d_in, n, d_out).items()}
    for name in ("b_gate", "b_mag", "r_mag") if stored == "gated" else ("b_enc",):
        state[name] = weights.take(name, n)
    if cfg.skip:
        state["W_skip"] = weights.take("W_skip", d_out, d_in).t()
    if stored in ("batch-top-k", "matryoshka"):  # a checkpoint of training
        state["threshold"] = weights.take_exactly("topk_threshold").float()
    elif stored == "jump-relu":
        state |= _thresholds(weights, cfg)
    if scaled or weights.has("scaling_factor"):
        state["W_dec"] = state["W_dec"] * _finetuned(weights, n, scaled)[:, None]
    weights.finish()
    return state


def _shared(d_in: int, d_features: int, d_out: int) -> dict[str, tuple[int, ...]]:
    return {"W_enc": (d_in, d_features), "W_dec": (d_features, d_out), "b_dec": (d_out,)}


def _thresholds(weights: Weights, cfg: DictionaryConfig) -> dict[str, Tensor]:
    if weights.has("log_threshold"):  # a checkpoint of training, from older versions
        return {"log_threshold": weights.take_exactly("log_threshold")}
    # Below zero ReLU decides, in SAELens as here.
    threshold = weights.take("threshold", cfg.d_features).clamp(min=0)
    if cfg.kind == "jump-relu":
        return {"log_threshold": exact_log(threshold)}
    return {"threshold": threshold}


def _check_threshold(weights: Weights, stored: Tensor, noted: Any) -> None:
    """The note has the one threshold exactly; the file has it for each feature, in its format."""
    if not isinstance(noted, float) or (stored != torch.tensor(noted).to(stored.dtype)).any():
        raise DictionaryError(
            f"{weights.source} has other thresholds than the note in cfg.json, which says "
            f"{noted!r} for all features: without the note it is a jump-relu."
        )


def _finetuned(weights: Weights, d_features: int, scaled: bool) -> Tensor:
    """By what features were multiplied before decoding; it goes into the decoder's rows."""
    factor = weights.take("scaling_factor", d_features)
    if not scaled and not torch.allclose(factor, torch.ones_like(factor)):
        raise DictionaryError(
            f"{weights.source} holds a 'scaling_factor', and cfg.json does not say "
            "finetuning_scaling_factor=true: take one of the two out."
        )
    return factor if scaled else torch.ones_like(factor)
