"""`run_superposition`: train all toy models, measure their geometry, save it with a report."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...findings import RunFolder
from ...superposition.basis import rotate_hidden
from ...superposition.trained import TrainedToys
from ...views.superposition_data import BASES, Superposition, toys_file
from ...views.superposition_more import basis_rows, computation_rows, pair_rows, phases
from ...views.superposition_report import superposition_report
from ...views.superposition_sentences import findings
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from ..workers import n_cores, run_jobs
from .parts import job, n_instances, toy_parts
from .settings import SuperpositionSettings


def run_superposition(
    settings: SuperpositionSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Train toy models of superposition, many at once, and measure what they do.

    Args:
        settings: how many, how long, where to save.
        show: told how far each step is.
        tell: told beforehand how much work there is.

    Raises:
        WorkerError: a process failed.

    Example:
        >>> finished = run_superposition(SuperpositionSettings(quick=True))  # doctest: +SKIP
        >>> finished.folder / "report.html"  # doctest: +SKIP
    """
    n_processes = settings.processes or n_cores()
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        files = {part.name: run.file(toys_file(part.name)) for part in toy_parts(settings)}
        jobs = [job(part, settings, str(files[part.name])) for part in toy_parts(settings)]
        tell(
            f"{n_instances(jobs):,} toy models of {len(jobs)} kinds to train, {n_processes} kinds "
            "at a time."
        )
        with steps("toy models") as progress:
            run_jobs(jobs, n_processes, progress)
        with steps("geometry") as progress:
            toys = {name: TrainedToys.load(file) for name, file in files.items()}
            rotations = {}
            for at, (name, _) in enumerate(BASES):
                rotations[name] = rotate_hidden(
                    toys[name], settings.n_rotations, seed=settings.seed, device=settings.device
                )
                progress((at + 1) / len(BASES))
            found = Superposition(toys, rotations, seed=settings.seed)
            summary = findings(found)
        found = dataclasses.replace(
            found,
            settings={**asked_for(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        found.save(run.file("rotations.safetensors").parent)
        run.save_results({"summary": summary, **numbers(found)})
        run.save_report(superposition_report(found).html())
    return FinishedRun(run.path, summary)


def numbers(found: Superposition) -> dict[str, Any]:
    """What results.json holds: everything that the report says."""
    phase = phases(found)
    return {
        "plane": [vars(row) for row in found.plane],
        "counts": [vars(row) for row in found.counts],
        "plateaus": [vars(row) for row in found.plateaus],
        "shapes_alone": [vars(row) for row in found.shapes],
        "phases": {**vars(phase), "found": phase.found.tolist(), "told": phase.told.tolist()},
        "pairs": [vars(row) for row in pair_rows(found)],
        "bases": [vars(row) for row in basis_rows(found)],
        "computation": [vars(row) for row in computation_rows(found)],
    }
