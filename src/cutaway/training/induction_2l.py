"""The recipe of `induction-2l`, the embedded model with induction heads: shape, data, measures.

Two layers of attention and nothing else: no MLP, no LayerNorm, no biases. Given the attention
patterns every logit is a sum of products of matrices, as in Elhage et al. (2021, "A Mathematical
Framework for Transformer Circuits"), without a remainder.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..evidence import bootstrap_mean, proportion
from ..model.config import ModelConfig
from ..model.tokenizer import Tokenizer
from ..model.transformer import HookedTransformer
from .induction_corpus import N_CTX, Corpus, Kind, build_tokenizer
from .recipe import Recipe

NAME = "induction-2l"
MEASURED_SEED = 1  # the training text has seed 0
HALF_LENGTHS = (6, 12, 24, 31)

# Without norms the size of fresh weights decides how fast what is learned. Heads have to write as
# much as they read, or their share of the logits starts near zero. Positions start as waves, of
# which a turn makes the position before; a table of random numbers has none, and with it the
# previous-token heads took longer to form than all the rest.
INIT_RANGE = 0.1
EMBED_RANGE = 0.3
WRITE_RANGE = 0.2
POSITION_SIZE = 1.0


def config(d_vocab: int) -> ModelConfig:
    """Two layers of eight heads, attention only, nothing normalised: 0.25 million weights."""
    return ModelConfig(
        n_layers=2,
        d_model=128,
        n_heads=8,
        d_vocab=d_vocab,
        n_ctx=N_CTX,
        attn_only=True,
        normalization_type=None,
        qkv_bias=False,
        attn_out_bias=False,
        init_range=INIT_RANGE,
        model_name=NAME,
    )


@torch.no_grad()
def fresh(seed: int) -> HookedTransformer:
    """The model before training."""
    tokenizer = Tokenizer(build_tokenizer())
    model = HookedTransformer(config(tokenizer.vocab_size), tokenizer, seed=seed)
    model.embed.W_E.mul_(EMBED_RANGE / INIT_RANGE)
    for block in model.blocks:
        block.attn.W_O.mul_(WRITE_RANGE / block.attn.W_O.std())
    model.pos_embed.W_pos.copy_(POSITION_SIZE * waves(N_CTX, model.cfg.d_model))
    return model


def waves(n: int, width: int) -> Float[Tensor, "n width"]:
    """Sines and cosines of frequencies spread evenly from 0 to pi per position."""
    frequencies = torch.pi * (torch.arange(width // 2) + 0.5) / (width // 2)
    angles = torch.arange(n)[:, None] * frequencies  # [n, width / 2]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def evaluate(model: HookedTransformer, n_prompts: int = 200) -> dict[str, str]:
    """What it predicts of each kind of text, and how much its strongest heads look where."""
    corpus = Corpus(seed=MEASURED_SEED)
    lines = {}
    for length in HALF_LENGTHS:
        name = f"repeated random words, {length} of them"
        lines[name] = _line(model, corpus.repeated(n_prompts, half_length=length))
    lines["sayings"] = _line(model, corpus.memorised(n_prompts))
    lines["novel text"] = _line(model, corpus.novel(n_prompts))
    return {**lines, **_heads(model, corpus.repeated(n_prompts))}


@torch.no_grad()
def _line(model: HookedTransformer, kind: Kind) -> str:
    """Accuracy and loss over the tokens that can be known; of novel text, loss over all."""
    tokens = kind.tokens.to(model.device)
    known = kind.known[:, 1:].to(model.device)
    if not known.any():
        known = torch.ones_like(known)
    log_probs = model(tokens)[:, :-1].log_softmax(-1)
    losses = -log_probs.gather(-1, tokens[:, 1:, None])[..., 0]
    right = (log_probs.argmax(-1) == tokens[:, 1:]) & known
    per_prompt = (losses * known).sum(1) / known.sum(1)
    accuracy = proportion(int(right.sum()), int(known.sum()))
    return f"accuracy {accuracy}, loss {bootstrap_mean(per_prompt.cpu().numpy())} nats"


@torch.no_grad()
def _heads(model: HookedTransformer, kind: Kind) -> dict[str, str]:
    """The strongest head of each sort, over the second copy of repeated words."""
    half = (kind.tokens.shape[1] - 1) // 2
    _, cache = model.run_with_cache(kind.tokens.to(model.device))
    lines = {}
    for name, layer, back in (("previous-token", 0, 1), ("induction", 1, half - 1)):
        looks = looks_back(cache[f"blocks.{layer}.attn.hook_pattern"], back, half)
        best = int(looks.mean(0).argmax())
        score = bootstrap_mean(looks[:, best].cpu().numpy())
        lines[f"strongest {name} head"] = f"{layer}.{best}, {score} of its attention"
    return lines


def looks_back(
    pattern: Float[Tensor, "prompt head query key"], back: int, half: int
) -> Float[Tensor, "prompt head"]:
    """Mean attention to the key `back` places before, over the queries of the second copy."""
    return pattern.diagonal(-back, 2, 3)[..., -half:].mean(-1)


RECIPE = Recipe(NAME, fresh, lambda seed: Corpus(seed=seed).sequences, evaluate)
