"""At which positions a value is replaced: names and indices resolved against a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ..tasks.task import Task

Positions = str | Sequence[str] | Sequence[int] | None


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


def choose_targets(task: Task, positions: Positions) -> Targets:
    """Resolve `positions` (see `sweep`) against a task.

    Raises:
        ValueError: a name that the task does not have, or an index outside the prompts.
    """
    if positions is None:
        positions = "named" if task.positions else "each"
    chosen: Sequence[str | int]
    if not isinstance(positions, str):
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
        return task.positions[position].cpu()
    if not 0 <= position < n_pos:
        raise ValueError(f"position {position} is outside the prompts' {n_pos} tokens.")
    return torch.full((n_prompts,), int(position))


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
