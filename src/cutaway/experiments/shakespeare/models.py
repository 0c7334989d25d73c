"""The models of the study: loaded, or trained first; and how large they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...findings import RunFolder
from ...model.config import ModelConfig
from ...model.transformer import HookedTransformer
from ...training.checkpoints import SavedStep, checkpoints
from ...training.config import TrainConfig
from ...training.run import CONFIG, MODEL, Events, train_config
from ...training.trainer import TrainReport
from ..steps import Steps
from .settings import ShakespeareSettings

SEED_DOCUMENT: dict[str, Any] = {
    "n_layers": 6,
    "n_heads": 6,
    "d_model": 384,
    "n_ctx": 128,
    "d_vocab": 65,
}
"""The sizes that the template of the write-up gives; it says that they are 2.5 million weights."""


@dataclass(frozen=True, eq=False)
class StudyModel:
    """One model of the study."""

    folder: Path
    """The training run, or the model's own folder."""
    model: HookedTransformer
    n_parameters: int
    """As trained: norms not folded, a tied embedding counted once."""
    training: dict[str, Any] = field(default_factory=dict)
    """What the training run says of itself; empty for a bare model."""

    @property
    def name(self) -> str:
        """For tables."""
        seed = self.training.get("seed")
        return self.folder.name if seed is None else f"seed {seed}"

    def checkpoints(self) -> list[SavedStep]:
        """The models that the training kept, by step; none of a bare model."""
        return checkpoints(self.folder) if self.training else []


def configuration(settings: ShakespeareSettings) -> TrainConfig:
    """What is trained where no models are given."""
    config = TrainConfig.find(settings.config)
    if config.data.kind != "characters":
        raise ValueError(
            f"config={settings.config!r} trains on {config.data.kind}; the study reads text, so "
            "that it needs a configuration of characters."
        )
    changes: dict[str, Any] = {}
    if settings.data is not None:
        changes["file"] = str(settings.data)
    if settings.n_steps is not None:
        changes["n_steps"] = settings.n_steps
    return config.replace(**changes)


def study_models(
    settings: ShakespeareSettings, config: TrainConfig, run: RunFolder, steps: Steps
) -> list[StudyModel]:
    """The models, in the order of the folders or seeds that were asked for.

    Raises:
        ValueError: a folder that holds no model, a text too short to train on.
    """
    if settings.models:
        with steps("load the models"):
            return [load_model(folder, settings.device) for folder in settings.models]
    found = []
    for seed in settings.seeds:
        folder = run.file(f"models/seed-{seed}/{CONFIG}").parent
        with steps(f"train seed {seed}") as progress:
            own = config.replace(seed=seed)
            train(own, folder, settings.device, progress)
        found.append(load_model(folder, settings.device))
    return found


def train(config: TrainConfig, folder: Path, device: str, progress: Any) -> None:
    """One training run into an empty folder."""

    def report(found: TrainReport) -> None:
        progress(found.step / config.train.n_steps)

    train_config(config, folder, device=device, events=Events(report=report))


def load_model(folder: Path, device: str) -> StudyModel:
    """A training run's model, or a model's own folder.

    Raises:
        ValueError: there is none.
    """
    inner = folder / MODEL if (folder / MODEL).is_dir() else folder
    as_trained = HookedTransformer.from_pretrained_no_processing(inner, device=device)
    model = HookedTransformer.from_pretrained(inner, device=device)
    n = sum(parameter.numel() for parameter in as_trained.parameters())
    return StudyModel(folder, model, n, _training(folder))


def _training(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        config = found["config"]
        return {
            "config": config["name"],
            "seed": config["train"]["seed"],
            "n_steps": config["train"]["n_steps"],
            "batch_size": config["train"]["batch_size"],
            "held_out_share": config["data"]["held_out_share"],
        }
    except (OSError, json.JSONDecodeError, KeyError, TypeError):
        return {}


def count_parameters(cfg: ModelConfig) -> int:
    """Weights of a model of nanoGPT's kind: tied embedding, no biases, norms with a scale.

    12 L d^2 + (V + n_ctx + 2 L + 1) d.

    Example:
        >>> count_parameters(ModelConfig(**SEED_DOCUMENT))
        10695936
    """
    L, d = cfg.n_layers, cfg.d_model
    return 12 * L * d * d + (cfg.d_vocab + cfg.n_ctx + 2 * L + 1) * d


def width_of(n_parameters: int) -> tuple[int, int]:
    """The width, a multiple of the heads, at which the document's sizes come nearest to so many
    weights; and how many there are then."""
    cfg = ModelConfig(**SEED_DOCUMENT)
    widths = range(cfg.n_heads, cfg.d_model + 1, cfg.n_heads)
    sizes = {
        width: count_parameters(ModelConfig(**{**SEED_DOCUMENT, "d_model": width}))
        for width in widths
    }
    best = min(sizes, key=lambda width: abs(sizes[width] - n_parameters))
    return best, sizes[best]
