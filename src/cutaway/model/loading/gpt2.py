"""GPT-2 (Radford et al. 2019) as the Hugging Face Hub has it, all sizes."""

from __future__ import annotations

import math

from torch import Tensor

from ..config import ModelConfig
from .layout import heads_in, heads_out
from .reading import RawTensors
from .settings import Settings


def config(settings: Settings) -> ModelConfig:
    """Shape and options from `config.json`."""
    settings.refuse("add_cross_attention", "only decoders without an encoder are supported")
    settings.refuse("scale_attn_by_inverse_layer_idx", "all layers must scale scores alike")
    d_head = settings.need("n_embd") // settings.need("n_head")
    return ModelConfig(
        n_layers=settings.need("n_layer"),
        d_model=settings.need("n_embd"),
        n_heads=settings.need("n_head"),
        d_vocab=settings.need("vocab_size"),
        n_ctx=settings.get("n_positions") or settings.need("n_ctx"),
        d_mlp=settings.get("n_inner") or 0,
        act_fn=settings.activation("activation_function", "gelu_new"),
        eps=settings.get("layer_norm_epsilon", 1e-5),
        attn_scale=math.sqrt(d_head) if settings.get("scale_attn_weights", True) else 1.0,
        tie_word_embeddings=settings.get("tie_word_embeddings", True),
    )


def convert(cfg: ModelConfig, raw: RawTensors) -> dict[str, Tensor]:
    """The weights under our names. GPT-2 stores its matrices as [in, out]."""
    return convert_layers(cfg, raw, transposed=True)


def convert_layers(cfg: ModelConfig, raw: RawTensors, transposed: bool) -> dict[str, Tensor]:
    """The weights of GPT-2 or of its descendants, whose matrices are linear, [out, in]."""
    raw.drop_prefix("transformer.")
    raw.drop(r"h\.\d+\.attn\.(masked_)?bias")  # causal masks
    if cfg.tie_word_embeddings:
        raw.drop(r"lm_head\.weight")
    d_model, d_vocab = cfg.d_model, cfg.d_vocab
    state = {
        "embed.W_E": raw.take("wte.weight", d_vocab, d_model),
        "pos_embed.W_pos": raw.take("wpe.weight", cfg.n_ctx, d_model),
    }
    for layer in range(cfg.n_layers):
        ours, theirs = f"blocks.{layer}", f"h.{layer}"
        _norm(cfg, raw, state, f"{ours}.ln1", f"{theirs}.ln_1")
        _attention(cfg, raw, state, f"{ours}.attn", f"{theirs}.attn", transposed)
        _norm(cfg, raw, state, f"{ours}.ln2", f"{theirs}.ln_2")
        _mlp(cfg, raw, state, f"{ours}.mlp", f"{theirs}.mlp", transposed)
    _norm(cfg, raw, state, "ln_final", "ln_f")
    if not cfg.tie_word_embeddings:
        state["unembed.W_U"] = raw.take("lm_head.weight", d_vocab, d_model).T
    raw.finish()
    return state


def _linear(raw: RawTensors, name: str, out: int, into: int, transposed: bool) -> Tensor:
    """A matrix as [out, in], however it is stored."""
    return raw.take(name, into, out).T if transposed else raw.take(name, out, into)


def _norm(
    cfg: ModelConfig, raw: RawTensors, state: dict[str, Tensor], ours: str, theirs: str
) -> None:
    state[f"{ours}.w"] = raw.take(f"{theirs}.weight", cfg.d_model)
    if cfg.norm_bias:
        state[f"{ours}.b"] = raw.take(f"{theirs}.bias", cfg.d_model)


def _attention(
    cfg: ModelConfig,
    raw: RawTensors,
    state: dict[str, Tensor],
    ours: str,
    theirs: str,
    transposed: bool,
) -> None:
    width = cfg.d_model
    qkv = _linear(raw, f"{theirs}.c_attn.weight", 3 * width, width, transposed)
    for letter, weight in zip("QKV", qkv.split(width), strict=True):
        state[f"{ours}.W_{letter}"] = heads_in(weight, cfg.n_heads)
    if cfg.qkv_bias:
        biases = raw.take(f"{theirs}.c_attn.bias", 3 * width).split(width)
        for letter, bias in zip("QKV", biases, strict=True):
            state[f"{ours}.b_{letter}"] = bias.unflatten(0, (cfg.n_heads, -1))
    projection = _linear(raw, f"{theirs}.c_proj.weight", width, width, transposed)
    state[f"{ours}.W_O"] = heads_out(projection, cfg.n_heads)
    if cfg.attn_out_bias:
        state[f"{ours}.b_O"] = raw.take(f"{theirs}.c_proj.bias", width)


def _mlp(
    cfg: ModelConfig,
    raw: RawTensors,
    state: dict[str, Tensor],
    ours: str,
    theirs: str,
    transposed: bool,
) -> None:
    width, hidden = cfg.d_model, cfg.d_mlp
    state[f"{ours}.W_in"] = _linear(raw, f"{theirs}.c_fc.weight", hidden, width, transposed).T
    state[f"{ours}.W_out"] = _linear(raw, f"{theirs}.c_proj.weight", width, hidden, transposed).T
    if cfg.mlp_bias:
        state[f"{ours}.b_in"] = raw.take(f"{theirs}.c_fc.bias", hidden)
        state[f"{ours}.b_out"] = raw.take(f"{theirs}.c_proj.bias", width)
