"""`run_measurement`: load the model, make the task, measure, and save the run with its report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...attribution.agreement import agreement
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...patching.effects import Effects
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ...views.measurement_data import Comparison, Measured, MeasurementReportData
from ...views.measurement_report import measurement_report
from ...views.measurement_sentences import findings, warnings
from ..opening import open_model
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from ..tasks import check_baseline, check_task, example_of, labels_of, load_task
from .direct import bytes_as_text, run_direct
from .measure import Plan, plan
from .settings import AttributeSettings, EdgesSettings, MeasurementSettings
from .stopped import Kept, asked_again, how_to_go_on, resumable

_MOST_ROWS = 5_000  # in results.json; more are in results.safetensors, all of them


def run_measurement(
    settings: MeasurementSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Run one of the four measurements and save it.

    Args:
        settings: what to measure, on which model and task, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins.

    Raises:
        ValueError: a model, task, site or name that is not there; settings that do not fit.
        Stopped: it was interrupted and can go on (edges only).

    Example:
        >>> finished = run_measurement(PatchSettings(site="z", n_prompts=32))
        >>> finished.folder / "report.html"
    """
    if isinstance(settings, AttributeSettings) and settings.direct:
        return run_direct(settings, show, tell)
    earlier: Kept | None = None
    if isinstance(settings, EdgesSettings):
        settings, earlier = asked_again(settings)
    check_task(settings)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        with steps("baseline"):
            task = load_task(model, settings)
            baseline = task.baseline(model, seed=settings.seed)
            check_baseline(baseline)
        measured, comparison = _measured(run, settings, earlier, model, task, steps, tell)
        data = MeasurementReportData(
            command=settings.command,
            model=model.cfg.model_name,
            task=task.name,
            choices=_choices(settings),
            measured=measured,
            baseline=baseline,
            prompts=labels_of(model, task),
            example=example_of(model, task),
            comparison=comparison,
        )
        summary = _save(run, settings, data)
    return FinishedRun(run.path, summary)


def _measured(
    run: RunFolder,
    settings: MeasurementSettings,
    earlier: Kept | None,
    model: HookedTransformer,
    task: Task,
    steps: Steps,
    tell: Tell,
) -> tuple[Measured, Comparison | None]:
    """The effects with their intervals and, of estimates, how they compare with the exact ones."""
    with _keeping(run, settings, earlier) as kept:
        todo = plan(settings, model, task, None if kept is None else kept.done)
        if kept is not None:
            tell(f"If it is stopped, {how_to_go_on(kept)} goes on.")
        with steps(settings.command) as progress:
            effects = todo.measure(progress, _telling(tell, "It"))
    exact = _exact(todo, steps, tell)
    with steps("intervals"):
        measured = Measured.of(effects, settings.seed)
        if exact is None:
            return measured, None
        found = agreement(exact, dataclasses.replace(effects, site=exact.site), seed=settings.seed)
        return measured, Comparison(found, Measured.of(exact, settings.seed))


@contextmanager
def _keeping(
    run: RunFolder, settings: MeasurementSettings, earlier: Kept | None
) -> Iterator[Kept | None]:
    """Edges keep what is done while they are measured; the others are quick."""
    if not isinstance(settings, EdgesSettings):
        yield None
        return
    with resumable(run, settings, earlier) as kept:
        yield kept


def _exact(todo: Plan, steps: Steps, tell: Tell) -> Effects | None:
    if todo.exact is None:
        return None
    with steps("exact effects") as progress:
        return todo.exact(progress, _telling(tell, "The exact effect"))


def _telling(tell: Tell, what: str) -> Callable[[int], None]:
    return lambda n: tell(f"{what} will hold at most {bytes_as_text(n)} beside the weights.")


def _save(
    run: RunFolder, settings: MeasurementSettings, data: MeasurementReportData
) -> tuple[str, ...]:
    """Effects, numbers, arrays and the report; the findings in words."""
    described = {**_asked(settings, data), **origin(run.record, settings.device)}
    timings = {**run.timings, "all": run.record["seconds"]}
    data = dataclasses.replace(data, settings=described, timings=timings)
    summary = (*findings(data), *warnings(data))
    measured = data.measured
    measured.effects.save(run.file(f"effects/{settings.command}.safetensors"))
    arrays = measured.named_arrays()
    if data.comparison is not None:
        data.comparison.exact.effects.save(run.file("effects/exact.safetensors"))
        data.comparison.agreement.save(run.file("agreement.json"))
        arrays |= {f"exact {k}": v for k, v in data.comparison.exact.named_arrays().items()}
    run.save_results({"summary": summary, **_numbers(data)})
    run.save_arrays(arrays)
    run.save_report(measurement_report(data).html())
    return summary


def _numbers(data: MeasurementReportData) -> dict[str, Any]:
    """What results.json holds."""
    measured, baseline = data.measured, data.baseline
    rows = measured.rows()
    numbers: dict[str, Any] = {
        "metric": baseline.metric,
        "baseline": {
            "clean": baseline.clean,
            "corrupted": baseline.corrupted,
            "accuracy": baseline.accuracy,
        },
        "mode": measured.effects.mode,
        "n_effects": len(rows),
        "n_excluding_zero": measured.n_sure,
        "n_matter": measured.n_matter,
        "effects": rows if len(rows) <= _MOST_ROWS else measured.rows(_MOST_ROWS),
    }
    if data.comparison is not None:
        numbers["agreement"] = data.comparison.agreement.to_frame()
        numbers["exact"] = data.comparison.exact.rows(_MOST_ROWS)
    return numbers


def _choices(settings: MeasurementSettings) -> dict[str, Any]:
    """The settings of this command alone, which say what was measured."""
    shared = {field.name for field in dataclasses.fields(MeasurementSettings)}
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in shared
    }


def _asked(settings: MeasurementSettings, data: MeasurementReportData) -> dict[str, str]:
    """What was asked for, in the words of the command line."""
    found = {"model": settings.model, "task": settings.task, "mode": settings.mode}
    found["prompts"] = str(data.baseline.clean.n)
    if settings.task in TASKS:
        found["corruption"] = TASKS[settings.task].corruption(settings.corruption)
    for name, value in _choices(settings).items():
        if name in _idle(settings):
            continue
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if text:
            found[name.replace("_", " ")] = text
    return {**found, "seed": str(settings.seed)}


def _idle(settings: MeasurementSettings) -> tuple[str, ...]:
    """Settings of this command that nothing looked at."""
    if not isinstance(settings, AttributeSettings):
        return ()
    of_direct = ("direct", "by", "toward", "sources")
    if settings.edges:
        steps = [] if "ig" in settings.method else ["steps"]
        return ("site", "positions", "layers", "gradient", *of_direct, *steps)
    steps = [] if settings.gradient == "integrated" else ["steps"]
    return ("edges", "method", *of_direct, *steps)
