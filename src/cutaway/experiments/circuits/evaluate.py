"""`cutaway circuit evaluate`: a circuit on fresh prompts, with every number's control."""

from __future__ import annotations

import dataclasses

from ...circuits.evaluation import evaluate
from ...circuits.hypothesis_tests import HypothesisTests, hypothesis_tests
from ...circuits.runs import CircuitRuns
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...views.circuit_report import EvaluationData, evaluation_report
from ...views.circuit_sentences import of_evaluation
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from ..task_settings import TaskSettings
from ..tasks import check_baseline, check_task, load_task
from .find import FILE, FoundCircuit, find_circuit
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
    asked = _task_settings(settings, found)
    check_task(asked)
    notes = _same_prompts(asked, found)
    for note in notes:
        tell(note)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        with steps("load the model"):
            model = HookedTransformer.from_pretrained(asked.model, device=settings.device)
            digest = model.digest
        run.describe_model(model.cfg.model_name, digest, config=model.cfg.to_dict())
        found.circuit.check_fits(model)
        with steps("baseline"):
            task = load_task(model, asked)
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
                runs = CircuitRuns(model, task, settings.outside, max_memory=asked.max_memory)
                tests = hypothesis_tests(runs, found.circuit)
        described = {
            **_described(settings, asked),
            **origin(run.record, digest, settings.device),
        }
        timings = {**run.timings, "all": run.record["seconds"]}
        data = EvaluationData(evaluation, tests, baseline, notes, described, timings)
        summary = of_evaluation(data)
        found.circuit.save(run.file(FILE))
        run.save_results(
            {
                "summary": summary,
                "how": evaluation.how,
                "faithfulness": evaluation.faithfulness,
                "completeness": evaluation.completeness,
                "minimality": evaluation.minimality,
                "tests": None if tests is None else [str(test) for test in tests.all()],
            }
        )
        run.save_report(evaluation_report(data).html())
    return FinishedRun(run.path, summary)


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


def _same_prompts(asked: TaskSettings, found: FoundCircuit) -> tuple[str, ...]:
    """A warning where a circuit is tested on what it was found on."""
    same_task = asked.task == found.asked("task", found.circuit.task)
    seed = str(found.circuit.settings.get("seed", ""))
    if same_task and seed == str(asked.seed):
        return (
            f"The circuit was found on prompts of seed {seed} and is tested on the same: it looks "
            "better than it is. Give another --seed.",
        )
    if same_task and asked.task.endswith(".jsonl"):
        return (
            "Half of the file's prompts are those that the circuit was found on: it looks better "
            "than it is. Give another file.",
        )
    return ()


def _described(settings: EvaluateSettings, asked: TaskSettings) -> dict[str, str]:
    own = dataclasses.asdict(settings) | {"model": asked.model, "task": asked.task}
    hidden = ("out", "device", "max_memory_gib")
    return {
        name.replace("_", " "): str(value)
        for name, value in own.items()
        if value not in (None, "") and name not in hidden
    }
