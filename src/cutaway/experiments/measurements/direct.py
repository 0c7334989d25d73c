"""`cutaway attribute --direct`: the logits of a task taken apart, and the run saved."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...attribution.answers import Tokens, is_linear
from ...attribution.direct import DirectAttribution, direct_attribution
from ...attribution.gap import DirectGap, direct_gap
from ...attribution.sources import SourceAttribution, source_attribution
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...patching.effects import Effects
from ...patching.sweep import sweep
from ...tasks.metric import LogitDifference
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ...views.direct_data import DirectReportData
from ...views.direct_report import direct_report
from ...views.direct_sentences import findings, warnings
from ..opening import open_model
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from ..tasks import check_task, example_of, labels_of, load_task
from .settings import AttributeSettings

_MOST_ROWS = 5_000  # in results.json; more are under effects/, all of them


def run_direct(settings: AttributeSettings, show: Show, tell: Tell) -> FinishedRun:
    """Run direct attribution and save it.

    Args:
        settings: with `direct`.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins.

    Raises:
        ValueError: a model, task or name that is not there; a metric that is not linear.
    """
    check_task(settings)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        with steps("baseline"):
            task = load_task(model, settings)
            baseline = task.baseline(model, seed=settings.seed)
        direct = _direct(settings, model, task, steps, tell)
        data = DirectReportData(
            model=model.cfg.model_name,
            task=task.name,
            direct=direct,
            sources=_sources(settings, model, task, steps),
            gap=_gap(settings, model, task, direct, steps),
            baseline=baseline,
            prompts=labels_of(model, task),
            example=example_of(model, task),
            seed=settings.seed,
        )
        with steps("intervals"):
            numbers = _numbers(data)
        summary = _save(run, settings, data, numbers)
    return FinishedRun(run.path, summary)


def _direct(
    settings: AttributeSettings,
    model: HookedTransformer,
    task: Task,
    steps: Steps,
    tell: Tell,
) -> DirectAttribution:
    toward, against = _answer(settings, task)
    with steps("direct attribution") as progress:
        return direct_attribution(
            model,
            task,
            settings.by,
            seed=settings.seed,
            max_memory=settings.max_memory,
            progress=progress,
            tell_memory=lambda n: tell(
                f"It will hold at most {bytes_as_text(n)} beside the weights."
            ),
            toward=toward,
            against=against,
        )


def _answer(settings: AttributeSettings, task: Task) -> tuple[Tokens | None, Tokens | None]:
    """Which tokens are meant: `toward` and `against` of the library."""
    if settings.toward == "metric" and not is_linear(task.metric):
        raise ValueError(
            f"the metric of {task.name}, {task.metric.name}, is not linear in the logits, so that "
            "it is no sum over components: give --toward difference, or answer."
        )
    toward = None if settings.toward == "metric" else task.correct
    return toward, task.wrong if settings.toward == "difference" else None


def _sources(
    settings: AttributeSettings, model: HookedTransformer, task: Task, steps: Steps
) -> SourceAttribution | None:
    if not settings.sources:
        return None
    toward, against = _answer(settings, task)
    with steps("sources") as progress:
        return source_attribution(
            model,
            task,
            seed=settings.seed,
            max_memory=settings.max_memory,
            progress=progress,
            toward=toward,
            against=against,
        )


def _gap(
    settings: AttributeSettings,
    model: HookedTransformer,
    task: Task,
    direct: DirectAttribution,
    steps: Steps,
) -> DirectGap | None:
    """Beside each head's zero ablation, on the same answer."""
    if not settings.exact:
        return None
    measured = task
    if settings.toward == "difference":
        answers = task.correct[:, None], task.wrong[:, None]
        measured = dataclasses.replace(
            task, metric=LogitDifference(task.metric.positions, *answers)
        )
    with steps("exact effects") as progress:
        exact: Effects = sweep(
            model,
            measured,
            "z",
            "zero",
            mode="noising",
            max_memory=settings.max_memory,
            progress=progress,
        )
        return direct_gap(direct, exact)


def _save(
    run: RunFolder,
    settings: AttributeSettings,
    data: DirectReportData,
    numbers: dict[str, Any],
) -> tuple[str, ...]:
    """Contributions, numbers and the report; the findings in words."""
    described = {**_asked(settings, data), **origin(run.record, settings.device)}
    timings = {**run.timings, "all": run.record["seconds"]}
    data = dataclasses.replace(data, settings=described, timings=timings)
    summary = (*findings(data), *warnings(data))
    data.direct.save(run.file("effects/direct.safetensors"))
    arrays = {"direct": data.direct.values, "residual error": data.direct.residual_error}
    arrays |= {f"direct, {name}": values for name, values in data.direct.controls.items()}
    if data.sources is not None:
        data.sources.save(run.file("effects/sources.safetensors"))
    if data.gap is not None:
        arrays |= {"direct of heads": data.gap.direct, "exact of heads": data.gap.exact}
    run.save_results({"summary": summary, **numbers})
    run.save_arrays(arrays)
    run.save_report(direct_report(data).html())
    return summary


def _numbers(data: DirectReportData) -> dict[str, Any]:
    """What results.json holds."""
    direct = data.direct
    rows = [
        {"component": one.name, "logits": one.value}
        for one in direct.top(_MOST_ROWS, seed=data.seed)
    ]
    numbers: dict[str, Any] = {
        "answer": direct.answer,
        "total": data.total,
        "largest_residual_error": data.largest_error,
        "n_components": len(direct.components),
        "n_matter": len(data.matter),
        "components": rows,
        "controls": {
            name: {"largest": size, "component": component}
            for name, (component, size) in data.largest_control.items()
        },
    }
    if data.sources is not None:
        named = data.sources.named()
        numbers["sources"] = named.to_frame()[:_MOST_ROWS]
    if data.gap is not None:
        numbers["exact"] = {
            "value": data.gap.value,
            "correlation": data.gap.correlation(data.seed),
            "heads": data.gap.to_frame(),
        }
    return numbers


def _asked(settings: AttributeSettings, data: DirectReportData) -> dict[str, str]:
    """What was asked for, in the words of the command line."""
    found = {"model": settings.model, "task": settings.task}
    found["prompts"] = str(data.baseline.clean.n)
    if settings.task in TASKS:
        found["corruption"] = TASKS[settings.task].corruption(settings.corruption)
    for name in ("direct", "by", "toward", "sources", "exact"):
        found[name] = str(getattr(settings, name))
    return {**found, "seed": str(settings.seed)}


def bytes_as_text(n: int) -> str:
    """As "35 MB"."""
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{max(n / 1e6, 1):.0f} MB"
