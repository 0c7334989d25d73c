"""`cutaway circuit evaluate`: a circuit on fresh prompts, with every number's control."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ...circuits.circuit import Circuit, require_edges
from ...circuits.evaluation import evaluate
from ...circuits.hypothesis_tests import HypothesisSettings, HypothesisTests, hypothesis_tests
from ...circuits.runs import CircuitRuns
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ...views.circuit_report import EvaluationData, evaluation_report
from ...views.circuit_sentences import of_evaluation
from ..opening import open_model
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from ..task_settings import TaskSettings
from ..tasks import check_baseline, check_task, load_task
from .find import FILE, FoundCircuit, find_circuit
from .prompts import held_out
from .settings import EvaluateSettings


def run_evaluate(
    settings: EvaluateSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Run a circuit alone and save what it is worth.

    Args:
        settings: the circuit, how it is run, where to save.
        show: told how far each step is.
        tell: told when the prompts are those that the circuit was found on.

    Raises:
        CircuitError: a circuit that is not there, is empty, or is of another model.
        ValueError: a model or task that is not there.
    """
    found = find_circuit(settings.circuit, settings.out)
    require_edges(found.circuit, "evaluate")
    asked = _task_settings(settings, found)
    check_task(asked)
    notes = _same_prompts(asked, found)
    for _ in notes:
        tell("Warning: these are the prompts that the circuit was found on.")
    with RunFolder.create(settings.out, settings.command, _resolved(settings, asked, found)) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, asked)
        found.circuit.check_fits(model)
        with steps("baseline"):
            task = held_out(model, asked) if _is_halved(asked, found) else load_task(model, asked)
            baseline = task.baseline(model, seed=settings.seed)
            check_baseline(baseline)
        with steps("evaluate") as progress:
            evaluation = evaluate(
                model,
                task,
                found.circuit,
                outside=settings.outside,
                level=settings.level,
                positions=settings.positions,
                minimal=settings.minimal,
                n_random=settings.n_random,
                seed=settings.seed,
                max_memory=asked.max_memory,
                progress=progress,
            )
        tests: HypothesisTests | None = None
        if settings.tests:
            with steps("hypothesis tests"):
                tests = _tested(model, task, found.circuit, settings.outside, asked)
        described = {
            **_described(settings, asked),
            **origin(run.record, settings.device),
        }
        timings = {**run.timings, "all": run.record["seconds"]}
        data = EvaluationData(evaluation, tests, baseline, notes, described, timings)
        summary = _save(run, data)
    return FinishedRun(run.path, summary)


def _tested(
    model: HookedTransformer, task: Task, circuit: Circuit, outside: str, asked: TaskSettings
) -> HypothesisTests:
    """The hypothesis tests, which are of edges at all positions."""
    runs = CircuitRuns(model, task, outside, max_memory=asked.max_memory)
    everywhere = dataclasses.replace(circuit, positions={})
    return hypothesis_tests(runs, everywhere, HypothesisSettings(seed=asked.seed))


def _save(run: RunFolder, data: EvaluationData) -> tuple[str, ...]:
    """The circuit, the numbers and the report; the findings in words, warnings first."""
    one = data.evaluation
    summary = (*data.warnings, *of_evaluation(data))
    one.circuit.save(run.file(FILE))
    run.save_results(
        {
            "summary": summary,
            "warnings": data.warnings,
            "how": one.how,
            "n_prompts": one.n_prompts,
            "faithfulness": one.faithfulness,
            "completeness": one.completeness,
            "minimality": one.minimality,
            "tests": None if data.tests is None else data.tests.all(),
        }
    )
    run.save_report(evaluation_report(data).html())
    return summary


def _task_settings(settings: EvaluateSettings, found: FoundCircuit) -> TaskSettings:
    """Model and task: as given, or those that the circuit was found with."""
    circuit = found.circuit
    return TaskSettings(
        model=settings.model or found.asked("model", circuit.cfg.model_name),
        task=settings.task or found.asked("task", circuit.task),
        n_prompts=settings.n_prompts,
        corruption=settings.corruption or found.asked("corruption") or None,
        seed=settings.seed,
        device=settings.device,
        max_memory_gib=settings.max_memory_gib,
        out=settings.out,
    )


def _resolved(
    settings: EvaluateSettings, asked: TaskSettings, found: FoundCircuit
) -> EvaluateSettings:
    """The settings for the record: which circuit, model and task they came to."""
    return dataclasses.replace(
        settings,
        circuit=found.reference(settings.circuit),
        model=asked.model,
        task=asked.task,
        corruption=asked.corruption,
    )


def _is_halved(asked: TaskSettings, found: FoundCircuit) -> bool:
    """Whether this is the file that the search took every second pair of (`search_and_test`)."""
    return asked.task not in TASKS and found.run is not None and asked.task == found.asked("task")


def _same_prompts(asked: TaskSettings, found: FoundCircuit) -> tuple[str, ...]:
    """A warning where a circuit is, or may be, tested on what it was found on."""
    circuit = found.circuit
    if asked.task not in TASKS:
        if found.run is not None or Path(asked.task).stem != circuit.task:
            return ()
        return (
            f"The circuit was found on a file of this name, {circuit.task}; on its own prompts it "
            "looks better than it is. Give others, or the run that found it.",
        )
    if asked.task != found.asked("task", circuit.task):
        return ()
    seed = str(circuit.settings.get("seed", ""))
    if seed != str(asked.seed):
        return ()
    return (
        f"The circuit was found on prompts of seed {seed} and is tested on the same: it looks "
        "better than it is. Give another --seed.",
    )


def _described(settings: EvaluateSettings, asked: TaskSettings) -> dict[str, str]:
    own = dataclasses.asdict(settings) | {"model": asked.model, "task": asked.task}
    hidden = ("out", "device", "max_memory_gib")
    return {
        name.replace("_", " "): str(value)
        for name, value in own.items()
        if value not in (None, "") and name not in hidden
    }
