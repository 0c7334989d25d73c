"""nanoGPT's `ckpt.pt` and minGPT's state dicts (Karpathy): GPT-2 with linear matrices, [out, in].

nanoGPT ties the unembedding and uses the exact GELU; minGPT has an unembedding of its own and the
tanh form. Checkpoints of the first months of nanoGPT also used the tanh form and do not say so:
load those with `cfg=`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..config import ModelConfig
from .checkpoint import Checkpoint, LoadError
from .gpt2 import convert_layers
from .reading import RawTensors

# minGPT's configuration may name one of these instead of saying the number of heads.
_HEADS_OF_TYPE = {"gpt-nano": 3, "gpt-micro": 4, "gpt-mini": 6, "gopher-44m": 16}
_HEADS_OF_TYPE |= {"openai-gpt": 12, "gpt2": 12, "gpt2-medium": 16, "gpt2-large": 20, "gpt2-xl": 25}


def is_state(names: Any) -> bool:
    """Whether these tensor names are those of nanoGPT or minGPT."""
    return any(str(name).endswith("transformer.wte.weight") for name in names)


def load(
    tensors: dict[str, Tensor],
    settings: Mapping[str, Any],
    source: Any,
    *,
    exact_gelu: bool,
    cfg: ModelConfig | None = None,
) -> Checkpoint:
    """A state dict with `model_args` (nanoGPT) or `config` (minGPT).

    Raises:
        LoadError: the number of heads is said nowhere, or the weights do not fit.
    """
    raw = RawTensors(tensors, source)
    raw.drop_prefix("module.")  # of DistributedDataParallel
    raw.drop_prefix("_orig_mod.")  # of torch.compile
    if cfg is None:
        cfg = _config(raw.tensors, settings, source, exact_gelu)
    return Checkpoint(cfg, convert_layers(cfg, raw, transposed=False))


def _config(
    tensors: Mapping[str, Tensor], settings: Mapping[str, Any], source: Any, exact_gelu: bool
) -> ModelConfig:
    n_heads = settings.get("n_head") or _HEADS_OF_TYPE.get(str(settings.get("model_type")))
    if n_heads is None:
        raise LoadError(
            f"{source} does not say how many heads the model has: save it as "
            "{'state_dict': ..., 'config': {'n_head': ...}}, or give cfg=."
        )
    names = ("transformer.wte.weight", "transformer.wpe.weight")
    for name in names:
        if name not in tensors:
            raise LoadError(f"{source} lacks the tensor {name!r}.")
    (d_vocab, d_model), (n_ctx, _) = (tensors[name].shape for name in names)
    layers = {int(m[1]) for name in tensors if (m := re.match(r"transformer\.h\.(\d+)\.", name))}
    W_U = tensors.get("lm_head.weight")
    bias = "transformer.ln_f.bias" in tensors
    return ModelConfig(
        n_layers=settings.get("n_layer") or len(layers),
        d_model=settings.get("n_embd") or d_model,
        n_heads=n_heads,
        d_vocab=settings.get("vocab_size") or d_vocab,
        n_ctx=settings.get("block_size") or n_ctx,
        act_fn="gelu" if exact_gelu else "gelu_new",
        tie_word_embeddings=W_U is None or torch.equal(W_U, tensors[names[0]]),
        qkv_bias=bias,
        attn_out_bias=bias,
        mlp_bias=bias,
        norm_bias=bias,
        default_prepend_bos=False,
    )
