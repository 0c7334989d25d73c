"""`run_sae_train`: dictionaries trained as asked, measured on held-out text, with a report."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...files import write_json
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...sae.activations import Activations
from ...sae.dictionary import Dictionary
from ...sae.evaluation import Evaluation, evaluate
from ...sae.files import load_dictionary, save_dictionary
from ...sae.reconstruction import reconstruct
from ...sae.rows import RowSource
from ...sae.settings import DictionarySettings
from ...sae.spliced_loss import MEAN, Place, at_once, model_batches, spliced_losses
from ...sae.store import store_rows
from ...sae.training import (
    DictionaryEvents,
    TrainedDictionary,
    train_dictionaries,
    unique_names,
)
from ...views.dictionary_training_data import DictionaryTrainingData, TrainedRow
from ...views.dictionary_training_report import dictionary_training_report
from ...views.dictionary_training_sentences import findings
from ..opening import open_model
from ..saving import FinishedRun, asked_for, origin
from ..steps import Steps
from ..training.progress import stop_asked
from .train_progress import DictionaryProgress
from .train_settings import SaeTrainSettings
from .train_text import TrainingText, training_text

if TYPE_CHECKING:
    from rich.console import Console

_ON_THE_WAY = 32  # held-out sequences that are measured while it trains
TRAINING, DICTIONARIES = "training", "dictionaries"


def run_sae_train(settings: SaeTrainSettings, console: Console) -> FinishedRun:
    """`cutaway sae train`.

    Args:
        settings: what to train on what, where to keep it.
        console: the terminal.

    Raises:
        ValueError: a model, hook or text that is not there or does not fit; activations that are
            not finite; a folder of another run; a disk that is full.
        KeyboardInterrupt: it was stopped; the state is saved, and the same command goes on.
    """
    with RunFolder.at(settings.folder, "sae-train", settings) as run:
        model = open_model(run, Steps(run, lambda name, share: None), settings)
        text = training_text(
            model, settings.data, settings.n_ctx, settings.n_held_out, settings.seed[0]
        )
        wanted = settings.dictionaries(settings.hook or _middle(model))
        names = unique_names(wanted)
        progress = DictionaryProgress(console, names, settings.one_pass().n_steps)
        with stop_asked() as asked, progress:
            source = _source(settings, model, text, wanted, run, progress)
            with run.step("train"):
                trained = _train(settings, model, text, source, wanted, progress, asked)
        with run.step("measure"):
            found = [_evaluated(settings, model, text, one.dictionary) for one in trained]
        folders = _saved(settings.folder / DICTIONARIES, settings, trained, found, run)
        data = _reported(settings, run, model, text, trained, found, progress.rates)
        summary = findings(data)
        run.save_results(
            {
                "summary": summary,
                "dictionaries": {
                    one.name: {"folder": str(folder.relative_to(settings.folder)), "measured": rows}
                    for one, folder, rows in zip(
                        trained, folders, (one.to_frame() for one in found), strict=True
                    )
                },
            }
        )
        run.save_report(dictionary_training_report(data).html())
    return FinishedRun(run.path, summary)


def _middle(model: HookedTransformer) -> str:
    return f"blocks.{model.cfg.n_layers // 2}.hook_resid_post"


def _source(
    settings: SaeTrainSettings,
    model: HookedTransformer,
    text: TrainingText,
    wanted: list[DictionarySettings],
    run: RunFolder,
    progress: DictionaryProgress,
) -> RowSource:
    """The activations, from the model or from disk."""
    hooks = dict.fromkeys(hook for one in wanted for hook in (one.hook, one.output_hook))
    source = Activations(
        model,
        text.tokens,
        tuple(hooks),
        seed=settings.seed[0],
        buffer_rows=settings.buffer_rows,
        skip_bos=settings.skip_bos,
        text=text.name,
    )
    if settings.store is None:
        return source
    with run.step("store the activations"):
        return store_rows(
            source,
            settings.store,
            settings.one_pass().n_steps * settings.batch_size,
            shard_rows=settings.buffer_rows,
            device=settings.device,
            progress=progress.stored,
        )


def _train(
    settings: SaeTrainSettings,
    model: HookedTransformer,
    text: TrainingText,
    source: RowSource,
    wanted: list[DictionarySettings],
    progress: DictionaryProgress,
    asked: Callable[[], bool],
) -> list[TrainedDictionary]:
    events = DictionaryEvents(
        progress.begin,
        progress.report,
        progress.measured,
        progress.resampled,
        progress.say,
        asked,
    )
    folder = settings.folder / TRAINING
    try:
        return train_dictionaries(
            source,
            wanted,
            settings.one_pass(),
            folder=folder,
            measure=_measure(model, text, wanted[0], settings.skip_bos),
            events=events,
        )
    except KeyboardInterrupt as stop:
        said = str(stop)
        if not said:  # the second Ctrl-C
            raise
        raise KeyboardInterrupt(
            f"{said}, which is saved in {folder}: the same command goes on from there."
        ) from stop


def _measure(
    model: HookedTransformer, text: TrainingText, one: DictionarySettings, skip_bos: bool
) -> Callable[[Dictionary], dict[str, float]]:
    """What is measured on the way: a few held-out sequences, without baselines."""
    tokens = text.held_out[:_ON_THE_WAY]
    place = Place.of(model, one.hook, one.hook_out)
    size = at_once(model, tokens)
    rows = [
        batch.target[batch.kept]
        for batch in model_batches(model, text.fitted_on[:_ON_THE_WAY], place, size, skip_bos)
    ]
    mean = sum(part.double().sum(0) for part in rows) / sum(map(len, rows))

    def measure(dictionary: Dictionary) -> dict[str, float]:
        of_rows = reconstruct(
            {"dictionary": dictionary}, model_batches(model, tokens, place, size, skip_bos)
        )["dictionary"]
        losses = spliced_losses(
            model,
            tokens,
            place,
            {"dictionary": dictionary},
            mean.float(),  # type: ignore[union-attr]
            skip_bos=skip_bos,
            batch_size=size,
        )
        found = {
            "L0": of_rows.l0().estimate,
            "explained variance": of_rows.explained_variance().estimate,
            "loss up by": losses.increase("dictionary").estimate,
            "loss recovered": losses.loss_recovered("dictionary", MEAN).estimate,
        }
        return {name: value for name, value in found.items() if math.isfinite(value)}

    return measure


def _evaluated(
    settings: SaeTrainSettings, model: HookedTransformer, text: TrainingText, one: Dictionary
) -> Evaluation:
    """What it comes to in the end, beside its baselines."""
    return evaluate(
        one,
        model,
        text.held_out,
        fit_tokens=text.fitted_on,
        skip_bos=settings.skip_bos,
        seed=settings.seed[0],
    )


def _saved(
    folder: Path,
    settings: SaeTrainSettings,
    trained: list[TrainedDictionary],
    found: list[Evaluation],
    run: RunFolder,
) -> list[Path]:
    """Each dictionary's folder, with how it is made again and what was measured."""
    paths = []
    for one, measured in zip(trained, found, strict=True):
        path = folder / re.sub(r"[^A-Za-z0-9.-]+", "-", one.name).strip("-")
        save_dictionary(one.dictionary, path)
        measured.save(path / "evaluation.safetensors")
        write_json(path / "recipe.json", _recipe(settings, path, one, measured, run))
        paths.append(path)
    return paths


def _recipe(
    settings: SaeTrainSettings,
    path: Path,
    one: TrainedDictionary,
    measured: Evaluation,
    run: RunFolder,
) -> dict[str, Any]:
    rows, losses = measured.dictionary, measured.losses
    assert losses is not None
    return {
        "command": run.record["command"],
        "model": {key: run.record["model"][key] for key in ("name", "digest")},
        "dictionary": one.settings.to_dict(),
        "pass": dataclasses.asdict(settings.one_pass()),
        "text": one.dictionary.cfg.text,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__},
        "digest": load_dictionary(path).digest,  # as it comes back, its scale folded in
        "measured": {
            "on": f"{len(rows.n_rows)} held-out sequences, {rows.n:,} rows",
            "L0": str(rows.l0()),
            "explained variance": str(rows.explained_variance()),
            "loss of the model": str(losses.clean_loss()),
            "loss up by": str(losses.increase("dictionary")),
            "loss recovered against mean ablation": str(losses.loss_recovered("dictionary", MEAN)),
            "dead": f"{rows.n_dead} of {len(rows.density)}",
        },
    }


def _reported(
    settings: SaeTrainSettings,
    run: RunFolder,
    model: HookedTransformer,
    text: TrainingText,
    trained: list[TrainedDictionary],
    found: list[Evaluation],
    rates: list[float],
) -> DictionaryTrainingData:
    cfg = trained[0].dictionary.cfg
    return DictionaryTrainingData(
        model=model.cfg.model_name,
        hook=cfg.hook,
        hook_out=cfg.hook_out,
        text=text.name,
        n_rows=settings.one_pass().n_steps * settings.batch_size,
        batch_size=settings.batch_size,
        rows_per_second=statistics.median(rates) if rates else 0.0,
        dictionaries=[
            TrainedRow(
                name=one.name,
                found=measured,
                points={what: one.points(what) for what in _CURVES},
                resampled=one.points("resampled"),
                dead_after=one.settings.dead_after,
            )
            for one, measured in zip(trained, found, strict=True)
        ],
        settings={**asked_for(settings), **origin(run.record, settings.device)},
        timings={**run.timings, "all": run.record["seconds"]},
    )


_CURVES = (
    *("explained", "dead", "measured.L0"),
    *("measured.explained variance", "measured.loss recovered"),
)
