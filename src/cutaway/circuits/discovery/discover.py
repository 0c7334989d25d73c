"""`discover`: a method by its name, its scores, and the circuit that they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...evidence import LEAST_EFFECT
from ...model.transformer import HookedTransformer
from ...patching.measure import Progress, check_no_hooks
from ...tasks.task import Task
from ..circuit import Circuit, CircuitError
from ..scores import EdgeScores
from ..selection import Selection, above, strongest
from ..wiring import Wiring
from .acdc import ACDCSettings, acdc
from .edge_attribution import EAPIGSettings, EAPSettings, eap, eap_ig
from .edge_masks import EdgeMaskSettings, edge_masks
from .exact_edges import ExactEdgesSettings, exact_edges
from .exact_nodes import ExactNodesSettings, exact_nodes
from .random_edges import RandomSettings, random_edges
from .settings import DiscoverySettings, no_progress


@dataclass(frozen=True)
class Method:
    """One way to look for a circuit."""

    name: str
    summary: str
    settings: type[DiscoverySettings]
    score: Callable[..., EdgeScores]
    """(model, task, settings, progress) -> EdgeScores"""


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("exact-edges", "every edge patched by itself", ExactEdgesSettings, exact_edges),
        Method(
            "exact-nodes", "every head and MLP patched by itself", ExactNodesSettings, exact_nodes
        ),
        Method("acdc", "edges taken out one after the other", ACDCSettings, acdc),
        Method("eap", "the gradient in one run", EAPSettings, eap),
        Method("eap-ig", "gradients between the two runs", EAPIGSettings, eap_ig),
        Method("edge-masks", "a gate learned for every edge", EdgeMaskSettings, edge_masks),
        Method("random", "drawn: the control", RandomSettings, random_edges),
    )
}


def discover(
    model: HookedTransformer,
    task: Task,
    method: str = "exact-edges",
    *,
    progress: Progress = no_progress,
    **settings: Any,
) -> Circuit:
    """Look for the circuit of a task.

    Args:
        model: without hooks attached.
        task: prompt pairs and metric.
        method: a key of `METHODS`: exact-edges, exact-nodes, acdc, eap, eap-ig, edge-masks, random.
        progress: called with the share that is done.
        settings: `n_edges` or `threshold`, and the method's own (see its settings class).

    Returns:
        A circuit all of whose edges lie on some way from the embedding to the logits. It has the
        size that was asked for, or `notes` say why not.

    Raises:
        ValueError: an unknown method or setting; a task on which no effect can be expressed.

    Example:
        >>> circuit = ca.circuits.discover(model, task, "eap-ig", n_edges=40)
        >>> print(circuit)
    """
    chosen = parse_settings(method, settings)
    return circuit_of(model, task, score(model, task, method, chosen, progress=progress), chosen)


def score(
    model: HookedTransformer,
    task: Task,
    method: str = "exact-edges",
    settings: DiscoverySettings | None = None,
    *,
    progress: Progress = no_progress,
) -> EdgeScores:
    """What a method says of every edge, before any is chosen.

    Raises:
        ValueError: an unknown method, settings of another one, a task of fewer than two prompts.
    """
    check_no_hooks(model)
    known = _method(method)
    given = known.settings() if settings is None else settings
    if not isinstance(given, known.settings):
        raise CircuitError(f"{type(given).__name__} are not settings of {method!r}.")
    if len(task) < 2:
        raise CircuitError(
            f"the task {task.name} has {len(task)} prompt: a circuit found on one prompt has no "
            "interval, and no second prompt to hold on; give at least 2."
        )
    return known.score(model, task, given, progress)


def circuit_of(
    model: HookedTransformer, task: Task, scores: EdgeScores, settings: DiscoverySettings
) -> Circuit:
    """The circuit that the scores make at the size that the settings ask for."""
    wiring = Wiring(model.cfg)
    chosen = _selection(wiring, scores, settings)
    named = dict(zip(wiring.graph.edge_names, scores.values.tolist(), strict=True))
    edges = wiring.names(chosen.matrix)
    return Circuit.of(
        model,
        edges,
        effects={name: named[name] for name in edges},
        task=task.name,
        method=scores.method,
        settings={**settings.described(), "unit": scores.unit, "n_prompts": len(task)},
        notes=(*scores.notes, *chosen.notes),
    )


def _selection(wiring: Wiring, scores: EdgeScores, settings: DiscoverySettings) -> Selection:
    if scores.kept is not None and settings.threshold is None:
        n_kept = int(scores.kept.sum())
        if settings.n_edges in (None, n_kept):
            return Selection(scores.kept)
        chosen = strongest(wiring, scores.values, settings.n_edges or n_kept)
        return Selection(
            chosen.matrix,
            (
                *chosen.notes,
                f"Ranked by {scores.method}'s scores; the circuit that it keeps by itself has "
                f"{n_kept} edges.",
            ),
        )
    if settings.n_edges is not None:
        return strongest(wiring, scores.values, settings.n_edges)
    least = LEAST_EFFECT if settings.threshold is None else settings.threshold
    return above(wiring, scores.values, least)


def parse_settings(method: str, given: dict[str, Any]) -> DiscoverySettings:
    """The settings of a method from its fields' names.

    Raises:
        CircuitError: an unknown method, or a setting that it does not have.
    """
    kind = _method(method).settings
    known = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in known:
            raise CircuitError(f"{method} has no setting {name!r}; it has {', '.join(known)}.")
    return kind(**given)


def _method(name: str) -> Method:
    if name not in METHODS:
        raise CircuitError(f"there is no method {name!r}; there are {', '.join(METHODS)}.")
    return METHODS[name]
