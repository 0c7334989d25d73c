"""`run_lens`: read a model by lenses, and save the run with its report."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...tasks.task import Task
from ...views.lens_data import LensReportData
from ...views.lens_report import lens_report
from ...views.lens_sentences import findings
from ..opening import open_model
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from ..tasks import check_task, load_task
from .settings import LensSettings
from .study import Findings, prompts_of, run_study, words_of

_MADE_FOR = {"induction-2l": "repeated-tokens"}
_DEFAULT_TASK = "ioi"


def run_lens(
    settings: LensSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Read what each layer would predict, beside the controls, and save it.

    Args:
        settings: what to read, of which model, by which lenses, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins; nothing here.

    Raises:
        ValueError: a model, task, file or lens that is not there; a text that is too long or
            holds unknown words; a tuned lens of another model; settings that do not fit.

    Example:
        >>> finished = run_lens(LensSettings(n_prompts=16))
        >>> finished.folder / "report.html"
    """
    if settings.text is None:
        check_task(dataclasses.replace(settings, task=settings.task or _DEFAULT_TASK))
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        task = _task(model, settings)
        prompts = prompts_of(model, settings, task)
        found = run_study(model, prompts, settings, steps)
        described = {**_asked(settings, task), **origin(run.record, settings.device)}
        data = LensReportData(
            model=model.cfg.model_name,
            task="" if task is None else task.name,
            readings=found.readings,
            control=found.control,
            components=found.components,
            words=words_of(model, found.components),
            grids=found.grids,
            tuned=None if found.tuned is None else found.tuned.readings,
            errors=None if found.tuned is None else found.tuned.errors,
            text=settings.text or "",
            trained_on="" if found.tuned is None else found.tuned.text,
            inputs=None if found.inputs is None else found.inputs[1],
            kinds="" if found.inputs is None else found.inputs[0].explanation,
            settings=described,
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = _save(run, data, found)
    return FinishedRun(run.path, summary)


def _task(model: HookedTransformer, settings: LensSettings) -> Task | None:
    """The task that was asked for, or the one that the model was made for; None for a text."""
    if settings.text is not None:
        return None
    name = settings.task or _MADE_FOR.get(model.cfg.model_name, _DEFAULT_TASK)
    return load_task(model, dataclasses.replace(settings, task=name))


def _save(run: RunFolder, data: LensReportData, found: Findings) -> tuple[str, ...]:
    """Readings, numbers, the lens and the report; the findings in words."""
    summary = findings(data)
    found.readings.save(run.file("readings/logit-lens.safetensors"))
    found.control.save(run.file("readings/random-weights.safetensors"))
    found.components.save(run.file("readings/components.safetensors"))
    if found.tuned is not None:
        found.tuned.readings.save(run.file("readings/tuned-lens.safetensors"))
        found.tuned.lens.save(run.file("lens.safetensors"))
    if found.inputs is not None:
        for kind, readings in found.inputs[1].readings.items():
            readings.save(run.file(f"readings/{kind.replace(' ', '-')}.safetensors"))
    run.save_results({"summary": summary, **_numbers(data)})
    run.save_report(lens_report(data).html())
    return summary


def _numbers(data: LensReportData) -> dict[str, Any]:
    """What results.json holds."""
    numbers: dict[str, Any] = {
        "points": data.readings.points,
        "trajectories": [row for one in data.trajectories for row in one.to_frame()],
        "kl": dict(zip(data.readings.points, data.readings.mean_kl(), strict=True)),
        "convergence": {
            name: {
                "mean": one.mean(),
                "never": one.share_never(),
                "share_by": one.to_frame(),
            }
            for name, one in data.convergences.items()
        },
        "components": {name: interval for name, interval in data.components.ranked(*data.contrast)},
    }
    if data.errors is not None:
        numbers["lenses"] = data.errors.to_frame()
    if data.inputs is not None:
        numbers["differences"] = data.inputs.to_frame()
        numbers["kinds"] = {
            kind: {
                "convergence": data.inputs.convergence(kind).mean(),
                "random_weights": data.inputs.control_convergence(kind).mean(),
                "target": data.inputs.trajectory(kind, quantity="probability").to_frame(),
            }
            for kind in data.inputs.kinds
        }
    return numbers


def _asked(settings: LensSettings, task: Task | None) -> dict[str, str]:
    """What was asked for; the task by its name, also where it was not named."""
    found = asked_for(settings, hidden=("task",))
    return found if task is None else {**found, "task": task.name}
