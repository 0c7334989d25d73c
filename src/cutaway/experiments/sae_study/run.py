"""`run_sae`: dictionaries of the stream from training to circuits, saved with report and pages."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ...files import write_text
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...sae.activations import Activations
from ...sae.dictionary import Dictionary
from ...sae.evaluation import evaluate
from ...sae.examples import FeatureDirections, feature_directions
from ...sae.files import load_dictionary, save_dictionary
from ...sae.training import DictionaryEvents, train_dictionaries
from ...tasks.prompts import TaskError
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ...views.feature_browser import FeatureBrowserView, FeatureLabel
from ...views.feature_data import FeatureReportData
from ...views.feature_report import feature_report
from ...views.sae_study_data import LayerOfStudy, SaeStudyData
from ...views.sae_study_report import sae_study_report
from ...views.sae_study_sentences import findings
from ..circuits.prompts import search_and_test
from ..dictionaries.features import EFFECT, ReadFeatures, effects_of, read_features
from ..dictionaries.features_settings import FeaturesSettings
from ..dictionaries.train_text import TrainingText, training_text
from ..opening import open_model
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from ..tasks import check_baseline, check_task, load_task
from ..texts import words_of
from .carried import carried_by
from .numbers import numbers_of
from .settings import SaeStudySettings

_MORE = 4  # prompts that circuits are chosen on, for each that they are tested on
_PROMOTED = 3  # tokens
_NONE = "No answer is followed through the features: {} {}."


def run_sae(
    settings: SaeStudySettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Train dictionaries, measure and read them, follow an answer through their features.

    Args:
        settings: model, text, task, dictionaries, where to save.
        show: told how far each step is.
        tell: told when there is no task to follow, and why.

    Raises:
        ValueError: a model, text, task, layer or dictionary that is not there or does not fit.

    Example:
        >>> finished = run_sae(SaeStudySettings(n_rows=100_000))  # doctest: +SKIP
        >>> finished.folder / "report.html"  # doctest: +SKIP
    """
    if settings.task not in ("auto", "none"):
        check_task(settings)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        text = training_text(model, settings.data, None, settings.n_held_out, settings.seed)
        tasks, why_not = _tasks(model, settings)
        if why_not:
            tell(why_not)
        dictionaries = _dictionaries(model, text, settings, tasks is not None, steps)
        layers = [
            _layer(model, text, layer, dictionary, tasks, settings, steps, run)
            for layer, dictionary in dictionaries.items()
        ]
        data = SaeStudyData(
            model=model.cfg.model_name,
            text=text.name,
            layers=layers,
            words=words_of(model, torch.arange(model.cfg.d_vocab)),
            main=len(layers) // 2,
            task="" if tasks is None else tasks[1].name,
            baseline=None if tasks is None else tasks[1].baseline(model, seed=settings.seed),
            n_fit=0 if tasks is None else len(tasks[0]),
            settings={**asked_for(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = findings(data)
        run.save_results({"summary": summary, **numbers_of(data)})
        run.save_report(sae_study_report(data).html())
    return FinishedRun(run.path, summary)


def _tasks(
    model: HookedTransformer, settings: SaeStudySettings
) -> tuple[tuple[Task, Task] | None, str]:
    """(prompts to choose on, prompts to test on), or why there are none."""
    if settings.task == "none":
        return None, ""
    auto = settings.task == "auto"
    named = dataclasses.replace(settings, task="ioi") if auto else settings
    try:
        tasks = _drawn(model, named)
    except TaskError:
        if not auto:
            raise
        return None, _NONE.format(model.cfg.model_name, "cannot be given ioi: no names it knows")
    baseline = tasks[1].baseline(model)
    if auto and baseline.clean.low <= baseline.corrupted.high:
        return None, _NONE.format(model.cfg.model_name, "does not do ioi")
    check_baseline(baseline)
    return tasks, ""


def _drawn(model: HookedTransformer, settings: SaeStudySettings) -> tuple[Task, Task]:
    """(prompts to choose on, prompts to test on). Features may stand for single names: those to
    choose on are several times as many, so that the names of the tests are among theirs."""
    if settings.task not in TASKS:
        return search_and_test(model, settings)
    task = load_task(model, settings)
    more = dataclasses.replace(settings, n_prompts=_MORE * len(task), seed=settings.seed + 1)
    return load_task(model, more), task


def _dictionaries(
    model: HookedTransformer,
    text: TrainingText,
    settings: SaeStudySettings,
    has_task: bool,
    steps: Steps,
) -> dict[int, Dictionary]:
    """Layer -> the dictionary of the stream after it, trained in one pass or loaded."""
    if settings.dictionaries:
        with steps("load the dictionaries"):
            given = [load_dictionary(name, settings.device) for name in settings.dictionaries]
        return {_layer_of(model, one): one for one in given}
    n = model.cfg.n_layers
    layers = settings.layers or (tuple(range(n)) if has_task else (n // 2,))
    for layer in layers:
        if not 0 <= layer < n:
            raise ValueError(f"there is no layer {layer}: {model.cfg.model_name} has 0 to {n - 1}.")
    hooks = {layer: f"blocks.{layer}.hook_resid_post" for layer in dict.fromkeys(layers)}
    with steps("train the dictionaries") as progress:
        total = settings.one_pass().n_steps
        source = Activations(
            model, text.tokens, tuple(hooks.values()), seed=settings.seed, text=text.name
        )
        trained = train_dictionaries(
            source,
            [settings.wanted(hook, layer) for layer, hook in hooks.items()],
            settings.one_pass(),
            events=DictionaryEvents(report=lambda step, points, rate: progress(step / total)),
        )
    return dict(zip(hooks, (one.dictionary for one in trained), strict=True))


def _layer_of(model: HookedTransformer, dictionary: Dictionary) -> int:
    hook = dictionary.cfg.hook
    for layer in range(model.cfg.n_layers):
        if hook == f"blocks.{layer}.hook_resid_post" and not dictionary.is_transcoder:
            return layer
    raise ValueError(f"the dictionary of {hook!r} is not one of a layer's hook_resid_post.")


def _layer(
    model: HookedTransformer,
    text: TrainingText,
    layer: int,
    dictionary: Dictionary,
    tasks: tuple[Task, Task] | None,
    settings: SaeStudySettings,
    steps: Steps,
    run: RunFolder,
) -> LayerOfStudy:
    """One dictionary: measured, read, and followed through."""
    save_dictionary(dictionary, run.file(f"dictionaries/layer-{layer}"))
    with steps(f"layer {layer}: measure") as progress:
        found = evaluate(
            dictionary,
            model,
            text.held_out,
            fit_tokens=text.fitted_on,
            seed=settings.seed,
            progress=progress,
        )
    found.save(run.file(f"evaluation-{layer}.safetensors"))
    carried = None
    if tasks is not None:
        with steps(f"layer {layer}: circuits") as progress:
            carried = carried_by(model, dictionary, *tasks, settings, progress)
        carried.noising.save(run.file(f"effects/layer-{layer}-noising.safetensors"))
        carried.denoising.save(run.file(f"effects/layer-{layer}-denoising.safetensors"))
        carried.circuit.save(run.file(f"circuits/layer-{layer}.safetensors"))
    with steps(f"layer {layer}: read") as progress:
        page = f"features-{layer}.html"
        read, directions, report = _page(model, dictionary, layer, tasks, settings, progress)
        write_text(run.file(page), report)
    n_alive = int((read.chosen_on.n_fired > 0).sum())
    promoted = [
        ", ".join(dict.fromkeys(read.words[token].strip() for token in tokens[:_PROMOTED]))
        for tokens in directions.promoted
    ]
    return LayerOfStudy(layer, found, read.rules, n_alive, promoted, page, carried)


def _page(
    model: HookedTransformer,
    dictionary: Dictionary,
    layer: int,
    tasks: tuple[Task, Task] | None,
    settings: SaeStudySettings,
    progress: Any,
) -> tuple[ReadFeatures, FeatureDirections, str]:
    """Every feature read, what it writes, and the page to browse them."""
    asked = FeaturesSettings(
        dictionary=f"layer {layer}",
        model=settings.model,
        data=settings.data,
        n_sequences=settings.n_sequences,
        seed=settings.seed,
    )
    read = read_features(model, dictionary, asked, progress)
    effects = {}
    if tasks is not None:
        effects[EFFECT.format(tasks[1].name)] = effects_of(
            model, dictionary, tasks[1], settings.max_memory
        )
    found, directions = read.chosen_on, feature_directions(model, dictionary)
    labels = [
        None if rule is None else FeatureLabel(rule.text(read.words), rule.precision, rule.recall)
        for rule in read.rules
    ]
    browser = FeatureBrowserView(
        words=read.words,
        examples=read.examples,
        density=found.density,
        maximum=found.maximum(),
        labels=labels,
        directions=directions,
        effects=effects,
    )
    data = FeatureReportData(
        model=model.cfg.model_name,
        dictionary=f"{model.cfg.model_name}, layer {layer}",
        cfg=dictionary.cfg,
        n_tokens=found.n_tokens,
        n_alive=int((found.n_fired > 0).sum()),
        rules=read.rules,
        words=read.words,
        effects=effects,
        browser=browser,
        settings={},
        timings={},
    )
    return read, directions, feature_report(data).html()
