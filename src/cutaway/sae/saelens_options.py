"""The options of SAELens' cfg.json: those of older versions as version 6 says them, and those that
change what a dictionary reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import DictionaryError
from .weights import object_of

SCALER = "activation_scaler.json"
"""Beside a checkpoint of SAELens' training: the factor that is not folded in yet."""

METADATA = (
    *("model_name", "model_class_name", "model_from_pretrained_kwargs", "neuronpedia_id"),
    *("hook_name", "hook_name_out", "hf_hook_name", "hf_hook_name_out", "hook_layer"),
    *("hook_layer_out", "hook_head_index", "hook_head_index_out", "seqpos_slice"),
    *("prepend_bos", "exclude_special_tokens", "context_size", "dataset_path"),
    *("dataset_trust_remote_code", "sae_lens_version", "sae_lens_training_version"),
)
"""About the model and the text, not about the dictionary: version 6 has them in `metadata`."""

TRAINING = (
    *("decoder_init_norm", "l1_coefficient", "lp_norm", "l1_warm_up_steps", "l0_coefficient"),
    *("l0_warm_up_steps", "target_l0", "pre_act_loss_coefficient", "aux_loss_coefficient"),
    *("jumprelu_init_threshold", "jumprelu_bandwidth", "jumprelu_sparsity_loss_mode"),
    *("jumprelu_tanh_scale", "jumprelu_ste_to_input", "use_sparse_activations"),
    *("topk_threshold_lr", "use_matryoshka_aux_loss"),
)
"""In checkpoints of its training; the dictionary is the same whatever they are."""

_OLD_NAMES = {
    "hook_point": "hook_name",
    "hook_point_layer": "hook_layer",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
_OLD_OPTIONS = (
    *("architecture", "d_in", "d_sae", "d_out", "dtype", "k", "apply_b_dec_to_input"),
    *("normalize_activations", "reshape_activations", "activation_fn", "hook_head_index"),
    *("finetuning_scaling_factor",),
)


def need(values: Mapping[str, Any], name: str, source: Path) -> Any:
    """A field that has to be there. Raises DictionaryError if it is not."""
    value = values.get(name)
    if value is None:
        raise DictionaryError(
            f"{source} lacks {name!r}, and nothing is assumed in its place: write it into the "
            f"file, or say it while loading (assume={{{name!r}: ...}})."
        )
    return value


def as_version_6(
    values: Mapping[str, Any], assume: Mapping[str, Any], source: Path
) -> tuple[dict[str, Any], Any]:
    """The fields as version 6 has them, with what was assumed; and an assumed scaling factor.

    Files of older versions are flat: what they say of model and text goes into `metadata`, and an
    option that a file lacks because its version had no such option means what that version did.
    d_in, d_sae, dtype, architecture and k have to be there all the same.

    Raises:
        DictionaryError: something is assumed that the file says itself; no version is given.
    """
    said = {name: value for name, value in assume.items() if name != "scaling_factor"}
    for name in said:
        if values.get(name) is not None:
            raise DictionaryError(
                f"{source} says itself that {name} is {values[name]!r}: take it out of assume."
            )
    whole = {**values, **said}
    return _upgraded(whole, source), assume.get("scaling_factor")


def _upgraded(values: dict[str, Any], source: Path) -> dict[str, Any]:
    metadata = values.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise DictionaryError(f"{source} has metadata={metadata!r}, which is no JSON object.")
    version = values.get("sae_lens_version") or (metadata or {}).get("sae_lens_version")
    if version is None:
        if metadata is not None:
            raise DictionaryError(
                f"{source} lacks 'sae_lens_version' in its metadata: files since version 6 have it."
            )
        return _flat(values)
    if not re.match(r"\d+\.", str(version)):
        raise DictionaryError(f"{source} has sae_lens_version={version!r}, which is no version.")
    if int(str(version).split(".")[0]) < 6:
        return _flat(values)
    return {**values, "metadata": metadata or {}}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """A file from before version 6, as version 6 would write it."""
    renamed = {_OLD_NAMES.get(name, name): value for name, value in values.items()}
    options = {name: renamed[name] for name in _OLD_OPTIONS if renamed.get(name) is not None}
    hook = renamed.get("hook_name") or ""
    options.setdefault("apply_b_dec_to_input", True)
    options.setdefault("reshape_activations", "hook_z" if "hook_z" in hook else "none")
    normalize = options.get("normalize_activations", "none")
    if isinstance(normalize, bool):
        normalize = "expected_average_only_in" if normalize else "none"
    options["normalize_activations"] = normalize
    if options.get("activation_fn") == "topk":
        options.setdefault("k", (renamed.get("activation_fn_kwargs") or {}).get("k"))
        if options.get("architecture") == "standard":
            options["architecture"] = "topk"
    metadata = {name: renamed[name] for name in METADATA if name in renamed}
    return {**options, "metadata": metadata}


def check_metadata(metadata: Mapping[str, Any], source: Path) -> None:
    """Refuse what makes a dictionary read something else than the whole value of a hook.

    Raises:
        DictionaryError: it reads one head alone.
    """
    for name in ("hook_head_index", "hook_head_index_out"):
        if metadata.get(name) is not None:
            raise DictionaryError(
                f"{source} has {name}={metadata[name]!r}: it reads or writes one head alone, and a "
                "dictionary here has all heads of a hook side by side."
            )


def input_scale(values: Mapping[str, Any], given: Any, folder: Path) -> float:
    """By what the input is multiplied: 1, or the factor of an unfinished training.

    Args:
        values: of version 6.
        given: an assumed factor, or None.
        folder: where SAELens' training may have left the factor.

    Raises:
        DictionaryError: the factor is not known, or rows are normalised one by one.
    """
    source = folder / "cfg.json"
    how = need(values, "normalize_activations", source)
    if how == "none":
        if given is not None:
            raise DictionaryError(
                f"{source} has normalize_activations='none': it knows no scaling factor, so take "
                "it out of assume."
            )
        return 1.0
    if how != "expected_average_only_in":
        raise DictionaryError(
            f"{source} has normalize_activations={how!r}, which is not one linear map for all "
            "rows, or is not folded into the weights; a dictionary here reads 'none' and "
            "'expected_average_only_in'."
        )
    if given is None and (folder / SCALER).is_file():
        given = object_of(folder / SCALER).get("scaling_factor")
    if given is None:
        raise DictionaryError(
            f"{source} has normalize_activations='expected_average_only_in', and the factor is in "
            f"no {SCALER} beside it: say it while loading (assume={{'scaling_factor': ...}})."
        )
    return float(given)
