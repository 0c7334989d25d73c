"""The recipe of `ioi-mini`, the embedded model: shape, data, settings, one function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from jaxtyping import Int
from torch import Tensor

from ..files import write_text
from ..model.config import ModelConfig
from ..model.tokenizer import Tokenizer
from ..model.transformer import HookedTransformer
from ..tasks import ioi, ioi_role_swaps
from .ioi_corpus import Corpus
from .ioi_vocabulary import build_tokenizer
from .settings import IOIMiniSettings, TrainSettings
from .trainer import TrainReport, train

NAME = "ioi-mini"
SETTINGS = TrainSettings()
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


def train_and_save(settings: IOIMiniSettings, say: Callable[[str], None]) -> HookedTransformer:
    """Train, measure what the model was made for, and save it with the recipe beside it.

    Args:
        settings: where to, and how.
        say: called with one line of text at a time.

    Raises:
        FileExistsError: the folder holds something else than an earlier model of ours.
    """

    def report(step: TrainReport) -> None:
        left = (settings.train.n_steps - step.step) * settings.train.batch_size * N_CTX
        say(
            f"step {step.step:>6}  loss {step.loss:.4f}  {step.tokens_per_second:,.0f} tokens/s  "
            f"{left / step.tokens_per_second / 60:.0f} min left"
        )

    checkpoint = settings.out.with_name(settings.out.name + ".checkpoint.pt")
    model = train_ioi_mini(checkpoint, settings.train, report)
    results = evaluate(model)
    for line in results.values():
        say(line)
    model.save_pretrained(settings.out)
    recipe = {"command": "cutaway train ioi-mini", "train": asdict(settings.train)}
    write_text(settings.out / "recipe.json", json.dumps({**recipe, "measured": results}, indent=2))
    checkpoint.unlink()
    return model


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
