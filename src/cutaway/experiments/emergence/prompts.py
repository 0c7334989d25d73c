"""What every checkpoint of a seed is measured on: the same all along, others for each seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ...training.config import DataSettings
from ...training.name_pairs import NamePairs, Prompts
from ...training.source import Source

N_ROWS = 200  # held-out sequences
OLSSON = (50 / 512, 500 / 512)  # where Olsson et al. (2022) read the loss, as shares of the context
WINDOW = 3  # tokens around each; a pair that comes again is as long (A, B, stop)
_PROMPTS, _PROBED = 1, 2  # streams


@dataclass(frozen=True, eq=False)
class Measured:
    """Prompts and sequences of one seed."""

    prompts: Prompts
    """A ... B ... A, where B is to be said."""
    probed: Prompts
    """More of them, for probes."""
    seconds: Int[Tensor, "prompt pair"]
    """The B of every pair of each prompt."""
    second_places: Int[Tensor, " pair"]
    """Where they stand, the same in all prompts."""
    another: Int[Tensor, " probed"]
    """The B of another pair of each probed prompt: the control of what probes read."""
    rows: Int[Tensor, "row pos"]
    """Held-out sequences like those of training, one token longer than the context."""
    again: Bool[Tensor, "row pos"]
    """B of a pair that comes again: it can be known."""
    first: Bool[Tensor, "row pos"]
    """The same names where they stand the first time: they cannot."""
    early: range
    """Where the in-context score reads the early loss: tokens, BOS being 0."""
    late: range
    """Where it reads the late one."""
    names: tuple[int, ...]
    """The tokens that are names."""


def measured_on(
    data: DataSettings, source: Source, n_ctx: int, n_prompts: int, n_probed: int, seed: int
) -> Measured:
    """Draw them.

    Args:
        data: of the configuration.
        source: opened; its held-out sequences are used.
        n_ctx: the model's context.
        n_prompts, n_probed: how many.
        seed: of the prompts.
    """
    pairs = NamePairs(data.n_names, data.pairs, data.gap)
    prompts = pairs.prompts(n_prompts, seed=1000 * seed + _PROMPTS)
    probed = pairs.prompts(n_probed, seed=1000 * seed + _PROBED)
    rows = source.held_out[:N_ROWS]
    assert source.known is not None
    again = source.known[: len(rows)]
    n = source.tokenizer.vocab_size
    return Measured(
        prompts=prompts,
        probed=probed,
        seconds=prompts.tokens[:, _second_places(pairs)],
        second_places=_second_places(pairs),
        another=_another(probed, pairs),
        rows=rows,
        again=again,
        first=_first_times(rows, again),
        early=_window(round(OLSSON[0] * n_ctx), n_ctx),
        late=_window(round(OLSSON[1] * n_ctx), n_ctx),
        names=tuple(range(n - data.n_names, n)),
    )


def _window(centre: int, n_ctx: int) -> range:
    """Predicted tokens around a place, within 1 (after BOS) and n_ctx."""
    start = min(max(1, centre - WINDOW // 2), n_ctx + 1 - WINDOW)
    return range(start, start + WINDOW)


def _second_places(pairs: NamePairs) -> Int[Tensor, " pair"]:
    """Where the B of every pair stands; the words between are as many as there can be."""
    width = 3 + pairs.gap[1]
    return torch.arange(pairs.pairs[1]) * width + width - 1


def _another(prompts: Prompts, pairs: NamePairs) -> Int[Tensor, " probed"]:
    """The B of the pair after the one that is asked for, the first one after the last."""
    asked = (prompts.at_a - 1) // (3 + pairs.gap[1])
    seconds = prompts.tokens[:, _second_places(pairs)]
    return seconds.gather(1, ((asked + 1) % pairs.pairs[1])[:, None])[:, 0]


def _first_times(rows: Int[Tensor, "row pos"], again: Bool[Tensor, "row pos"]) -> Tensor:
    """Where the names that come again stand the first time."""
    tokens, marks = rows.numpy(), again.numpy()
    found = np.zeros(tokens.shape, dtype=bool)
    for row, known, mark in zip(tokens, marks, found, strict=True):
        for token in set(row[known].tolist()):
            mark[int(np.flatnonzero(row == token)[0])] = True
    return torch.from_numpy(found)
