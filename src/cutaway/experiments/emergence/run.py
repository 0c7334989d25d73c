"""`run_emergence`: train the seeds, measure them all along, sweep, and save it with a report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ...array_files import load_arrays
from ...findings import RunFolder
from ...training.checkpoints import checkpoints
from ...views.emergence_data import ALL, MAIN, Emergence, stacked
from ...views.emergence_report import emergence_report
from ...views.emergence_sentences import findings
from ...views.emergence_sweep import Cell, Sweep
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from ..workers import Job, n_cores, run_jobs
from .jobs import GIB_PER_PROCESS, Plan, note_the_work, plan
from .seeds import KIND
from .settings import EmergenceSettings


def run_emergence(
    settings: EmergenceSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Watch induction heads form, in several seeds.

    Args:
        settings: what to train and to measure, where to save.
        show: told how far each step is.
        tell: told beforehand how much work there is, and what an earlier run has done.

    Raises:
        ValueError: a configuration that is not there or does not fit.
        WorkerError: a process failed.

    Example:
        >>> finished = run_emergence(EmergenceSettings(quick=True))  # doctest: +SKIP
        >>> finished.folder / "report.html"  # doctest: +SKIP
    """
    work = plan(settings)
    missing, n_processes = work.missing, settings.processes or n_cores()
    for line in _told_beforehand(work, n_processes):
        tell(line)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        work.folder.mkdir(parents=True, exist_ok=True)
        note_the_work(work)
        for name, jobs in (("seeds", work.seeds), ("sweep", (*work.cells, *work.widths))):
            todo = [job for job in missing if job in jobs]
            if jobs:
                with steps(name) as progress:
                    run_jobs(todo, n_processes, progress)
        with steps("curves and order"):
            found = _collected(work, settings)
            models = checkpoints(str(work.seeds[0].arguments["folder"]))
            model = models[-1].model()
            run.describe_model(model.cfg.model_name, model.digest, config=model.cfg.to_dict())
            summary = findings(found)
        found = dataclasses.replace(
            found,
            settings={**_asked(settings, work), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        found.save(run.file("emergence.safetensors"))
        run.save_results({"summary": summary, **numbers(found)})
        run.save_report(emergence_report(found).html())
    return FinishedRun(run.path, summary)


def _told_beforehand(work: Plan, n_processes: int) -> list[str]:
    n_done = len(work.jobs) - len(work.missing)
    lines = [f"{n_done} of {len(work.jobs)} models are there already, in {work.folder}."] * (
        n_done > 0
    )
    if work.missing:
        n = min(n_processes, len(work.missing))
        minutes = max(1.0, work.seconds() / n / 60)
        lines.append(
            f"{len(work.missing)} small models to train, {n} at a time: about {minutes:.0f} "
            f"minutes, and {GIB_PER_PROCESS * n:.1f} GiB of memory. A run that is stopped goes on "
            "with what was finished."
        )
    return lines


def _collected(work: Plan, settings: EmergenceSettings) -> Emergence:
    """What all workers have written."""
    parts, places, steps = [], None, None
    for job in work.seeds:
        arrays, described = load_arrays(job.arguments["file"], KIND)
        steps = arrays.pop("steps")
        places = tuple(range(*ends) for ends in described["places"])
        parts.append(arrays)
    assert steps is not None and places is not None
    sweep = None
    if work.cells:
        sweep = Sweep(*(tuple(_cell(job) for job in group) for group in (work.cells, work.widths)))
    return Emergence(
        steps=steps,
        seeds=tuple(job.arguments["seed"] for job in work.seeds),
        arrays=stacked(parts),
        sweep=sweep,
        places=(places[0], places[1]),
        seed=settings.seed,
    )


def _cell(job: Job) -> Cell:
    found = json.loads(Path(job.arguments["file"]).read_text(encoding="utf-8"))
    return Cell(**{**found, **{k: tuple(found[k]) for k in ("steps", "accuracy")}})


def numbers(found: Emergence) -> dict[str, Any]:
    """What results.json holds: everything that the report says, and the curves."""
    arrays = found.arrays
    values: dict[str, Any] = {
        "steps": found.steps,
        "seeds": found.seeds,
        "in_context_read_at": [list(one) for one in found.places],
        "curves": {name: found.over_seeds(name) for name in ALL},
        "in_context_score": found.over_seeds("", found.in_context_score),
        "loss": found.over_seeds("", arrays["loss"]),
        "fits": {name: found.fits[name].to_frame() for name in ALL},
        "midpoints": {
            name: found.fits[name].midpoint() for name in ALL if found.fits[name].found.any()
        },
        "widths": {name: found.fits[name].width() for name in ALL if found.fits[name].found.any()},
        "order": [{**vars(one), "verdict": one.verdict} for one in found.orders],
        "breaks": {name: found.breaks[name] for name in MAIN},
        "heads": [
            {
                "seed": seed,
                "tells": found.strongest("B to A", 0)[at],
                "induction": found.strongest("END to B")[at],
                "copying": arrays["copying"][at, -1],
            }
            for at, seed in enumerate(found.seeds)
        ],
    }
    if found.sweep is not None:
        values["sweep"] = found.sweep.plain() | {
            "law": found.sweep.law,
            "width_law": found.sweep.width_law,
        }
    return values


def _asked(settings: EmergenceSettings, work: Plan) -> dict[str, str]:
    """What was asked for, in the words of the command line."""
    config = settings.configuration()
    train = config.train
    return {
        **asked_for(settings),
        "models": str(work.folder.name),
        "shape": ", ".join(f"{name} {value}" for name, value in config.model.items()),
        "training": f"{train.n_steps} steps of {train.batch_size} sequences, learning rate "
        f"{train.learning_rate:g}, loss of every next token",
    }
