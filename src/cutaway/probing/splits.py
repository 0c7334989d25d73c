"""Prompts dealt out to train, validation and test by groups, so that no two parts share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Which prompts are fitted on, chosen by, and tested on."""

    train: NDArray[np.int64]
    """Indices of prompts, ascending."""
    validation: NDArray[np.int64]
    """For the choice of penalty, place, and when to stop."""
    test: NDArray[np.int64]
    """Looked at once, for the numbers that are reported."""


def split(
    groups: Sequence[str],
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> Split:
    """Deal out prompts by whole groups.

    A probe that is tested on sentences, or pairs of names, that it was fitted on may have learnt
    those. Groups go, in random order and the prompts of each together, to the part that is
    furthest below its share.

    Args:
        groups: [prompt], the group of each.
        fractions: of train, validation and test; they sum to 1.
        seed: of the order.

    Raises:
        ValueError: fractions that are not positive or do not sum to 1, fewer than three groups.

    Example:
        >>> parts = split(["a", "a", "b", "b", "c", "c"], (0.4, 0.3, 0.3))
        >>> len(parts.train), len(parts.validation), len(parts.test)
        (2, 2, 2)
    """
    if len(fractions) != len(PARTS) or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions={tuple(fractions)} must be three positive shares of train, validation and "
            "test that sum to 1."
        )
    names = sorted(set(groups))
    if len(names) < len(PARTS):
        raise ValueError(
            f"there {'is 1 group' if len(names) == 1 else f'are {len(names)} groups'} of prompts, "
            "and train, validation and test need one each: group the prompts in another way."
        )
    number = {name: i for i, name in enumerate(names)}
    of_prompt = np.array([number[group] for group in groups])
    sizes = np.bincount(of_prompt, minlength=len(names))
    part_of_group = np.empty(len(names), dtype=np.int64)
    missing = np.asarray(fractions) * len(of_prompt)
    order = np.random.default_rng(seed).permutation(len(names))
    for turn, group in enumerate(order):
        empty = [part for part in range(len(PARTS)) if part not in part_of_group[order[:turn]]]
        # The last groups go to parts that would be left without any.
        open_ = empty if len(order) - turn <= len(empty) else range(len(PARTS))
        part = max(open_, key=lambda one: missing[one])
        part_of_group[group] = part
        missing[part] -= sizes[group]
    parts = [np.flatnonzero(part_of_group[of_prompt] == part) for part in range(len(PARTS))]
    return Split(*parts)
