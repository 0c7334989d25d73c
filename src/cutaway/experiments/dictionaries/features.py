"""`run_features`: every feature of a dictionary on one page, with rules and effects."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from ...evidence import Interval
from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...patching.sweep import sweep
from ...sae.dictionary import Dictionary
from ...sae.examples import FeatureExamples, feature_directions, feature_examples
from ...sae.feature_site import features
from ...sae.files import load_dictionary
from ...sae.fires import Firings, firings
from ...sae.rules import Rule, describe
from ...tasks.prompts import TaskError
from ...tasks.task import Task
from ...views.feature_browser import FeatureBrowserView, FeatureLabel
from ...views.feature_data import FeatureReportData
from ...views.feature_report import feature_report
from ...views.feature_sentences import findings
from ..opening import open_model
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from ..task_settings import TaskSettings
from ..tasks import load_task
from ..texts import words_of
from .features_settings import FeaturesSettings
from .texts import text_of
from .token_sets import token_sets

EFFECT = "effect on {}"


@dataclass(frozen=True, eq=False)
class ReadFeatures:
    """What was read of every feature."""

    chosen_on: Firings
    """On the text that examples are taken from and rules chosen on."""
    counted_on: Firings
    """On the text that the rules are counted on."""
    examples: FeatureExamples
    rules: list[Rule | None]
    words: list[str]


def run_features(
    settings: FeaturesSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Read every feature of a dictionary, and save it with a page to browse.

    Args:
        settings: dictionary, model, text, task, where to save.
        show: told how far each step is.
        tell: told when effects are left out, and why.

    Raises:
        ValueError: a dictionary, model, task or file that is not there; a text that is empty, too
            short or of other words; a hook that the model does not have.

    Example:
        >>> finished = run_features(FeaturesSettings("ioi-mini-resid-2"))  # doctest: +SKIP
        >>> finished.folder / "report.html"  # doctest: +SKIP
    """
    dictionary = load_dictionary(settings.dictionary, settings.device)
    settings = _named(settings, dictionary)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        cfg = dictionary.cfg.replace(hook=settings.hook)
        dictionary.cfg = cfg
        task, why_not = _task(model, settings)
        if why_not:
            tell(why_not)
        with steps("read the features") as progress:
            read = read_features(model, dictionary, settings, progress)
        effects: dict[str, list[Interval | None]] = {}
        if task is not None:
            with steps("take each out") as progress:
                effects[EFFECT.format(task.name)] = effects_of(
                    model, dictionary, task, settings.max_memory, progress
                )
        with steps("what they write"):
            directions = feature_directions(model, dictionary)
        found = read.chosen_on
        data = FeatureReportData(
            model=model.cfg.model_name,
            dictionary=settings.dictionary,
            cfg=cfg,
            n_tokens=found.n_tokens,
            n_alive=int((found.n_fired > 0).sum()),
            rules=read.rules,
            words=read.words,
            effects=effects,
            browser=FeatureBrowserView(
                words=read.words,
                examples=read.examples,
                density=found.density,
                maximum=found.maximum(),
                labels=[_label(rule, read.words) for rule in read.rules],
                directions=directions,
                effects=effects,
            ),
            settings={**asked_for(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = findings(data)
        read.examples.save(run.file("examples.safetensors"))
        run.save_results({"summary": summary, "features": _rows(read, effects)})
        run.save_report(feature_report(data).html())
    return FinishedRun(run.path, summary)


def read_features(
    model: HookedTransformer,
    dictionary: Dictionary,
    settings: FeaturesSettings,
    progress: Any = lambda share: None,
) -> ReadFeatures:
    """Firings on two texts, examples of the first, and rules chosen on it and counted on the other.

    Raises:
        ValueError: as `run_features`.
    """
    n = settings.n_sequences
    text = text_of(model, settings.data, settings.seed)
    tokens = text.sequences(0, 2 * n)
    half = len(tokens) // 2
    chosen_on = firings(
        model, dictionary, tokens[:half], progress=lambda share: progress(share / 2)
    )
    counted_on = firings(
        model, dictionary, tokens[half:], progress=lambda share: progress((1 + share) / 2)
    )
    words = list(words_of(model, torch.arange(model.cfg.d_vocab)))
    examples = feature_examples(
        chosen_on, n_top=settings.n_top, n_per_band=settings.n_per_band, seed=settings.seed
    )
    rules = describe(chosen_on, counted_on, model.cfg.d_vocab, token_sets(words))
    return ReadFeatures(chosen_on, counted_on, examples, rules, words)


def effects_of(
    model: HookedTransformer,
    dictionary: Dictionary,
    task: Task,
    max_memory: int | None = None,
    progress: Any = None,
) -> list[Interval | None]:
    """The share of the task's difference that goes when a feature is set to 0 at all positions."""
    effects = sweep(
        model,
        task,
        features(dictionary),
        "zero",
        positions="all",
        mode="noising",
        max_memory=max_memory,
        progress=progress,
    )
    return [
        Interval(float(value), float(low), float(high), 0.95, len(task))
        for value, low, high in zip(*effects.interval(), strict=True)
    ]


def _named(settings: FeaturesSettings, dictionary: Dictionary) -> FeaturesSettings:
    """The settings with what the dictionary says of itself."""
    model = settings.model or dictionary.cfg.model_name
    hook = settings.hook or dictionary.cfg.hook
    for value, option in ((model, "model"), (hook, "hook")):
        if not value:
            raise ValueError(
                f"the dictionary {settings.dictionary} does not say its {option}: give --{option}."
            )
    return dataclasses.replace(settings, model=model, hook=hook)


def _task(model: HookedTransformer, settings: FeaturesSettings) -> tuple[Task | None, str]:
    """The task, or why there is none."""
    if settings.task == "none":
        return None, ""
    name = "ioi" if settings.task == "auto" else settings.task
    asked = TaskSettings(task=name, n_prompts=settings.n_prompts, seed=settings.seed)
    try:
        task = load_task(model, asked)
        baseline = task.baseline(model)
    except TaskError as error:
        if settings.task != "auto":
            raise
        return None, f"No effects on a task: {error}"
    if baseline.clean.low <= baseline.corrupted.high and settings.task == "auto":
        return None, f"No effects on a task: {model.cfg.model_name} does not do {task.name}."
    return task, ""


def _label(rule: Rule | None, words: list[str]) -> FeatureLabel | None:
    return None if rule is None else FeatureLabel(rule.text(words), rule.precision, rule.recall)


def _rows(read: ReadFeatures, effects: dict[str, list[Interval | None]]) -> list[dict[str, Any]]:
    """What results.json says of every feature."""
    found = read.chosen_on
    maximum, mean = found.maximum(), found.mean()
    rows = []
    for feature, rule in enumerate(read.rules):
        row: dict[str, Any] = {
            "feature": feature,
            "density": float(found.density[feature]),
            "maximum": float(maximum[feature]),
            "mean": float(mean[feature]),
        }
        if rule is not None:
            row["fires"] = rule.text(read.words)
            row |= {"precision": rule.precision, "recall": rule.recall}
        rows.append(row | {name: values[feature] for name, values in effects.items()})
    return rows
