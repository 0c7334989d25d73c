"""`run_probe`: fit probes and their controls, erase what they read, and save the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...probing.data import ProbeData, collect
from ...probing.erasure_effect import ErasureMap, erasure_map
from ...probing.labels import Labels, has_both, labels_of_task
from ...probing.probe import probe
from ...probing.prompt_set import PromptSet
from ...probing.settings import ProbeSettings
from ...probing.splits import split
from ...tasks.ioi import ioi
from ...tasks.registry import TASKS
from ...tasks.task import Baseline, Task
from ...views.probe_data import ProbeReportData
from ...views.probe_report import probe_report
from ...views.probe_sentences import findings, warnings
from ..opening import open_model
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from ..tasks import check_task, labels_of, load_task
from .settings import ProbeStudySettings

_PROMPTS = 1024  # of a task by name: probes have many weights, and forward passes are cheap
_FILES = {"probes": "probes.safetensors", "erasure": "effects/erasure.safetensors"}


@dataclass(frozen=True)
class _Asked:
    """The prompts, and what is asked of them."""

    task: Task | None
    """None of texts of one's own."""
    prompts: PromptSet
    labels: Labels
    texts: tuple[str, ...]
    """What each prompt is called."""


def run_probe(
    settings: ProbeStudySettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Read a label by linear probes, erase it, and save what came out.

    Args:
        settings: the label, where to read, controls, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins: why nothing is erased.

    Raises:
        ValueError: a model, task, label, site or position that is not there; too few groups.

    Example:
        >>> finished = run_probe(ProbeStudySettings(label="order", n_prompts=256))
        >>> finished.folder / "report.html"
    """
    chosen = _of_probes(settings)
    if settings.texts is None:
        check_task(settings)
    elif not settings.texts.is_file():
        raise ValueError(f"there is no file {settings.texts} of texts.")
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        asked = _asked(model, settings)
        where = _where(settings)
        with steps("probes and controls") as progress:
            results = probe(
                model,
                asked.prompts,
                asked.labels,
                **where,
                settings=chosen,
                progress=progress,
            )
            p_values = results.p_values(settings.seed)
        reason = _why_not(settings, asked)
        erasure: tuple[ErasureMap, Baseline] | None = None
        if reason:
            tell(f"Nothing will be erased: {reason}.")
        else:
            with steps("erasure") as progress:
                data = collect(model, asked.prompts, asked.labels, **where)
                erasure = _erased(model, settings, asked, data, progress)
        report = ProbeReportData(
            model=model.cfg.model_name,
            source=asked.task.name if asked.task is not None else str(settings.texts),
            results=results,
            p_values=p_values,
            example=(asked.texts[0], _label_text(asked.labels)),
            erasure=None if erasure is None else erasure[0],
            baseline=None if erasure is None else erasure[1],
            no_erasure=reason,
            settings={**_chosen(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = _save(run, report)
    return FinishedRun(run.path, summary)


def _of_probes(settings: ProbeStudySettings) -> ProbeSettings:
    """The library's settings; they refuse what makes no sense."""
    return ProbeSettings(
        method=None if settings.method == "auto" else settings.method,
        penalties=settings.penalties,
        n_controls=settings.n_controls,
        n_shuffles=settings.n_shuffles,
        n_random_models=settings.n_random_models,
        seed=settings.seed,
    )


def _where(settings: ProbeStudySettings) -> dict[str, Any]:
    """Where to read."""
    positions: Any = list(settings.positions) or None
    if settings.positions == ("each",):
        positions = "each"
    return {
        "site": settings.site,
        "layers": list(settings.layers) or None,
        "positions": positions,
    }


def _asked(model: HookedTransformer, settings: ProbeStudySettings) -> _Asked:
    """The prompts and labels that were asked for."""
    if settings.texts is not None:
        prompts, labels = PromptSet.read(settings.texts, model)
        return _Asked(None, prompts, labels, prompts.texts)
    by_name = settings.task in TASKS
    n_prompts = _PROMPTS if settings.n_prompts is None and by_name else settings.n_prompts
    if settings.names:
        corruption: Any = TASKS["ioi"].corruption(settings.corruption)
        task = ioi(model, n_prompts or _PROMPTS, corruption, settings.seed, names=settings.names)
    else:
        task = load_task(model, dataclasses.replace(settings, n_prompts=n_prompts))
    labels = labels_of_task(task, settings.label)
    both = has_both(settings.label)
    prompts = PromptSet.of_task(task, both=both, groups=settings.groups)
    return _Asked(task, prompts, labels, labels_of(model, task))


def _why_not(settings: ProbeStudySettings, asked: _Asked) -> str:
    """Why nothing is erased; empty where it is."""
    if settings.n_erased == 0:
        return "--n-erased 0 was asked for"
    if asked.task is None:
        return "texts of one's own have no behaviour to measure"
    if has_both(settings.label):
        return f"{settings.label} is a label of clean and corrupted prompts together"
    if settings.site == "z":
        return "z is read head by head, and erasure acts on the stream"
    if any(one.lstrip("-").isdecimal() and int(one) < 0 for one in settings.positions):
        return "positions that are counted from the end cannot be intervened on: name them"
    return ""


def _erased(
    model: HookedTransformer,
    settings: ProbeStudySettings,
    asked: _Asked,
    data: ProbeData,
    progress: Callable[[float], None],
) -> tuple[ErasureMap, Baseline]:
    """The effect of erasure at every place, and the metric before, on the test prompts."""
    assert asked.task is not None
    parts = split(data.groups, _of_probes(settings).fractions, settings.seed)
    found = erasure_map(
        model,
        asked.task,
        data,
        parts,
        n_random=settings.n_erased,
        seed=settings.seed,
        max_memory=settings.max_memory,
        progress=progress,
    )
    test = asked.task.subset(parts.test.tolist())
    return found, test.baseline(model, seed=settings.seed)


def _save(run: RunFolder, data: ProbeReportData) -> tuple[str, ...]:
    """Results, effects, numbers and the report; the findings in words."""
    summary = (*findings(data), *warnings(data))
    data.results.save(run.file(_FILES["probes"]))
    numbers: dict[str, Any] = {
        "label": data.results.label,
        "classes": data.results.classes,
        "best": data.best,
        "places": data.results.to_frame(),
        "seen_types": data.results.seen_types,
        "settings": data.results.settings,
    }
    arrays = {"score": data.results.mean(), "validation": data.results.validation}
    arrays["p"] = data.p_values
    if data.erasure is not None:
        data.erasure.effects.save(run.file(_FILES["erasure"]))
        numbers["erasure"] = [
            dataclasses.asdict(data.erased(place)) for place in data.results.places()
        ]
        arrays |= {"erased": data.erasure.concept, "random": data.erasure.random}
    run.save_results({"summary": summary, **numbers})
    run.save_arrays({name: np.asarray(array) for name, array in arrays.items()})
    run.save_report(probe_report(data).html())
    return summary


def _label_text(labels: Labels) -> str:
    """The label of the first prompt."""
    value = labels.values[0]
    return labels.classes[int(value)] if labels.classes else f"{float(value):g}"


def _chosen(settings: ProbeStudySettings) -> dict[str, str]:
    """What was asked for, in the words of the command line."""
    hidden = ("out", "device", "max_memory_gib")
    return {
        name.replace("_", " "): " ".join(map(str, value))
        if isinstance(value, tuple)
        else str(value)
        for name, value in dataclasses.asdict(settings).items()
        if value not in (None, ()) and name not in hidden
    }
