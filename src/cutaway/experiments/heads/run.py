"""`run_heads`: score and name the heads of a model, and save the run with its report."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import torch

from ...findings import RunFolder
from ...heads.classify import taxonomy
from ...heads.head_classes import Taxonomy
from ...heads.random_prompts import Kind, random_prompts
from ...model.cache import get_act_name
from ...model.transformer import HookedTransformer
from ...tasks import ioi
from ...tasks.prompts import TaskError
from ...tasks.task import Task
from ...views.attention import AttentionExample
from ...views.heads_data import HeadsReportData
from ...views.heads_report import heads_report
from ...views.heads_sentences import findings
from ..opening import open_model
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from ..texts import words_of
from .settings import HeadsSettings

_SHOWN_HALF = 8  # tokens of a half in the patterns that are shown
_N_REFERENCE = 256  # prompts with other names, whose mean stands in for name movers


def run_heads(
    settings: HeadsSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Score and name every head of a model, beside random weights, and save it.

    Args:
        settings: model, prompts, controls, where to save.
        show: told how far each step is.
        tell: told when the roles of the task are left out, and why.

    Raises:
        ValueError: a model that cannot be found, or cannot have these prompts; `task="ioi"` of a
            model that does not know its words.

    Example:
        >>> finished = run_heads(HeadsSettings(model="ioi-mini"))
        >>> finished.folder / "report.html"
    """
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        task, reference, why_not = _task(model, settings)
        if why_not:
            tell(why_not)
        with steps("heads") as progress:
            found = taxonomy(
                model,
                settings.n_prompts,
                settings.half_length,
                settings.n_random,
                settings.seed,
                task=task,
                reference=reference,
                copying_draws=settings.copying_draws,
                max_memory=settings.max_memory,
                progress=progress,
            )
        with steps("patterns"):
            shown = _first_of_each(found)
            examples = _examples(model, shown, settings) if shown else ()
        data = HeadsReportData(
            taxonomy=found,
            examples=examples,
            shown=shown,
            no_roles=why_not,
            settings={**asked_for(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = findings(data)
        found.save(run.file("taxonomy.safetensors"))
        run.save_results({"summary": summary, **_numbers(found)})
        run.save_report(heads_report(data).html())
    return FinishedRun(run.path, summary)


def _task(
    model: HookedTransformer, settings: HeadsSettings
) -> tuple[Task | None, Task | None, str]:
    """(the IOI task, prompts with other names, or else a sentence that says why there is none)."""
    if settings.task == "none":
        return None, None, "Roles of a task were not asked for (--task none)."
    try:
        if model.tokenizer is None:
            raise TaskError(f"{model.cfg.model_name} has no tokenizer.")
        task = ioi(model, settings.n_task_prompts, "s2-flip", settings.seed)
        n_reference = max(_N_REFERENCE, settings.n_task_prompts)
        return task, ioi(model, n_reference, "abc", settings.seed), ""
    except TaskError as error:
        if settings.task == "ioi":
            raise
        name = model.cfg.model_name
        return None, None, f"Roles of IOI were left out: {name} cannot be asked it ({error})"


def _first_of_each(found: Taxonomy) -> tuple[tuple[str, str], ...]:
    """(head, class): the highest head of every class, each head once."""
    shown: dict[str, str] = {}
    for name in found.flags:
        heads = found.of_class(name)
        if heads:
            shown.setdefault(heads[0], name)
    return tuple(shown.items())


@torch.no_grad()
def _examples(
    model: HookedTransformer, shown: tuple[tuple[str, str], ...], settings: HeadsSettings
) -> tuple[AttentionExample, ...]:
    """Patterns of these heads, on one random prompt of every kind."""
    heads = [tuple(map(int, head.split("."))) for head, _ in shown]
    names = [get_act_name("pattern", layer) for layer in sorted({layer for layer, _ in heads})]
    fits = random_prompts(model, n_prompts=1, half_length=settings.half_length).half_length
    examples = []
    for kind in get_args(Kind):
        prompts = random_prompts(model, kind, 1, min(fits, _SHOWN_HALF), settings.seed)
        _, cache = model.run_with_cache(prompts.tokens, names_filter=names, return_type=None)
        patterns = torch.stack([cache["pattern", layer][0, head] for layer, head in heads])
        examples.append(
            AttentionExample(
                patterns.float().cpu().numpy(),
                words_of(model, prompts.tokens[0]),
                {"start of the second half": prompts.second_half.start},
                title=f"{kind} tokens",
            )
        )
    return tuple(examples)


def _numbers(found: Taxonomy) -> dict[str, Any]:
    """What results.json holds."""
    return {
        "heads": [_plain(row) for row in found.to_frame()],
        "classes": {name: found.of_class(name) for name in found.flags},
        "by_chance": found.scores.by_chance,
        "thresholds": {name: found.threshold(name) for name in found.intervals},
        "false_positives": {weights: found.false_positives(weights) for weights in found.control},
        "roles": None if found.roles is None else [_plain(row) for row in found.roles.to_frame()],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what was not measured is null."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in row.items()
    }
