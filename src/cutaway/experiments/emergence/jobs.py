"""The jobs of the study: one for each seed, one for each small model of the sweep. What a stopped
run has finished is found again by the settings that made it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...evidence.change_point import FEWEST
from ...files import write_json
from ...training.config import TrainConfig
from ...training.schedule import log_spaced
from ...training.sources import open_source
from ..workers import Job
from .settings import EmergenceSettings

_MODULE = "cutaway.experiments.emergence.seeds"
MEASURES = "measures-2"  # another number wherever what is measured changes
_N_MEASURED = 60  # points of a small model's curve
_N_HELD_OUT = 100  # sequences at each
SECONDS_PER_TOKEN = 1.2e-5  # on one core of a small server, of a model 64 wide
SECONDS_PER_CHECKPOINT = 1.5
GIB_PER_PROCESS = 0.6


@dataclass(frozen=True)
class Plan:
    """What there is to do, and where it is kept."""

    folder: Path
    """Of the models and of what was measured of each."""
    seeds: tuple[Job, ...]
    cells: tuple[Job, ...]
    widths: tuple[Job, ...]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All of them; a width that the first sweep has as well is trained once."""
        of_file = {str(job.arguments["file"]): job for job in (*self.cells, *self.widths)}
        return (*self.seeds, *of_file.values())

    @property
    def missing(self) -> tuple[Job, ...]:
        """Those that no earlier run has finished."""
        return tuple(job for job in self.jobs if not Path(job.arguments["file"]).is_file())

    def seconds(self) -> float:
        """A guess of the time that the missing ones take on one core."""
        total = 0.0
        for job in self.missing:
            config = TrainConfig.from_dict(job.arguments["config"])
            width = config.model_config(d_vocab=2).d_model
            tokens = config.train.n_steps * config.train.batch_size * config.n_ctx
            total += tokens * SECONDS_PER_TOKEN * max(width, 32) / 64
            total += SECONDS_PER_CHECKPOINT * config.keep.log_spaced
        return total


def plan(settings: EmergenceSettings) -> Plan:
    """Every job of the study.

    Raises:
        ValueError: a configuration that is not there or does not fit the study; a context, batch
            or width that does not fit the configuration.
    """
    config = settings.configuration()
    _check(config, settings)
    measured = {"n_prompts": settings.n_prompts, "n_probed": settings.n_probed}
    folder = settings.out / f"emergence-{_key(config, measured, settings.seed)}"
    seeds = []
    for number in range(settings.n_seeds):
        seed = settings.seed + number
        arguments: dict[str, Any] = {
            "config": config.replace(seed=seed).to_dict(),
            "folder": str(folder / f"seed-{seed}"),
            "file": str(folder / f"{MEASURES}-seed-{seed}.safetensors"),
            "seed": seed,
            "device": settings.device,
            **measured,
        }
        seeds.append(Job(f"seed {seed}", f"{_MODULE}:train_and_measure", arguments))
    own = config.n_ctx, config.train.batch_size, config.model_config(d_vocab=2).d_model
    if not settings.n_sweep_seeds:
        return Plan(folder, tuple(seeds), (), ())
    cells = [(n, b, own[2]) for n in settings.contexts for b in settings.batches]
    widths = [(own[0], own[1], w) for w in settings.widths] if len(settings.widths) > 1 else []
    return Plan(
        folder,
        tuple(seeds),
        *(
            tuple(
                _cell(settings, config, folder, shape, k) for shape in shapes for k in _of(settings)
            )
            for shapes in (cells, widths)
        ),
    )


def _check(config: TrainConfig, settings: EmergenceSettings) -> None:
    """Raise ValueError for what a worker would refuse later."""
    n_kept = len(log_spaced(config.keep.log_spaced, config.train.n_steps))
    if n_kept < FEWEST:
        raise ValueError(
            f"{n_kept} steps would be measured of {config.train.n_steps}: a curve needs at least "
            f"{FEWEST}, so give more --n-steps or --n-checkpoints."
        )
    for n_ctx in {config.n_ctx, *(settings.contexts if settings.n_sweep_seeds else ())}:
        open_source(config.replace(n_ctx=n_ctx))
    for width in settings.widths:
        config.replace(d_model=width)


def _of(settings: EmergenceSettings) -> range:
    return range(settings.seed, settings.seed + settings.n_sweep_seeds)


def _cell(
    settings: EmergenceSettings,
    config: TrainConfig,
    folder: Path,
    shape: tuple[int, int, int],
    seed: int,
) -> Job:
    n_ctx, batch, width = shape
    small = config.replace(
        n_ctx=n_ctx,
        batch_size=batch,
        d_model=width,
        seed=seed,
        log_spaced=0,
        evaluate_every=max(1, config.train.n_steps // _N_MEASURED),
        n_held_out=_N_HELD_OUT,
    )
    name = f"context-{n_ctx}-batch-{batch}-width-{width}-seed-{seed}"
    return Job(
        name.replace("-", " "),
        f"{_MODULE}:train_cell",
        {
            "config": small.to_dict(),
            "file": str(folder / "sweep" / f"{name}.json"),
            "device": settings.device,
        },
    )


def _key(config: TrainConfig, measured: dict[str, int], seed: int) -> str:
    """Eight digits that are the same for the same work."""
    text = json.dumps([config.to_dict(), measured, seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def note_the_work(found: Plan) -> None:
    """Say in the folder of the models what it is."""
    write_json(
        found.folder / "about.json",
        {
            "what": "Models and measures of `cutaway run emergence`. A run with the same settings "
            "goes on from here; without it everything is trained again.",
            "seeds": [job.name for job in found.seeds],
        },
    )
