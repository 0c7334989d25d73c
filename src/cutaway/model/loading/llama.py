"""LLaMA (Touvron et al. 2023), Mistral (Jiang et al. 2023) and Qwen2 (Yang et al. 2024)."""

from __future__ import annotations

from torch import Tensor

from ..config import ModelConfig
from .checkpoint import LoadError
from .layout import heads_in, heads_out
from .reading import RawTensors
from .settings import Settings


def config(settings: Settings) -> ModelConfig:
    """Shape and options from `config.json`."""
    kind = settings.need("model_type")
    d_head = settings.get("head_dim") or (
        settings.need("hidden_size") // settings.need("num_attention_heads")
    )
    attention_bias = settings.get("attention_bias", False)
    return ModelConfig(
        n_layers=settings.need("num_hidden_layers"),
        d_model=settings.need("hidden_size"),
        n_heads=settings.need("num_attention_heads"),
        d_vocab=settings.need("vocab_size"),
        n_ctx=settings.need("max_position_embeddings"),
        d_head=d_head,
        d_mlp=settings.need("intermediate_size"),
        n_key_value_heads=settings.get("num_key_value_heads") or 0,
        act_fn=settings.activation("hidden_act", "silu"),
        gated_mlp=True,
        normalization_type="RMS",
        eps=settings.get("rms_norm_eps", 1e-6),
        positional_embedding_type="rotary",
        rotary_dim=int(d_head * settings.rotary_share("partial_rotary_factor", 1.0)),
        rotary_base=settings.rotary_base(),
        rotary_scaling=settings.rotary_scaling(),
        sliding_window=_sliding_window(settings, kind),
        qkv_bias=kind == "qwen2" or attention_bias,
        attn_out_bias=kind != "qwen2" and attention_bias,
        mlp_bias=settings.get("mlp_bias", False),
        tie_word_embeddings=settings.get("tie_word_embeddings", False),
        default_prepend_bos=kind != "qwen2",  # Qwen2 was trained without a BOS token
    )


def _sliding_window(settings: Settings, kind: str) -> int | None:
    """How many keys a query sees; None is all. Absent in a Mistral's file means 4096."""
    if kind == "llama":
        return None
    window: int | None = settings.get("sliding_window", 4096)
    if kind == "mistral" or window is None:
        return window
    if not settings.get("use_sliding_window", False):
        return None
    n_layers = settings.need("num_hidden_layers")
    first = settings.get("max_window_layers", 28)
    default = ["sliding_attention" if i >= first else "full_attention" for i in range(n_layers)]
    kinds = set(settings.get("layer_types") or default)
    if kinds == {"full_attention"}:
        return None
    if kinds != {"sliding_attention"}:
        raise LoadError(
            f"{settings.source} mixes layers with and without a sliding window, "
            "which is not supported."
        )
    return window


def convert(cfg: ModelConfig, raw: RawTensors) -> dict[str, Tensor]:
    """The weights under our names."""
    raw.drop_prefix("model.")
    raw.drop(r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
    if cfg.tie_word_embeddings:
        raw.drop(r"lm_head\.weight")
    state = {"embed.W_E": raw.take("embed_tokens.weight", cfg.d_vocab, cfg.d_model)}
    for layer in range(cfg.n_layers):
        ours, theirs = f"blocks.{layer}", f"layers.{layer}"
        state[f"{ours}.ln1.w"] = raw.take(f"{theirs}.input_layernorm.weight", cfg.d_model)
        _attention(cfg, raw, state, f"{ours}.attn", f"{theirs}.self_attn")
        state[f"{ours}.ln2.w"] = raw.take(f"{theirs}.post_attention_layernorm.weight", cfg.d_model)
        _mlp(cfg, raw, state, f"{ours}.mlp", f"{theirs}.mlp")
    state["ln_final.w"] = raw.take("norm.weight", cfg.d_model)
    if not cfg.tie_word_embeddings:
        state["unembed.W_U"] = raw.take("lm_head.weight", cfg.d_vocab, cfg.d_model).T
    raw.finish()
    return state


def _attention(
    cfg: ModelConfig, raw: RawTensors, state: dict[str, Tensor], ours: str, theirs: str
) -> None:
    heads, kv_heads, width = cfg.n_heads, cfg.n_key_value_heads, cfg.d_model
    for letter, count in (("Q", heads), ("K", kv_heads), ("V", kv_heads)):
        name = f"{theirs}.{letter.lower()}_proj"
        weight = raw.take(f"{name}.weight", count * cfg.d_head, width)
        state[f"{ours}.W_{letter}"] = heads_in(weight, count)
        if cfg.qkv_bias:
            bias = raw.take(f"{name}.bias", count * cfg.d_head)
            state[f"{ours}.b_{letter}"] = bias.unflatten(0, (count, -1))
    output = raw.take(f"{theirs}.o_proj.weight", width, heads * cfg.d_head)
    state[f"{ours}.W_O"] = heads_out(output, heads)
    if cfg.attn_out_bias:
        state[f"{ours}.b_O"] = raw.take(f"{theirs}.o_proj.bias", width)


def _mlp(
    cfg: ModelConfig, raw: RawTensors, state: dict[str, Tensor], ours: str, theirs: str
) -> None:
    shapes = {
        "gate": ("gate_proj", cfg.d_mlp, cfg.d_model),
        "in": ("up_proj", cfg.d_mlp, cfg.d_model),
        "out": ("down_proj", cfg.d_model, cfg.d_mlp),
    }
    for name, (projection, out, into) in shapes.items():
        state[f"{ours}.W_{name}"] = raw.take(f"{theirs}.{projection}.weight", out, into).T
        if cfg.mlp_bias:
            state[f"{ours}.b_{name}"] = raw.take(f"{theirs}.{projection}.bias", out)
