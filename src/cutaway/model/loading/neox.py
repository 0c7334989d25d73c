"""GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023)."""

from __future__ import annotations

from torch import Tensor

from ..config import ModelConfig
from .layout import heads_out
from .reading import RawTensors
from .settings import Settings


def config(settings: Settings) -> ModelConfig:
    """Shape and options from `config.json`."""
    d_head = settings.need("hidden_size") // settings.need("num_attention_heads")
    bias = settings.get("attention_bias", True)
    return ModelConfig(
        n_layers=settings.need("num_hidden_layers"),
        d_model=settings.need("hidden_size"),
        n_heads=settings.need("num_attention_heads"),
        d_vocab=settings.need("vocab_size"),
        n_ctx=settings.need("max_position_embeddings"),
        d_mlp=settings.need("intermediate_size"),
        act_fn=settings.activation("hidden_act", "gelu"),
        eps=settings.get("layer_norm_eps", 1e-5),
        positional_embedding_type="rotary",
        rotary_dim=int(d_head * settings.rotary_share("rotary_pct", 0.25)),
        rotary_base=settings.rotary_base("rotary_emb_base"),
        rotary_scaling=settings.rotary_scaling(),
        parallel_attn_mlp=settings.get("use_parallel_residual", True),
        qkv_bias=bias,
        attn_out_bias=bias,
        tie_word_embeddings=settings.get("tie_word_embeddings", False),
    )


def convert(cfg: ModelConfig, raw: RawTensors) -> dict[str, Tensor]:
    """The weights under our names."""
    raw.drop_prefix("gpt_neox.")
    raw.drop(r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)")  # buffers
    if cfg.tie_word_embeddings:
        raw.drop(r"embed_out\.weight")
    state = {"embed.W_E": raw.take("embed_in.weight", cfg.d_vocab, cfg.d_model)}
    for layer in range(cfg.n_layers):
        ours, theirs = f"blocks.{layer}", f"layers.{layer}"
        _norm(cfg, raw, state, f"{ours}.ln1", f"{theirs}.input_layernorm")
        _attention(cfg, raw, state, f"{ours}.attn", f"{theirs}.attention")
        _norm(cfg, raw, state, f"{ours}.ln2", f"{theirs}.post_attention_layernorm")
        _mlp(cfg, raw, state, f"{ours}.mlp", f"{theirs}.mlp")
    _norm(cfg, raw, state, "ln_final", "final_layer_norm")
    if not cfg.tie_word_embeddings:
        state["unembed.W_U"] = raw.take("embed_out.weight", cfg.d_vocab, cfg.d_model).T
    raw.finish()
    return state


def _norm(
    cfg: ModelConfig, raw: RawTensors, state: dict[str, Tensor], ours: str, theirs: str
) -> None:
    state[f"{ours}.w"] = raw.take(f"{theirs}.weight", cfg.d_model)
    state[f"{ours}.b"] = raw.take(f"{theirs}.bias", cfg.d_model)


def _attention(
    cfg: ModelConfig, raw: RawTensors, state: dict[str, Tensor], ours: str, theirs: str
) -> None:
    """Query, key and value of one head lie together: rows are [head, (q, k, v), d_head]."""
    width, heads = cfg.d_model, cfg.n_heads
    qkv = raw.take(f"{theirs}.query_key_value.weight", 3 * width, width)
    for letter, weight in zip("QKV", qkv.unflatten(0, (heads, 3, -1)).unbind(1), strict=True):
        state[f"{ours}.W_{letter}"] = weight.transpose(1, 2)
    if cfg.qkv_bias:
        biases = raw.take(f"{theirs}.query_key_value.bias", 3 * width)
        for letter, bias in zip("QKV", biases.unflatten(0, (heads, 3, -1)).unbind(1), strict=True):
            state[f"{ours}.b_{letter}"] = bias
    state[f"{ours}.W_O"] = heads_out(raw.take(f"{theirs}.dense.weight", width, width), heads)
    if cfg.attn_out_bias:
        state[f"{ours}.b_O"] = raw.take(f"{theirs}.dense.bias", width)


def _mlp(
    cfg: ModelConfig, raw: RawTensors, state: dict[str, Tensor], ours: str, theirs: str
) -> None:
    width, hidden = cfg.d_model, cfg.d_mlp
    state[f"{ours}.W_in"] = raw.take(f"{theirs}.dense_h_to_4h.weight", hidden, width).T
    state[f"{ours}.b_in"] = raw.take(f"{theirs}.dense_h_to_4h.bias", hidden)
    state[f"{ours}.W_out"] = raw.take(f"{theirs}.dense_4h_to_h.weight", width, hidden).T
    state[f"{ours}.b_out"] = raw.take(f"{theirs}.dense_4h_to_h.bias", width)
