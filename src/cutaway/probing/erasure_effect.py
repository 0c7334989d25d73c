"""Erasure in the running model: is what a probe reads what the model uses?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .. import evidence
from ..model.transformer import HookedTransformer
from ..patching.edits import Intervention
from ..patching.effects import Axis, Effects
from ..patching.interventions import intervene
from ..patching.measure import Progress
from ..tasks.task import Task
from .controls import control_labels
from .data import ProbeData
from .erasure import Eraser, erase
from .places import place_at
from .splits import Split

Floats = NDArray[np.float64]
ERASED, CONTROL = "concept", "control task"


def erasure_effect(
    model: HookedTransformer,
    task: Task,
    eraser: Eraser,
    layer: int,
    positions: str | int | Sequence[str | int] | None = None,
    *,
    site: str = "resid_post",
    n_random: int = 10,
    controls: Mapping[str, Eraser] | None = None,
    seed: int = 0,
    max_memory: int | None = None,
) -> Effects:
    """Erase a concept in the clean run, and measure what is left of the behaviour.

    The effect is (clean - erased) / (clean - corrupted): 0, the model does not miss the concept
    there; 1, it does what it does on the corrupted prompts. Where those have the opposite answer
    (s2-flip of IOI), 0.5 is a model without a preference.

    Args:
        model: without hooks attached.
        task: prompts that the eraser was not made from.
        eraser: of `erase`, from activations of the same site, layer and position.
        layer: where it acts.
        positions: names or indices, all together; None means every position.
        site: what it acts on.
        n_random: as many dimensions drawn at random and erased: the control.
        controls: further erasers by name, such as one of a control task.
        seed: of the draws.
        max_memory: bytes that may be used.

    Returns:
        Effects with the axis "erased": "concept", the further controls, "random 0", ...

    Raises:
        ValueError: a place that the model does not have, or an eraser of another width.

    Example:
        >>> effects = erasure_effect(model, fresh, eraser, layer=3, positions="END")
        >>> effects.normalised()[0], effects.normalised()[1:].mean()
    """
    erasers = {ERASED: eraser, **(controls or {})}
    erasers |= {f"random {i}": eraser.random(seed + i) for i in range(n_random)}
    runs = {
        name: [Intervention(site, layer, one.value(), positions=positions)]
        for name, one in erasers.items()
    }
    found = intervene(model, task, runs, mode="noising", max_memory=max_memory)
    return dataclasses.replace(
        found,
        site=site,
        axes=(Axis("erased", tuple(erasers)),),
        settings={
            **found.settings,
            "concept": eraser.concept,
            "rank": eraser.rank,
            "layer": layer,
            "positions": positions if positions is None else str(positions),
        },
    )


@dataclasses.dataclass(frozen=True, eq=False)
class ErasureMap:
    """The effect of erasing one label at every place by itself, and of the controls there."""

    effects: Effects
    """Axes layer, position and "erased"; `erasure_effect` says how they are normalised."""
    rank: NDArray[np.int64]
    """[layer, position], dimensions that were taken out."""
    share: Floats
    """[layer, position], share of the activations' variance that was taken out."""
    groups: tuple[str, ...]
    """Of the test prompts."""

    @property
    def concept(self) -> Floats:
        """[layer, position], normalised effect of the concept."""
        return np.asarray(self.effects.normalised()[..., 0])

    @property
    def random(self) -> Floats:
        """[layer, position, draw], normalised effects of random subspaces of the same rank."""
        labels = self.effects.axes[-1].labels
        drawn = [i for i, label in enumerate(labels) if label.startswith("random ")]
        return np.asarray(self.effects.normalised()[..., drawn])

    def beyond_random(self) -> tuple[Floats, Floats, Floats]:
        """(effect, low, high) of the concept minus the mean of the random subspaces, [layer,
        position], in shares of clean minus corrupted: what the model misses beyond the loss of so
        many dimensions. Groups of prompts are resampled."""
        effects = self.effects
        change = effects.per_prompt  # [layer, position, erased, prompt]
        names = effects.axes[-1].labels
        drawn = [i for i, name in enumerate(names) if name.startswith("random ")]
        difference = change[..., 0, :] - change[..., drawn, :].mean(-2)
        gap = effects.clean - effects.corrupted
        _, of_prompt = np.unique(np.asarray(self.groups), return_inverse=True)
        member = np.eye(int(of_prompt.max()) + 1)[of_prompt.ravel()]  # [prompt, group]
        return evidence.bootstrap_ratio(difference @ member, gap @ member)

    def right(self) -> Floats:
        """[layer, position], share of prompts that are still answered right without the concept.

        Right is a metric above 0, as of logit differences.
        """
        return np.asarray((self.effects.patched[..., 0, :] > 0).mean(-1))


def erasure_map(
    model: HookedTransformer,
    task: Task,
    data: ProbeData,
    parts: Split,
    *,
    n_random: int = 5,
    seed: int = 0,
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> ErasureMap:
    """`erasure_effect` at every place of data by itself.

    Erasers are made from train and validation prompts; the effect is measured on the test prompts.

    Args:
        model: without hooks attached.
        task: the clean prompts that `data` was collected from, in their order.
        data: activations of a site of the stream (every layer and position).
        parts: which prompts are for what.
        n_random: random subspaces at every place.
        seed: of the draws and of the control task.
        max_memory: bytes that may be used.
        progress: called with the share that is done.

    Raises:
        ValueError: data of other prompts, or of heads.

    Example:
        >>> found = erasure_map(model, task, data, split(data.groups))
        >>> found.concept - found.random.mean(-1)
    """
    if len(data) != len(task) or [axis.name for axis in data.axes] != ["layer", "position"]:
        raise ValueError(
            f"data of {data.site} over {', '.join(axis.name for axis in data.axes)} and "
            f"{len(data)} prompts do not fit the {len(task)} clean prompts of the task: collect a "
            "site of the stream, with a label of clean prompts."
        )
    fitted = np.concatenate([parts.train, parts.validation])
    names = [ERASED, CONTROL, *(f"random {i}" for i in range(n_random))]
    runs: dict[str, list[Intervention]] = {}
    shape = tuple(len(axis.labels) for axis in data.axes)
    rank, share = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    for index in np.ndindex(*shape):
        place = place_at(data.axes, index)
        of_place = _erasers(data, fitted, index, n_random, seed)
        rank[index], share[index] = of_place[0].rank, of_place[0].share
        for name, eraser in zip(names, of_place, strict=True):
            where = place["position"]
            position = where if where in task.positions else int(where)
            runs[f"{index} {name}"] = [
                Intervention(data.site, int(place["layer"]), eraser.value(), positions=position)
            ]
    found = intervene(
        model,
        task.subset(parts.test.tolist()),
        runs,
        mode="noising",
        max_memory=max_memory,
        progress=progress,
    )
    effects = Effects(
        site=data.site,
        mode="noising",
        axes=(*data.axes, Axis("erased", tuple(names))),
        patched=found.patched.reshape(*shape, len(names), -1),
        clean=found.clean,
        corrupted=found.corrupted,
        metric=found.metric,
        settings={**data.settings, "concept": data.labels.name, "n_random": n_random, "seed": seed},
    )
    return ErasureMap(effects, rank, share, tuple(data.groups[i] for i in parts.test))


def _erasers(
    data: ProbeData,
    fitted: NDArray[np.int64],
    index: tuple[int, ...],
    n_random: int,
    seed: int,
) -> list[Eraser]:
    """The concept's, the control task's, and random ones of the concept's rank."""
    x = data.activations[index][torch.from_numpy(fitted).to(data.activations.device)]
    eraser = erase(x, data.labels.subset(fitted))
    control = control_labels(data.labels, data.word_types[index[-1]], seed)
    return [
        eraser,
        erase(x, control.subset(fitted)),
        *(eraser.random(seed + i) for i in range(n_random)),
    ]
