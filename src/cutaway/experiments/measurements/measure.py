"""From settings to what is measured: one call of the library for each command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...attribution.edges import attribute_edges
from ...attribution.nodes import attribute
from ...model.transformer import HookedTransformer
from ...patching.edges import sweep_edges
from ...patching.effects import Effects
from ...patching.measure import Progress, TellMemory
from ...patching.paths import Together, sweep_paths
from ...patching.sweep import sweep
from ...patching.targets import Positions
from ...patching.values import Resample, Value
from ...tasks.task import Task
from .settings import (
    AttributeSettings,
    EdgesSettings,
    MeasurementSettings,
    PatchSettings,
    PathsSettings,
)

Run = Callable[[Progress, TellMemory], Effects]


@dataclass(frozen=True)
class Plan:
    """What a command will do, with everything that it needs."""

    measure: Run
    """What the command is about."""
    exact: Run | None = None
    """What an estimate is compared with."""


def plan(
    settings: MeasurementSettings, model: HookedTransformer, task: Task, resume: Path | None = None
) -> Plan:
    """What the settings ask for.

    Args:
        settings: of one of the four commands.
        model: without hooks.
        task: its prompts.
        resume: of edges: the file that keeps what is done.

    Raises:
        ValueError: a name that is none.
    """
    if isinstance(settings, PatchSettings):
        return _patch(settings, model, task)
    if isinstance(settings, PathsSettings):
        return _paths(settings, model, task)
    if isinstance(settings, EdgesSettings):
        return _edges(settings, model, task, resume)
    if isinstance(settings, AttributeSettings):
        return _attribute(settings, model, task)
    raise TypeError(f"{type(settings).__name__} belongs to no command.")


def _patch(settings: PatchSettings, model: HookedTransformer, task: Task) -> Plan:
    value: str | Value = settings.value
    if value == "resample":
        value = Resample(seed=settings.seed)
    layers = list(settings.layers) or None

    def measure(progress: Progress, tell_memory: TellMemory) -> Effects:
        return sweep(
            model,
            task,
            settings.site,
            value,
            positions=places(settings.positions),
            keys=places(settings.keys),
            mode=settings.mode,
            layers=layers,
            neurons_per_group=settings.neurons_per_group,
            max_memory=settings.max_memory,
            progress=progress,
            tell_memory=tell_memory,
        )

    return Plan(measure)


def _paths(settings: PathsSettings, model: HookedTransformer, task: Task) -> Plan:
    receivers, senders = _sets(settings.receivers), _sets(settings.senders) or None

    def measure(progress: Progress, tell_memory: TellMemory) -> Effects:
        return sweep_paths(
            model,
            task,
            receivers,
            senders,
            mlps=settings.mlps,
            positions="all" if not settings.positions else places(settings.positions),
            mode=settings.mode,
            max_memory=settings.max_memory,
            progress=progress,
            tell_memory=tell_memory,
        )

    return Plan(measure)


def _edges(
    settings: EdgesSettings, model: HookedTransformer, task: Task, resume: Path | None
) -> Plan:
    def measure(progress: Progress, tell_memory: TellMemory) -> Effects:
        return sweep_edges(
            model,
            task,
            list(settings.receivers) or None,
            mode=settings.mode,
            max_memory=settings.max_memory,
            progress=progress,
            tell_memory=tell_memory,
            resume=resume,
        )

    return Plan(measure)


def _attribute(settings: AttributeSettings, model: HookedTransformer, task: Task) -> Plan:
    mode, max_memory = settings.mode, settings.max_memory
    layers, positions = list(settings.layers) or None, places(settings.positions)

    def of_edges(progress: Progress, tell_memory: TellMemory) -> Effects:
        return attribute_edges(
            model,
            task,
            mode=mode,
            method=settings.method,
            steps=settings.steps,
            max_memory=max_memory,
            progress=progress,
            tell_memory=tell_memory,
        )

    def of_site(progress: Progress, tell_memory: TellMemory) -> Effects:
        return attribute(
            model,
            task,
            settings.site,
            positions=positions,
            mode=mode,
            layers=layers,
            gradient=settings.gradient,
            steps=settings.steps,
            max_memory=max_memory,
            progress=progress,
            tell_memory=tell_memory,
        )

    if not settings.exact:
        return Plan(of_edges if settings.edges else of_site)
    seed, gib = settings.seed, settings.max_memory_gib
    if settings.edges:
        exact = _edges(EdgesSettings(seed=seed, mode=mode, max_memory_gib=gib), model, task, None)
    else:
        site = PatchSettings(
            seed=seed,
            mode=mode,
            max_memory_gib=gib,
            site=settings.site,
            positions=settings.positions,
            layers=settings.layers,
        )
        exact = _patch(site, model, task)
    return Plan(of_edges if settings.edges else of_site, exact.measure)


def places(words: Sequence[str]) -> Positions:
    """Positions as `sweep` takes them, from words: "all", "each", "named", names, or numbers.

    Example:
        >>> places(["each"]), places(["S2", "END"]), places(["3"]), places([])
        ('each', ['S2', 'END'], [3], None)
    """
    if not words:
        return None
    if len(words) == 1 and words[0] in ("all", "each", "named"):
        return words[0]
    if all(word.isdecimal() for word in words):
        return [int(word) for word in words]
    mixed = [word for word in words if word.isdecimal()]
    if mixed:
        raise ValueError(f"positions are either all names or all numbers; {mixed[0]} is a number.")
    return list(words)


def _sets(entries: Sequence[str]) -> list[Together]:
    """ "9.6.q+9.9.q" as a set of two; a single name as it is."""
    return [entry.split("+") if "+" in entry else entry for entry in entries]
