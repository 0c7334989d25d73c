"""`run_training`: train as asked, show how it goes, and keep a record and a report."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...files import write_json
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...training.checkpoints import checkpoints
from ...training.config import TrainConfig
from ...training.distributed import ALONE, World, joined_world
from ...training.evaluation import counting_losses, held_out_loss
from ...training.run import MODEL, Events, TrainedRun, fresh_model, train_config
from ...training.sampling import sample
from ...training.sources import embedded_recipe
from ...training.trainer import TrainReport
from ...views.training_data import TrainingReportData
from ...views.training_report import training_report
from ...views.training_sentences import findings
from ..saving import FinishedRun, origin
from .progress import TrainingProgress, stop_asked
from .settings import TrainCommandSettings

if TYPE_CHECKING:
    from rich.console import Console

_N_SAMPLES = 3
_SAMPLED = 300  # characters; of other data half a context


def run_training(settings: TrainCommandSettings, console: Console) -> FinishedRun | None:
    """`cutaway train CONFIG`.

    Under `torchrun` each process calls it, and the main one speaks and writes.

    Args:
        settings: what to train, where to keep it.
        console: the terminal.

    Returns:
        The run; None in a process that is not the main one.

    Raises:
        ValueError: a configuration that is not there or does not fit, a folder of another run,
            a disk that is full, too little memory.
        KeyboardInterrupt: it was stopped; the state is saved, and the same command goes on.
    """
    config = settings.configuration()
    with joined_world(settings.device) as world:
        if not world.is_main:
            train_config(config, settings.folder, device=settings.device, world=world)
            return None
        return _main_process(settings, config, console, world)


def _main_process(
    settings: TrainCommandSettings, config: TrainConfig, console: Console, world: World
) -> FinishedRun:
    with RunFolder.at(settings.folder, "train", settings) as run:
        rates: list[float] = []
        with run.step("train"):
            trained = _train(settings, config, console, world, rates)
        model = trained.model
        run.describe_model(model.cfg.model_name, model.digest, config=model.cfg.to_dict())
        with run.step("measure"):
            data = _measured(settings, run, trained, rates)
        summary = findings(data)
        run.save_results({"summary": summary, **_numbers(data)})
        _save_recipe(settings.folder / MODEL, config, data)
        run.save_report(training_report(data).html())
    return FinishedRun(run.path, summary)


def _train(
    settings: TrainCommandSettings,
    config: TrainConfig,
    console: Console,
    world: World = ALONE,
    rates: list[float] | None = None,
) -> TrainedRun:
    with stop_asked() as asked, TrainingProgress(console, config.train.n_steps) as progress:

        def report(found: TrainReport) -> None:
            if rates is not None:
                rates.append(found.tokens_per_second)
            progress.report(found)

        events = Events(progress.begin, report, progress.measured, progress.say, asked)
        try:
            return train_config(
                config, settings.folder, device=settings.device, world=world, events=events
            )
        except KeyboardInterrupt as stop:
            said = str(stop)
            if not said:  # the second Ctrl-C
                raise
            raise KeyboardInterrupt(
                f"{said}, which is saved in {settings.folder}: the same command goes on from there."
            ) from stop


def _measured(
    settings: TrainCommandSettings, run: RunFolder, trained: TrainedRun, rates: list[float]
) -> TrainingReportData:
    """Everything that the report shows."""
    config, model, source, curve = trained.config, trained.model, trained.source, trained.curve
    controls = counting_losses(source, model.cfg.d_vocab)
    fresh = fresh_model(config, source, model.device)
    controls["fresh"] = held_out_loss(fresh, source).loss
    samples = [
        sample(model, source.prompt, seed=seed)
        for seed in range(_N_SAMPLES if source.prompt else 0)
    ]
    width = source.rows(0, 1).shape[1]
    per_step = config.train.batch_size * min(width, config.n_ctx)
    return TrainingReportData(
        model=config.name,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        d_vocab=model.cfg.d_vocab,
        step=trained.step,
        n_steps=config.train.n_steps,
        n_tokens=per_step * config.train.n_steps,
        held_out=trained.held_out.loss,
        controls=controls,
        training=curve.training(),
        measured=curve.measured(),
        tokens_per_second=statistics.median(rates) if rates else 0.0,
        accuracy=trained.held_out.accuracy,
        known_loss=trained.held_out.known_loss,
        accuracies=curve.measured("accuracy"),
        samples=samples,
        prompt=source.prompt,
        kept=[saved.step for saved in checkpoints(settings.folder)],
        notes=_notes(config, model),
        about=source.about,
        settings={**_asked(config), **origin(run.record, settings.device)},
        timings={**run.timings, "all": run.record["seconds"]},
    )


def _notes(config: TrainConfig, model: HookedTransformer) -> dict[str, str]:
    """What an embedded model's recipe measures."""
    if config.data.kind not in ("ioi-mini", "induction-2l"):
        return {}
    return embedded_recipe(config.data.kind).measure(model)


def _asked(config: TrainConfig) -> dict[str, str]:
    values = config.to_dict()
    return {
        f"{table} {name.replace('_', ' ')}": str(value)
        for table in ("data", "model", "train", "keep")
        for name, value in values[table].items()
    }


def _numbers(data: TrainingReportData) -> dict[str, Any]:
    """What results.json holds; the losses by step are in curve.jsonl."""
    left_out = ("training", "measured", "accuracies", "settings", "timings", "about")
    fields = (field.name for field in dataclasses.fields(data))
    return {name: getattr(data, name) for name in fields if name not in left_out}


def _save_recipe(folder: Path, config: TrainConfig, data: TrainingReportData) -> None:
    """Beside the model: how it is made again, and what was measured."""
    measured = {"held-out loss": str(data.held_out), **data.notes}
    if data.accuracy is not None:
        measured["tokens that can be known"] = f"accuracy {data.accuracy}, loss {data.known_loss}"
    values = config.to_dict()
    recipe = {"command": f"cutaway train {config.name}", "step": data.step, **values}
    write_json(folder / "recipe.json", {**recipe, "measured": measured})
