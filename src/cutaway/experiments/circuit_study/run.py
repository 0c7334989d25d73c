"""`run_circuit`: load the model, run the study, and save the run with its report."""

from __future__ import annotations

import dataclasses

from ...circuits.compare import CircuitComparison, compare_heads
from ...circuits.discovery import METHODS
from ...circuits.published import published
from ...circuits.scrubbing import Scrubbing, causal_scrub, ioi_features, ioi_mini_hypothesis
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...tasks import ioi
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ...views.circuit_story import circuit_story
from ...views.circuit_story_data import CircuitStory
from ...views.circuit_story_sentences import findings
from ..circuits.prompts import search_and_test
from ..ioi import published as published_ioi
from ..opening import open_model
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from ..tasks import check_baseline, check_task, example_of, labels_of, load_task
from . import heads, study
from .expectations import of_the_textbook
from .numbers import numbers_of
from .settings import CircuitStudySettings

_SCRUBBED = 720  # prompts
_SMALL = 64  # heads up to which a study is a matter of minutes on two cores


def run_circuit(
    settings: CircuitStudySettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Find a circuit by several methods, test the first one's, and save the whole story.

    Args:
        settings: model, task, methods, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins.

    Raises:
        ValueError: a model, task or method that is not there; settings that do not fit.

    Example:
        >>> finished = run_circuit(CircuitStudySettings(n_prompts=32))
        >>> finished.folder / "circuits" / "exact-edges.json"
    """
    check_task(settings)
    for method in settings.methods:
        if method not in METHODS:
            raise ValueError(f"there is no method {method!r}; there are {', '.join(METHODS)}.")
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        if model.cfg.n_layers * model.cfg.n_heads > _SMALL:
            tell(
                f"{model.cfg.model_name} is large for this study: exact edges and ACDC may take "
                "hours without a GPU. --methods eap eap-ig leaves them out."
            )
        story = _story(model, settings, steps, run)
        described = {**asked_for(settings), **origin(run.record, settings.device)}
        timings = {**run.timings, "all": run.record["seconds"]}
        story = dataclasses.replace(story, settings=described, timings=timings)
        summary = findings(story)
        for row in story.methods:
            row.circuit.save(run.file(f"circuits/{row.circuit.method}.json"))
        story.paths.effects.save(run.file("effects/paths.safetensors"))
        run.save_results({"summary": summary, **numbers_of(story)})
        run.save_report(circuit_story(story).html())
    return FinishedRun(run.path, summary)


def _story(
    model: HookedTransformer, settings: CircuitStudySettings, steps: Steps, run: RunFolder
) -> CircuitStory:
    with steps("baseline"):
        task, fresh, others = _tasks(model, settings)
        baseline = fresh.baseline(model, seed=settings.seed)
        check_baseline(baseline)
    found = study.search(model, task, settings, steps)
    circuit = found.circuits[settings.methods[0]]
    methods = study.methods_table(model, fresh, found, settings, steps)
    shared = study.agreement(found, settings)
    evaluation, tests = study.tested(model, fresh, circuit, settings, steps)
    other_ways = study.choices(model, fresh, circuit, settings, steps)
    effects = heads.head_effects(model, fresh, settings, steps)
    rows = heads.head_rows(model, fresh, circuit, effects, settings)
    pairs = heads.backup_pairs(model, fresh, circuit, effects, settings, steps)
    paths = heads.who_feeds_whom(model, fresh, circuit, settings, steps)
    stable = study.stabilities(model, [task, *others], found, settings, steps)
    effects.save(run.file("effects/heads.safetensors"))
    is_ioi = settings.task == "ioi" and settings.corruption in (None, "s2-flip")
    ratio = evaluation.faithfulness.ratio.estimate
    return CircuitStory(
        model=model.cfg.model_name,
        task=task.name,
        baseline=baseline,
        prompts=labels_of(model, fresh),
        example=example_of(model, fresh),
        methods=methods,
        agreement=shared,
        evaluation=evaluation,
        choices=other_ways,
        tests=tests,
        heads=rows,
        paths=paths,
        pairs=pairs,
        stability=stable,
        scrubbed=_scrubbed(model, settings, steps) if is_ioi else None,
        published=_published(model, circuit.nodes) if is_ioi else None,
        expectations=of_the_textbook(methods, shared, ratio, rows, pairs) if is_ioi else (),
    )


def _tasks(
    model: HookedTransformer, settings: CircuitStudySettings
) -> tuple[Task, Task, list[Task]]:
    """The prompts of the search, those of the tests, and more for its stability.

    A task by name is drawn anew with other seeds; a file's prompts are halved, since what was found
    on some is to be tested on others.
    """
    first = dataclasses.replace(settings, seed=settings.seed * (settings.n_tasks + 1))
    task, fresh = search_and_test(model, first)
    if settings.task not in TASKS:
        return task, fresh, []
    seeds = range(first.seed + 2, first.seed + 1 + settings.n_tasks)
    return task, fresh, [load_task(model, dataclasses.replace(settings, seed=n)) for n in seeds]


def _published(model: HookedTransformer, nodes: tuple[str, ...]) -> CircuitComparison | None:
    if not published_ioi.applies_to(model):
        return None
    return compare_heads([name for name in nodes if name != "embed"], published("ioi"))


def _scrubbed(
    model: HookedTransformer, settings: CircuitStudySettings, steps: Steps
) -> Scrubbing | None:
    """The route of the embedded model as a hypothesis, on prompts of few templates and few names:
    values are exchanged between prompts of one template that agree on what a claim is about."""
    if model.cfg.model_name != "ioi-mini":
        return None
    with steps("causal scrubbing"):
        task = ioi(
            model,
            _SCRUBBED,
            seed=settings.seed,
            templates=["ioi-03", "ioi-05", "ioi-11"],
            names=["Mary", "Alice", "Emma", "John", "Bob", "Tom"],
        )
        features = ioi_features(task)
        return causal_scrub(
            model, task, ioi_mini_hypothesis(), features, within="template", seed=settings.seed
        )
