"""The recipe of `ioi-mini`, the embedded model: shape, data, settings, one function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from ..model.config import ModelConfig
from ..model.tokenizer import Tokenizer
from ..model.transformer import HookedTransformer
from .ioi_corpus import Corpus
from .ioi_vocabulary import build_tokenizer
from .trainer import TrainReport, TrainSettings, train

NAME = "ioi-mini"
SETTINGS = TrainSettings(n_steps=8000, batch_size=64, learning_rate=2e-3, seed=0)
N_CTX = 64


def config(d_vocab: int) -> ModelConfig:
    """Four layers of eight heads, LayerNorm and MLPs, as GPT-2 is built: 0.97 million weights."""
    return ModelConfig(
        n_layers=4, d_model=128, n_heads=8, d_vocab=d_vocab, n_ctx=N_CTX, model_name=NAME
    )


def train_ioi_mini(
    checkpoint: Path | None = None,
    settings: TrainSettings = SETTINGS,
    report: Callable[[TrainReport], None] | None = None,
) -> HookedTransformer:
    """Train from nothing; with a checkpoint file, go on from where a stopped run was."""
    tokenizer = Tokenizer(build_tokenizer())
    model = HookedTransformer(config(tokenizer.vocab_size), tokenizer, seed=settings.seed)
    corpus = Corpus(seed=settings.seed, n_ctx=N_CTX)

    def batches(step: int) -> Int[Tensor, "batch pos"]:
        return corpus.sequences(step * settings.batch_size, settings.batch_size)

    train(model, batches, settings, checkpoint, report)
    return model
