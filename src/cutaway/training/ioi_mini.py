"""The recipe of `ioi-mini`, the embedded model: shape, data, what is measured."""

from __future__ import annotations

from typing import Literal

from ..model.config import ModelConfig
from ..model.tokenizer import Tokenizer
from ..model.transformer import HookedTransformer
from ..tasks import ioi, ioi_role_swaps
from .ioi_corpus import Corpus
from .ioi_vocabulary import build_tokenizer
from .recipe import Recipe

NAME = "ioi-mini"
N_CTX = 64


def config(d_vocab: int) -> ModelConfig:
    """Four layers of eight heads, LayerNorm and MLPs, as GPT-2 is built: 0.97 million weights."""
    return ModelConfig(
        n_layers=4, d_model=128, n_heads=8, d_vocab=d_vocab, n_ctx=N_CTX, model_name=NAME
    )


def fresh(seed: int) -> HookedTransformer:
    """The model before training."""
    tokenizer = Tokenizer(build_tokenizer())
    return HookedTransformer(config(tokenizer.vocab_size), tokenizer, seed=seed)


def evaluate(model: HookedTransformer, n_prompts: int = 1000) -> dict[str, str]:
    """Accuracy of IO over S and mean logit difference, on what was and was not trained on."""
    kinds: dict[str, dict[str, Literal["train", "held-out", "seen"]]] = {
        "templates and name pairs of training": {"templates": "train", "pairs": "seen"},
        "name pairs never seen together": {"templates": "train", "pairs": "held-out"},
        "templates held out of training": {"templates": "held-out", "pairs": "seen"},
        "both held out": {"templates": "held-out", "pairs": "held-out"},
    }
    lines = {}
    for name, choice in kinds.items():
        task = ioi(model, n_prompts, seed=1, **choice)  # type: ignore[arg-type]
        baseline = task.baseline(model)
        lines[name] = f"accuracy {baseline.accuracy}, logit difference {baseline.clean}"
    swaps = ioi_role_swaps(model).baseline(model).clean_values
    lines["role swaps of one prompt"] = ", ".join(f"{value:+.2f}" for value in swaps)
    return lines


RECIPE = Recipe(NAME, fresh, lambda seed: Corpus(seed=seed, n_ctx=N_CTX).sequences, evaluate)
