"""llama2.c's first binary layout (Karpathy 2023): seven whole numbers, then float32 in a row."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import ModelConfig
from ..tokenizer import Tokenizer
from . import sentencepiece
from .checkpoint import Checkpoint, LoadError
from .layout import heads_in, heads_out

_HEADER = struct.Struct("<7i")
_LATER_VERSIONS = 0x616B3432  # "ak42", with which later layouts begin


def load(path: Path) -> Checkpoint:
    """Read a .bin file, with the sentencepiece tokenizer beside it if there is one that fits.

    Raises:
        LoadError: the file is of another kind, or shorter or longer than its header says.
    """
    cfg, shared = _header(path)
    values = torch.from_numpy(np.fromfile(path, dtype="<f4", offset=_HEADER.size))
    sizes = _layout(cfg, shared)
    needed = sum(torch.Size(shape).numel() for shape in sizes.values())
    if len(values) != needed:
        raise LoadError(
            f"{path} holds {len(values)} weights, and its header asks for {needed}: it is not a "
            "whole file of llama2.c's first layout."
        )
    parts = {}
    for name, shape in sizes.items():
        n = torch.Size(shape).numel()
        parts[name], values = values[:n].view(shape), values[n:]
    return Checkpoint(cfg, _convert(cfg, parts), _tokenizer(path, cfg.d_vocab))


def _header(path: Path) -> tuple[ModelConfig, bool]:
    """The configuration, and whether the unembedding is the embedding."""
    with path.open("rb") as file:
        data = file.read(_HEADER.size)
    if len(data) < _HEADER.size:
        raise LoadError(f"{path} is too short to be a model of llama2.c.")
    width, hidden, n_layers, n_heads, n_kv_heads, vocabulary, n_ctx = _HEADER.unpack(data)
    if width == _LATER_VERSIONS:
        raise LoadError(
            f"{path} is in one of llama2.c's later layouts; export it with --version 0."
        )
    plain = (width, hidden, n_layers, n_heads, n_kv_heads, n_ctx)
    if min(plain) < 1 or max(plain) > 1 << 24 or vocabulary == 0 or width % n_heads:
        raise LoadError(f"{path} does not begin as a model of llama2.c does.")
    cfg = ModelConfig(
        n_layers=n_layers,
        d_model=width,
        n_heads=n_heads,
        n_key_value_heads=n_kv_heads,
        d_vocab=abs(vocabulary),
        n_ctx=n_ctx,
        d_mlp=hidden,
        act_fn="silu",
        gated_mlp=True,
        normalization_type="RMS",
        positional_embedding_type="rotary",
        rotary_adjacent_pairs=True,
        qkv_bias=False,
        attn_out_bias=False,
        mlp_bias=False,
        tie_word_embeddings=vocabulary > 0,
        model_name=path.stem,
    )
    return cfg, vocabulary > 0


def _layout(cfg: ModelConfig, shared: bool) -> dict[str, tuple[int, ...]]:
    """Names (llama2.c's) and shapes, in the order of the file."""
    layers, width, hidden = cfg.n_layers, cfg.d_model, cfg.d_mlp
    kv_width = cfg.n_key_value_heads * cfg.d_head
    layout: dict[str, tuple[int, ...]] = {
        "embedding": (cfg.d_vocab, width),
        "rms_att": (layers, width),
        "wq": (layers, width, width),
        "wk": (layers, kv_width, width),
        "wv": (layers, kv_width, width),
        "wo": (layers, width, width),
        "rms_ffn": (layers, width),
        "w1": (layers, hidden, width),
        "w2": (layers, width, hidden),
        "w3": (layers, hidden, width),
        "rms_final": (width,),
        "rotary": (2, cfg.n_ctx, cfg.d_head // 2),  # cosines and sines, which follow from the rest
    }
    return layout if shared else {**layout, "classifier": (cfg.d_vocab, width)}


def _convert(cfg: ModelConfig, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    heads, kv_heads = cfg.n_heads, cfg.n_key_value_heads
    state = {"embed.W_E": parts["embedding"], "ln_final.w": parts["rms_final"]}
    for layer in range(cfg.n_layers):
        state |= {
            f"blocks.{layer}.ln1.w": parts["rms_att"][layer],
            f"blocks.{layer}.attn.W_Q": heads_in(parts["wq"][layer], heads),
            f"blocks.{layer}.attn.W_K": heads_in(parts["wk"][layer], kv_heads),
            f"blocks.{layer}.attn.W_V": heads_in(parts["wv"][layer], kv_heads),
            f"blocks.{layer}.attn.W_O": heads_out(parts["wo"][layer], heads),
            f"blocks.{layer}.ln2.w": parts["rms_ffn"][layer],
            f"blocks.{layer}.mlp.W_gate": parts["w1"][layer].T,
            f"blocks.{layer}.mlp.W_out": parts["w2"][layer].T,
            f"blocks.{layer}.mlp.W_in": parts["w3"][layer].T,
        }
    if "classifier" in parts:
        state["unembed.W_U"] = parts["classifier"].T
    return state


def _tokenizer(path: Path, d_vocab: int) -> Tokenizer | None:
    """The one sentencepiece file in the same folder that has as many pieces."""
    found = [sentencepiece.load(beside) for beside in sorted(path.parent.glob("*.model"))]
    fitting = [tokenizer for tokenizer in found if tokenizer.vocab_size == d_vocab]
    return fitting[0] if len(fitting) == 1 else None
