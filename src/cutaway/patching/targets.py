"""At which positions a value is replaced: names and indices resolved against a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..model.config import ModelConfig
from ..tasks.task import Task
from .effects import Axis
from .site import Site

Positions = str | int | Sequence[str | int] | Sequence[str] | Sequence[int] | None


@dataclass(frozen=True)
class Targets:
    """At which positions a value is replaced: one option after the other."""

    kind: str
    labels: tuple[str, ...] | None
    """One label for each option; None where all positions are replaced together."""
    index: Int[Tensor, "option prompt"] | None
    """Token index of each option in each prompt; None where all are replaced together."""

    def __len__(self) -> int:
        return 1 if self.index is None else len(self.index)

    def together(self, n_pos: int) -> Bool[Tensor, "prompt pos"] | None:
        """All options at once: True at each of them; None where that is everywhere."""
        if self.index is None:
            return None
        mask = torch.zeros(self.index.shape[1], n_pos, dtype=torch.bool)
        return mask.scatter(1, self.index.T, True)


def choose_targets(task: Task, positions: Positions) -> Targets:
    """Resolve `positions` (see `sweep`) against a task.

    Raises:
        ValueError: a name that the task does not have, or an index outside the prompts.
    """
    if positions is None:
        positions = "named" if task.positions else "each"
    chosen: Sequence[str | int]
    if isinstance(positions, int | Integral):
        chosen = [int(positions)]
    elif not isinstance(positions, str):
        chosen = list(positions)
    elif positions == "all":
        return Targets("all", None, None)
    elif positions == "each":
        chosen = range(task.clean.shape[1])
    elif positions == "named" and not task.positions:
        raise ValueError(f"the task {task.name} has no named positions: use 'each' or 'all'.")
    else:
        chosen = list(task.positions) if positions == "named" else [positions]
    if not chosen:
        raise ValueError("the list of positions is empty.")
    index = torch.stack([position_index(task, position) for position in chosen])
    return Targets("listed", tuple(str(p) for p in chosen), index)


def position_index(task: Task, position: str | int) -> Int[Tensor, " prompt"]:
    """Token index of one named or numbered position in each prompt.

    Raises:
        ValueError: a name that the task does not have, or an index outside the prompts.
    """
    n_prompts, n_pos = task.clean.shape
    if isinstance(position, str):
        if position not in task.positions:
            known = ", ".join(task.positions) or "none"
            raise ValueError(
                f"the task {task.name} has no position {position!r}; it names {known}, and "
                "'all', 'each' and 'named' are understood."
            )
        index = task.positions[position].cpu()
        if bool(((index < 0) | (index >= n_pos)).any()):
            raise ValueError(
                f"the task {task.name} has {position} outside the prompts' {n_pos} tokens."
            )
        return index
    if not isinstance(position, int | Integral):
        raise ValueError(f"the position {position!r} is neither a name nor a whole number.")
    if not 0 <= position < n_pos:
        raise ValueError(f"position {position} is outside the prompts' {n_pos} tokens.")
    return torch.full((n_prompts,), int(position))


def axes_of(
    cfg: ModelConfig,
    site: Site,
    layers: Sequence[int],
    targets: Targets,
    keys: Targets | None = None,
    group: int = 1,
) -> tuple[Axis, ...]:
    """The axes of results over a site's layers, units (in groups of neighbours) and targets."""
    axes = [Axis("layer", tuple(map(str, layers)))] if site.has_layers() else []
    unit_axis = site.unit_axis(cfg)
    if unit_axis is not None:
        firsts = range(0, site.units(cfg), group)
        labels = (str(at) if group == 1 else f"{at}-{at + group - 1}" for at in firsts)
        axes.append(Axis(unit_axis, tuple(labels)))
    if targets.labels is not None:
        axes.append(Axis("position", targets.labels))
    if keys is not None and keys.labels is not None:
        axes.append(Axis("key", keys.labels))
    return tuple(axes)


def windows(
    starts: Int[Tensor, " row"], lengths: Int[Tensor, " row"], full: float
) -> Iterator[tuple[int, Int[Tensor, " member"]]]:
    """(start, members) of each group of cones that share a window, the earliest first.

    Cones that start at different positions are merged until a group has `full` positions.
    """
    members: list[Tensor] = []
    size = start = 0
    for value in starts.unique().tolist():
        here = (starts == value).nonzero().flatten()
        start = start if members else value
        members.append(here)
        size += int(lengths[here].sum())
        if size >= full:
            yield start, torch.cat(members)
            members, size = [], 0
    if members:
        yield start, torch.cat(members)
