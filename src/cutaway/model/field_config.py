"""`HookedTransformerConfig`: a `ModelConfig` from the field names of published course code."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from .config import ConfigError, ModelConfig

# Of no effect on what is computed here.
_IGNORED = frozenset(
    {
        "original_architecture",
        "from_checkpoint",
        "checkpoint_index",
        "checkpoint_label_type",
        "checkpoint_value",
        "n_params",
        "trust_remote_code",
        "tokenizer_prepends_bos",
        "init_weights",
        "ungroup_grouped_query_attention",
        "decoder_start_token_id",
        "tokenizer_name",
        "load_in_4bit",
        "quantization_method",
        "train_seq_length",
        "NTK_by_parts_low_freq_factor",
        "NTK_by_parts_high_freq_factor",
        "NTK_by_parts_factor",
        "NTK_original_ctx_len",
        "norm_topk_prob",
    }
)

# What would change the numbers and is not supported: the values that ask for nothing.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "attention_dir": ("causal",),
    "init_mode": ("gpt2",),
    "n_devices": (1,),
    "rotary_base_local": (None,),
    "rotary_scaling_factor": (1, 1.0),
    "attn_scores_soft_cap": (-1, -1.0, None, 0, 0.0),
    "output_logits_soft_cap": (-1, -1.0, None, 0, 0.0),
    "num_experts": (None,),
    "experts_per_token": (None,),
    "relative_attention_max_distance": (None,),
    "relative_attention_num_buckets": (None,),
    "clip_qkv": (None,),
}
_NEUTRAL |= dict.fromkeys(
    (
        "use_qk_norm",
        "use_logn_attn",
        "use_dynamic_ntk_rope",
        "scale_attn_by_inverse_layer_idx",
        "final_rms",
        "use_hook_tokens",
        "post_embedding_ln",
        "use_normalization_before_and_after",
        "use_NTK_by_parts_rope",
        "use_yarn_rope",
        "use_attention_sinks",
    ),
    (False, None),
)


class HookedTransformerConfig(ModelConfig):
    """Makes a `ModelConfig` from the fields that course code gives to this name.

    It differs from `ModelConfig(...)` as the field's own does: `act_fn` is "relu" unless given,
    logits have a bias, fresh weights have the standard deviation 0.8 / sqrt(d_model), and -1 or
    None stands for what is not given. `tokenizer_name` loads nothing: give `tokenizer=` to the
    model.

    Raises:
        ConfigError: an unknown field, or one that asks for something that is not computed here.

    Example:
        >>> cfg = HookedTransformerConfig(n_layers=1, d_model=8, n_ctx=4, d_head=4, d_vocab=5)
        >>> cfg.n_heads, cfg.act_fn
        (2, 'relu')
    """

    def __new__(cls, **fields: Any) -> ModelConfig:  # type: ignore[misc]
        return ModelConfig(**translated(fields))

    def __init__(self, **fields: Any) -> None:  # for type checkers: __new__ returns another class
        raise NotImplementedError

    @classmethod
    def from_dict(  # type: ignore[override]
        cls, values: Mapping[str, Any], source: object = None
    ) -> ModelConfig:
        """The same, from a dictionary."""
        return ModelConfig(**translated(values))


def translated(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `ModelConfig` that say the same."""
    own = {field.name for field in dataclasses.fields(ModelConfig)}
    rest = dict(fields)
    _check_neutral(rest)
    translators = (_sizes, _attention, _rest)
    values: dict[str, Any] = {"act_fn": "relu", "unembed_bias": True}
    for translate in translators:
        values |= translate(rest)
    for name, value in rest.items():
        if name not in own:
            near = difflib.get_close_matches(name, [*own, *_NEUTRAL], n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"a configuration has no field {name!r}.{hint}")
        values[name] = value
    if "init_range" not in values and values.get("d_model"):
        values["init_range"] = 0.8 / float(values["d_model"]) ** 0.5
    missing = [n for n in ("n_layers", "d_model", "n_ctx", "d_vocab") if n not in values]
    if missing:
        raise ConfigError(f"the configuration lacks {', '.join(missing)}.")
    return values


def _check_neutral(rest: dict[str, Any]) -> None:
    for name in [name for name in rest if name in _IGNORED]:
        del rest[name]
    for name, neutral in _NEUTRAL.items():
        if name in rest and (value := rest.pop(name)) not in neutral:
            raise ConfigError(
                f"{name}={value!r} would change what is computed and is not supported; "
                f"leave it out (it is {neutral[0]!r} then)."
            )


def _sizes(rest: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in ("n_heads", "d_vocab", "d_mlp", "n_key_value_heads", "rotary_dim", "d_vocab_out"):
        if name in rest and rest[name] in (None, -1):
            del rest[name]
    d_model, d_head = rest.get("d_model"), rest.get("d_head")
    if "n_heads" not in rest:
        if not d_model or not d_head or d_model % d_head:
            raise ConfigError("n_heads is not given, and d_model / d_head does not say it.")
        values["n_heads"] = d_model // d_head
    if "d_vocab" not in rest:
        raise ConfigError(
            "d_vocab is not given: take it from the tokenizer, as d_vocab=tokenizer.vocab_size."
        )
    d_vocab_out = rest.pop("d_vocab_out", rest["d_vocab"])
    if d_vocab_out != rest["d_vocab"]:
        raise ConfigError(
            f"d_vocab_out={d_vocab_out} differs from d_vocab={rest['d_vocab']}, which is not "
            "supported: give both the larger number, and read only the logits that are meant."
        )
    return values


def _attention(rest: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    scale = rest.pop("attn_scale", None)
    if not rest.pop("use_attn_scale", True):
        values["attn_scale"] = 1.0
    elif scale is not None and scale > 0:
        values["attn_scale"] = float(scale)
    kinds, window = rest.pop("attn_types", None), rest.pop("window_size", None)
    if rest.pop("use_local_attn", False):
        if not window or (kinds is not None and set(kinds) != {"local"}):
            raise ConfigError(
                f"use_local_attn with window_size={window!r} and attn_types={kinds!r}: local "
                "attention needs a window, and must be the same in every layer."
            )
        values["sliding_window"] = window
    if rest.get("positional_embedding_type") == "shortformer":
        raise ConfigError(
            "positional_embedding_type='shortformer' (positions are added to queries and keys "
            "only) is not supported; 'standard' adds them to the residual stream."
        )
    return values


def _rest(rest: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if (std := rest.pop("initializer_range", None)) is not None and std > 0:
        values["init_range"] = float(std)
    if "dtype" in rest:
        values["dtype"] = str(rest.pop("dtype")).removeprefix("torch.")
    if (device := rest.pop("device", None)) is not None:
        values["device"] = str(device)
    if (seed := rest.pop("seed", None)) is not None:
        values["seed"] = seed
    if rest.get("act_fn", "") is None and rest.get("attn_only"):
        del rest["act_fn"]
    return values
