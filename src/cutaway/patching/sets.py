"""Sweeps over sets of heads: pairs (who backs up whom), and one left out of a circuit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import evidence
from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .ablation import Head, knock_outs, parse_heads
from .effects import Axis, Effects, Mode
from .interventions import run_cases
from .measure import Progress
from .sites import get_site
from .values import Value, as_value

Floats = NDArray[np.floating[Any]]


def sweep_pairs(
    model: HookedTransformer,
    task: Task,
    first: Sequence[Head | str] | None = None,
    second: Sequence[Head | str] | None = None,
    value: str | Value = "mean",
    *,
    site: str = "z",
    mode: Mode = "noising",
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> Effects:
    """Every head of `first` replaced together with every head of `second`.

    Where both are the same head, it is replaced alone. What the pair does beyond its members is
    `interaction`: heads that back each other up do more together than the sum of both alone
    (Wang et al. 2022; McGrath et al. 2023, "The Hydra Effect").

    Args:
        model: without hooks attached.
        task: prompt pairs and metric.
        first, second: heads, as "9.6" or (9, 6); None means all for `first`, and the same as
            `first` for `second`.
        value: what is put in place, as in `sweep`.
        site: a site of heads that every query head has, as "z".
        mode: "noising" intervenes on the clean run, "denoising" on the corrupted one.

    Returns:
        Effects with the axes "first" and "second".

    Example:
        >>> pairs = sweep_pairs(model, task, ["9.9", "10.0", "9.6"])
        >>> effect, low, high = interaction(pairs)
    """
    cfg, put = model.cfg, as_value(value)
    _check_heads_site(model, site)
    everywhere = [(layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]
    rows = parse_heads(model, everywhere if first is None else first)
    columns = rows if second is None else parse_heads(model, second)
    if not rows or not columns:
        raise ValueError("the list of heads is empty.")
    # Each set once: {A, B} is {B, A}, and {A, A} is {A}.
    pairs = [frozenset(pair) for pair in itertools.product(rows, columns)]
    sets = list(dict.fromkeys(pairs))
    cases = [knock_outs(sorted(heads), put, site) for heads in sets]
    patched, measurement = run_cases(model, task, cases, mode, max_memory, progress)
    number = {heads: i for i, heads in enumerate(sets)}
    shape = (len(rows), len(columns), len(task))
    return Effects(
        site=site,
        axes=(Axis("first", _names(rows)), Axis("second", _names(columns))),
        patched=patched[[number[pair] for pair in pairs]].numpy().reshape(shape),
        settings={**measurement.settings(), "value": put.name},
        **measurement.results(),
    )


def interaction(
    pairs: Effects, level: float = 0.95, seed: int = 0
) -> tuple[Floats, Floats, Floats]:
    """(effect, low, high) of each pair beyond the sum of its members' own: [first, second].

    Normalised like any effect; 0 on the diagonal. With "noising", positive: each can do the
    other's work, so that only losing both hurts (backup). Negative: both do the same step of one
    computation, which breaks once.

    Raises:
        ValueError: not the result of `sweep_pairs` over one list of heads, so that the effect of
            each head alone is not known.
    """
    names = [axis.labels for axis in pairs.axes]
    if [axis.name for axis in pairs.axes] != ["first", "second"] or names[0] != names[1]:
        raise ValueError(
            "the interaction needs each head's own effect: give sweep_pairs one list of heads."
        )
    both = pairs.per_prompt  # [first, second, prompt]
    alone = np.einsum("iip->ip", both)
    beyond = both - alone[:, None] - alone[None]
    diagonal = np.arange(len(alone))
    beyond[diagonal, diagonal] = 0.0
    return evidence.bootstrap_ratio(beyond, pairs.clean - pairs.corrupted, level=level, seed=seed)


def leave_one_out(
    model: HookedTransformer,
    task: Task,
    heads: Sequence[Head | str],
    value: str | Value = "mean",
    *,
    site: str = "z",
    mode: Mode = "noising",
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> Effects:
    """A circuit alone, and again without each of its heads: what does it lose?

    All heads outside the circuit are replaced in every run; MLPs stay.

    Args:
        heads: the circuit, as "9.6" or (9, 6).
        value, site, mode: as in `sweep_pairs`.

    Returns:
        Effects with the axis "left out", whose first entry, "none", is the whole circuit.

    Raises:
        ValueError: no heads, or one that the model does not have.
    """
    cfg, put = model.cfg, as_value(value)
    _check_heads_site(model, site)
    circuit = parse_heads(model, heads)
    if not circuit:
        raise ValueError("the list of heads is empty.")
    outside = [
        (layer, head)
        for layer in range(cfg.n_layers)
        for head in range(cfg.n_heads)
        if (layer, head) not in circuit
    ]
    sets = [outside, *([*outside, head] for head in circuit)]
    cases = [knock_outs(sorted(one), put, site) for one in sets]
    patched, measurement = run_cases(model, task, cases, mode, max_memory, progress)
    return Effects(
        site=site,
        axes=(Axis("left out", ("none", *_names(circuit))),),
        patched=patched.numpy(),
        settings={**measurement.settings(), "value": put.name, "circuit": list(_names(circuit))},
        **measurement.results(),
    )


def _check_heads_site(model: HookedTransformer, site: str) -> None:
    unit = get_site(site, model.cfg).unit_axis(model.cfg)
    if unit != "head":
        raise ValueError(
            f"site={site!r} has {'no parts' if unit is None else unit + 's'}: sets are of heads, "
            "at a site such as z, q or pattern."
        )


def _names(heads: Sequence[Head]) -> tuple[str, ...]:
    return tuple(f"{layer}.{head}" for layer, head in heads)
