"""`probe`: what can be read at every layer and position, each number beside its controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .controls import control_labels, guess, seen_types, shuffled_labels
from .data import ProbeData, collect
from .fit import Fits, Progress, fit_places
from .labels import Labels
from .prompt_set import Positions, PromptSet
from .results import ProbeResults
from .settings import ProbeSettings
from .splits import Split, split

Array = NDArray[np.float64]


def probe(
    model: HookedTransformer,
    prompts: Task | PromptSet | Int[Tensor, "prompt pos"],
    labels: str | Labels | Sequence[Any],
    *,
    site: str = "resid_post",
    layers: int | Sequence[int] | None = None,
    positions: Positions = None,
    groups: str | Sequence[str] | None = None,
    types: str | None = None,
    settings: ProbeSettings | None = None,
    progress: Progress | None = None,
) -> ProbeResults:
    """Fit a linear probe at every layer and position, and its controls.

    That a probe can read something does not say that the model does (`erasure_effect` asks that).

    Args:
        model: without hooks attached.
        prompts: a task, prompts, or token numbers, as of `collect`.
        labels: what is to be read, as of `collect`.
        site: resid_pre, resid_mid, resid_post, attn_out, mlp_out or z, as of `collect`.
        layers: which layers; None means all.
        positions: names, token indices, "each"; None means all names.
        groups: what train and test must not share, as of `collect`.
        types: at which position stands the word of the control task, as of `collect`.
        settings: method, penalties, controls, seed; None means the defaults.
        progress: called with the share that is done, between 0 and 1.

    Raises:
        ValueError: as `collect`; fewer than three groups.

    Example:
        >>> found = probe(model, ca.tasks.ioi(model, 1024), "answer", positions=["S2", "END"])
        >>> found.best()
        {'layer': '3', 'position': 'END'}
    """
    settings = settings or ProbeSettings()
    tell = progress or (lambda share: None)
    where: dict[str, Any] = {"positions": positions, "groups": groups, "types": types}
    data = collect(model, prompts, labels, site=site, layers=layers, **where)
    parts = split(data.groups, settings.fractions, settings.seed)
    embedded = collect(model, prompts, labels, site="resid_pre", layers=0, **where)
    found = fit_probes(
        data, settings, parts=parts, embeddings=embedded, progress=lambda share: tell(0.7 * share)
    )
    scores = []
    for i in range(settings.n_random_models):
        fresh = model.fresh(settings.seed + i)
        one = collect(fresh, prompts, labels, site=site, layers=layers, **where)
        scores.append(_of_labels(one, parts, settings))
        tell(0.7 + 0.3 * (i + 1) / settings.n_random_models)
    tell(1.0)
    if not scores:
        return found
    controls = {**found.controls, "random weights": np.mean(scores, axis=0)}
    return dataclasses.replace(found, controls=controls)


def fit_probes(
    data: ProbeData,
    settings: ProbeSettings | None = None,
    *,
    parts: Split | None = None,
    embeddings: ProbeData | None = None,
    progress: Progress | None = None,
) -> ProbeResults:
    """Fit a probe at every place of data that is there, with the controls that need no model.

    Args:
        data: activations, labels and groups.
        settings: method, penalties, controls, seed.
        parts: train, validation and test prompts; None splits by groups and the seed.
        embeddings: the same prompts before layer 0, at the same positions.
        progress: called with the share that is done.

    Raises:
        ValueError: fewer than three groups.

    Example:
        >>> fit_probes(collect(model, task, "order"), ProbeSettings(method="ridge"))
    """
    settings = settings or ProbeSettings()
    if parts is None:
        parts = split(data.groups, settings.fractions, settings.seed)
    shape = tuple(len(axis.labels) for axis in data.axes)
    x, n_classes = data.activations.flatten(0, len(shape) - 1), len(data.labels.classes)
    columns = _columns(data, settings)
    fits = fit_places(x, columns, n_classes, parts, settings, progress)
    score = fits.score.reshape(*shape, *fits.score.shape[1:])  # [*axes, column, prompt]
    n = settings.n_controls
    controls = {
        "control task": score[..., 1 : 1 + n, :].mean(-2),
        "majority": np.broadcast_to(guess(data.labels, parts), (*shape, len(parts.test))),
    }
    if settings.n_shuffles:
        controls["shuffled labels"] = score[..., 1 + n :, :].mean(-2)
    if embeddings is not None:
        of_position = _of_labels(embeddings, parts, settings)[0]  # [position, prompt]
        controls["embeddings"] = np.broadcast_to(of_position, (*shape, len(parts.test)))
    return ProbeResults(
        site=data.site,
        axes=data.axes,
        label=data.labels.name,
        classes=data.labels.classes,
        method=settings.method_for(n_classes),
        score=score[..., 0, :],
        predicted=fits.test[:, 0].reshape(*shape, -1),
        target=data.labels.values[parts.test].astype(np.float64),
        groups=tuple(data.groups[i] for i in parts.test),
        controls=controls,
        shuffled=score[..., 1 + n :, :].mean(-1),
        validation=fits.validation[:, 0].reshape(shape),
        penalty=fits.penalty[:, 0].reshape(shape),
        seen_types=seen_types(data.word_types, parts),
        weights=fits.weights.unflatten(0, shape),
        bias=fits.bias.unflatten(0, shape),
        curves=_curves(fits, shape),
        settings=_described(data, settings, parts, fits),
    )


def _columns(data: ProbeData, settings: ProbeSettings) -> NDArray[Any]:
    """The real labels, the control tasks, the shuffled labels: [place, column, prompt]."""
    n_positions = len(data.axes[-1].labels)
    seeds = [settings.seed + i for i in range(max(settings.n_controls, settings.n_shuffles))]
    shuffled = [
        shuffled_labels(data.labels, data.groups, seed).values
        for seed in seeds[: settings.n_shuffles]
    ]
    of_position = []
    for position in range(n_positions):
        controls = [
            control_labels(data.labels, data.word_types[position], seed).values
            for seed in seeds[: settings.n_controls]
        ]
        of_position.append(np.stack([data.labels.values, *controls, *shuffled]))
    n_rows = int(np.prod([len(axis.labels) for axis in data.axes[:-1]]))
    columns = np.stack(of_position)
    return columns[np.tile(np.arange(n_positions), n_rows)]


def _of_labels(
    data: ProbeData, parts: Split, settings: ProbeSettings
) -> Float[Array, "*axes prompt"]:
    """The score of the real labels alone."""
    shape = tuple(len(axis.labels) for axis in data.axes)
    x = data.activations.flatten(0, len(shape) - 1)
    values = data.labels.values[None, None].repeat(len(x), axis=0)
    fits = fit_places(x, values, len(data.labels.classes), parts, settings)
    return fits.score[:, 0].reshape(*shape, -1)


def _curves(fits: Fits, shape: tuple[int, ...]) -> dict[str, Array]:
    if fits.curves is None:
        return {}
    return {
        name: np.asarray(of[:, 0].double().cpu().numpy()).reshape(*shape, -1)
        for name, of in vars(fits.curves).items()
        if isinstance(of, torch.Tensor)
    }


def _unseen(labels: Labels, parts: Split) -> float:
    """The share of test prompts whose class no train prompt has: they cannot be right."""
    if labels.is_numeric:
        return 0.0
    return float((~np.isin(labels.values[parts.test], labels.values[parts.train])).mean())


def _described(
    data: ProbeData, settings: ProbeSettings, parts: Split, fits: Fits
) -> dict[str, Any]:
    asked = dataclasses.asdict(settings)
    sizes = {f"n_{name}": len(part) for name, part in vars(parts).items()}
    return {
        **data.settings,
        **{key: list(v) if isinstance(v, tuple) else v for key, v in asked.items()},
        **sizes,
        "n_unconverged": fits.n_unconverged,
        "unseen_labels": _unseen(data.labels, parts),
    }
