"""What the workers do: train one seed and measure its checkpoints; train one cell of the sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...array_files import save_arrays
from ...files import write_json
from ...training.checkpoints import checkpoints
from ...training.config import TrainConfig
from ...training.evaluation import HeldOut
from ...training.run import Events, train_config
from ...training.sources import open_source
from .measures import Arrays, measure
from .prompts import measured_on

KIND = "measures of one seed"
_TRAINED = 0.45  # share of a seed's time that training takes

Told = Callable[[float], None]


def train_and_measure(asked: Mapping[str, Any], told: Told) -> None:
    """Train a seed (or go on where it was stopped) and measure every checkpoint into one file.

    Args:
        asked: config (as `TrainConfig.to_dict`), folder (of the training run), file (to write),
            n_prompts, n_probed, seed (of the measures), device.
        told: told the share that is done.
    """
    config = TrainConfig.from_dict(asked["config"])
    folder, seed = Path(asked["folder"]), int(asked["seed"])
    n_steps = config.train.n_steps
    events = Events(report=lambda report: told(_TRAINED * report.step / n_steps))
    train_config(config, folder, device=asked["device"], events=events)
    source = open_source(config)
    on = measured_on(config.data, source, config.n_ctx, asked["n_prompts"], asked["n_probed"], seed)
    kept = [one for one in checkpoints(folder)]
    rows: list[Arrays] = []
    for number, saved in enumerate(kept):
        rows.append(measure(saved.model(device=asked["device"]), on, seed))
        told(_TRAINED + (1 - _TRAINED) * (number + 1) / len(kept))
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    steps = np.array([saved.step for saved in kept], dtype=np.int64)
    places = [[one.start, one.stop] for one in (on.early, on.late)]
    described = {"seed": config.train.seed, "places": places}
    save_arrays(asked["file"], KIND, {"steps": steps, **arrays}, described)


def train_cell(asked: Mapping[str, Any], told: Told) -> None:
    """Train one small model of the sweep, and note its accuracy on the way.

    Args:
        asked: config, file (JSON to write), device.
        told: told the share that is done.
    """
    config = TrainConfig.from_dict(asked["config"])
    steps: list[int] = []
    accuracy: list[float] = []

    def measured(step: int, found: HeldOut) -> None:
        assert found.accuracy is not None
        steps.append(step)
        accuracy.append(found.accuracy.estimate)
        told(step / config.train.n_steps)

    run = train_config(config, device=asked["device"], events=Events(measured=measured))
    assert run.source.known is not None
    write_json(
        asked["file"],
        {
            "n_ctx": config.n_ctx,
            "batch_size": config.train.batch_size,
            "d_model": run.model.cfg.d_model,
            "seed": config.train.seed,
            "steps": steps,
            "accuracy": accuracy,
            "known_per_sequence": float(run.source.known.float().sum(1).mean()),
        },
    )
