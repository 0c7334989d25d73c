"""The peers' own kinds of model, made here with given weights, so that nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from common import Shape


def hooked_transformer(shape: Shape, state: dict[str, Tensor]) -> Any:
    """TransformerLens' own model (until version 3) with these weights."""
    import transformer_lens

    cfg = transformer_lens.HookedTransformerConfig(
        n_layers=shape.n_layers,
        d_model=shape.d_model,
        n_heads=shape.n_heads,
        d_head=shape.d_head,
        d_mlp=shape.d_mlp,
        d_vocab=shape.d_vocab,
        n_ctx=shape.n_ctx,
        act_fn="gelu_new",
        normalization_type="LN",
        device="cpu",
    )
    model = transformer_lens.HookedTransformer(cfg)
    own = dict(model.state_dict())  # its masks are buffers, and its unembedding has a bias
    kept = [name for name in own if name not in state]
    unknown = [name for name in kept if not name.endswith((".mask", ".IGNORE", "unembed.b_U"))]
    if unknown:
        raise ValueError(f"the peer's model has weights that were not given: {unknown[:4]}")
    model.load_state_dict({**{name: own[name] for name in kept}, **state})
    return model.eval()


def huggingface_gpt2(shape: Shape, state: dict[str, Tensor]) -> Any:
    """A `transformers` GPT-2 with these weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape.d_vocab,
        n_positions=shape.n_ctx,
        n_embd=shape.d_model,
        n_layer=shape.n_layers,
        n_head=shape.n_heads,
        tie_word_embeddings=False,
    )
    model = GPT2LMHeadModel(config).eval()
    model.load_state_dict(_huggingface_names(shape, state))
    return model


def _huggingface_names(shape: Shape, state: dict[str, Tensor]) -> dict[str, Tensor]:
    d = shape.d_model
    named = {
        "transformer.wte.weight": state["embed.W_E"],
        "transformer.wpe.weight": state["pos_embed.W_pos"],
        "transformer.ln_f.weight": state["ln_final.w"],
        "transformer.ln_f.bias": state["ln_final.b"],
        "lm_head.weight": state["unembed.W_U"].T,
    }
    for layer in range(shape.n_layers):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        attn = [state[f"{ours}.attn.W_{x}"].transpose(0, 1).reshape(d, d) for x in "QKV"]
        biases = [state[f"{ours}.attn.b_{x}"].flatten() for x in "QKV"]
        named |= {
            f"{theirs}.attn.c_attn.weight": torch.cat(attn, dim=1),
            f"{theirs}.attn.c_attn.bias": torch.cat(biases),
            f"{theirs}.attn.c_proj.weight": state[f"{ours}.attn.W_O"].reshape(d, d),
            f"{theirs}.attn.c_proj.bias": state[f"{ours}.attn.b_O"],
            f"{theirs}.mlp.c_fc.weight": state[f"{ours}.mlp.W_in"],
            f"{theirs}.mlp.c_fc.bias": state[f"{ours}.mlp.b_in"],
            f"{theirs}.mlp.c_proj.weight": state[f"{ours}.mlp.W_out"],
            f"{theirs}.mlp.c_proj.bias": state[f"{ours}.mlp.b_out"],
        }
        for i in (1, 2):
            named[f"{theirs}.ln_{i}.weight"] = state[f"{ours}.ln{i}.w"]
            named[f"{theirs}.ln_{i}.bias"] = state[f"{ours}.ln{i}.b"]
    return named


def stand_in_tokenizer(folder: str) -> Any:
    """A tokenizer of one word: the peers insist on one, but are given tokens.

    It goes through a folder because TransformerLens looks for the place it was loaded from.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<none>": 0}, unk_token="<none>"))
    roles = {f"{role}_token": "<none>" for role in ("bos", "eos", "unk", "pad")}
    PreTrainedTokenizerFast(tokenizer_object=words, **roles).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)
