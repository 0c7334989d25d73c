"""`run_steer`: steer the prompts of a task everywhere, choose a place, and show what it does."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxtyping import Int
from torch import Tensor

from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...steering.dose_response import dose_response
from ...steering.response import DoseResponse
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ...views.steering_data import SteeringReportData
from ...views.steering_report import steering_report
from ...views.steering_sentences import findings, warnings
from ..measurements.measure import places
from ..opening import open_model
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from ..tasks import check_task, labels_of, load_task
from .continuations import continuations
from .neutral import neutral_texts
from .settings import SteerSettings
from .vectors import Aim, aim_of


def run_steer(
    settings: SteerSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Steer, measure, save.

    Args:
        settings: the vector, where and how much, on which prompts, where to save.
        show: told how far each step is.
        tell: told what was left out.

    Raises:
        ValueError: a model, task, token, layer or position that is not there; texts that do not
            fit.

    Example:
        >>> finished = run_steer(SteerSettings(method="unembedding", positions=("END",)))
        >>> finished.folder / "report.html"  # doctest: +SKIP
    """
    check_task(settings)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        with steps("vectors"):
            task = load_task(model, settings)
            aim = aim_of(model, task, settings)
            neutral, neutral_name = neutral_texts(model, task, settings)
        for note in aim.notes:
            tell(note)
        responses = {
            position: _steered(model, aim, neutral, position, settings, steps)
            for position in _positions(aim.task, settings)
        }
        with steps("continuations"):
            continued = continuations(model, aim, responses, settings)
        data = SteeringReportData(
            model=model.cfg.model_name,
            task=aim.task.name,
            method=settings.method,
            target=_target_in_words(settings),
            responses=responses,
            continuations=continued,
            prompts=labels_of(model, aim.task),
            neutral=neutral_name,
            agreement={
                layer: float(vector.settings["agreement"])
                for layer, vector in aim.vectors.items()
                if "agreement" in vector.settings
            },
            notes=aim.notes,
        )
        summary = _save(run, settings, aim, data)
    return FinishedRun(run.path, summary)


def _steered(
    model: HookedTransformer,
    aim: Aim,
    neutral: Int[Tensor, "text pos"],
    position: str,
    settings: SteerSettings,
    steps: Steps,
) -> DoseResponse:
    """Every layer and coefficient at one position."""
    with steps(f"steer at {position}") as progress:
        return dose_response(
            model,
            aim.task,
            aim.vectors,
            aim.target,
            layers=list(aim.vectors),
            coefficients=settings.coefficients,
            positions=_place(position),
            site=settings.site,
            operation=settings.operation,
            unit=settings.unit,
            neutral=neutral,
            n_random=settings.n_random,
            others=aim.others,
            seed=settings.seed,
            max_memory=settings.max_memory,
            progress=progress,
        )


def _positions(task: Task, settings: SteerSettings) -> tuple[str, ...]:
    """The places of the prompts that are steered in turn."""
    if settings.positions:
        given = tuple(dict.fromkeys(settings.positions))
        for position in given:
            if position in ("each", "named"):
                raise ValueError(f"positions={position!r}: name them, each is taken in turn.")
        return given
    named = next(iter(task.positions))
    return tuple(dict.fromkeys((named, "END", "all")))


def _place(position: str) -> Any:
    found = places([position])
    return found[0] if isinstance(found, list) else found


def _target_in_words(settings: SteerSettings) -> str:
    if settings.target == "wrong":
        return "the task's wrong answer"
    if settings.target == "third":
        return "a third answer that the prompt does not hold"
    return repr(settings.target)


def _save(
    run: RunFolder, settings: SteerSettings, aim: Aim, data: SteeringReportData
) -> tuple[str, ...]:
    """The vector, the numbers and the report; the findings in words, warnings first."""
    described = {**_asked(settings, data), **origin(run.record, settings.device)}
    timings = {**run.timings, "all": run.record["seconds"]}
    data = dataclasses.replace(data, settings=described, timings=timings)
    summary = (*findings(data), *warnings(data))
    position, layer, coefficient = data.place
    aim.vectors[layer].save(run.file("vector.safetensors"))
    for name, response in data.responses.items():
        response.save(run.file(f"responses/{name}.safetensors"))
    run.save_results(
        {
            "summary": summary,
            "chosen": {"position": position, "layer": layer, "coefficient": coefficient},
            "success": data.tested.success(layer, coefficient),
            "control": data.control,
            "wrong_way": data.tested.wrong_way(layer, coefficient),
            "kl": data.tested.mean_cost(layer, coefficient),
            "loss": data.tested.mean_cost(layer, coefficient, of="loss"),
            "norms": {name: response.norms for name, response in data.responses.items()},
            "rows": {name: response.to_frame() for name, response in data.responses.items()},
            "continuations": data.continuations,
        }
    )
    run.save_report(steering_report(data).html())
    return summary


def _asked(settings: SteerSettings, data: SteeringReportData) -> dict[str, str]:
    """What was asked for, in the words of the command line."""
    found = {"model": settings.model, "task": settings.task, "prompts": str(len(data.prompts))}
    if settings.task in TASKS:
        found["corruption"] = TASKS[settings.task].corruption(settings.corruption)
    hidden = ("model", "task", "n_prompts", "corruption", "device", "max_memory_gib", "out")
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in hidden or value in ("", ()):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        found[field.name.replace("_", " ")] = text
    return {**found, "neutral text": data.neutral}
