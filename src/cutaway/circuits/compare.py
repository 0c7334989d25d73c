"""A found circuit beside a published one: precision, recall by class, and what chance would give.

Chance is the control. If as many heads as were found are drawn at random without replacement, the
number of published ones among them is hypergeometric; the p-value is the probability of at least
as many as were found. Important heads gather in certain layers, and to have found those layers is
less than to have found the heads: so a second, stricter control draws in each layer as many heads
as were found in that layer. Its number is a sum of one hypergeometric for each layer.

Names in, numbers out: nothing here knows a model or a task.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval, proportion
from .published import Nodes, PublishedCircuit, PublishedModel

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Chance:
    """How many published nodes a random choice would hold."""

    expected: float
    """On average."""
    p_value: float
    """Probability of at least as many as were found, under the random choice; one-sided, and not
    corrected for the number of classes or circuits that are looked at."""


@dataclass(frozen=True)
class Overlap:
    """Found nodes beside published ones, all of one kind (heads, or MLPs).

    The intervals are Wilson's, as if the nodes were independent draws. A circuit's nodes are not
    that: the interval says how little 2 or 8 heads can carry, and nothing about other prompts.
    """

    found: Nodes
    """As found, without those that count neither way, in the model's order."""
    published: Nodes
    """As published."""
    n_candidates: int
    """How many nodes the search could have chosen from."""
    chance: Chance
    """Of a random choice of as many candidates."""
    chance_in_layers: Chance
    """Of a random choice of as many candidates in each layer; of MLPs, of which a layer has one,
    this choice is no choice, and the p-value is 1."""
    jaccard_by_chance: float
    """Mean of the Jaccard index over random choices of as many candidates."""

    @property
    def shared(self) -> Nodes:
        """Published and found."""
        return tuple(node for node in self.found if node in self.published)

    @property
    def missed(self) -> Nodes:
        """Published and not found."""
        return tuple(node for node in self.published if node not in self.found)

    @property
    def extra(self) -> Nodes:
        """Found and not published."""
        return tuple(node for node in self.found if node not in self.published)

    @property
    def precision(self) -> Interval | None:
        """Share of the found nodes that are published; None where none was found."""
        return proportion(len(self.shared), len(self.found)) if self.found else None

    @property
    def recall(self) -> Interval:
        """Share of the published nodes that were found."""
        return proportion(len(self.shared), len(self.published))

    @property
    def jaccard(self) -> float:
        """Shared, as a share of all that are found or published. It is no proportion of draws, so
        it has no interval; `jaccard_by_chance` is what to hold it against."""
        return len(self.shared) / len({*self.found, *self.published})


@dataclass(frozen=True)
class CircuitComparison:
    """A found circuit beside a published one.

    Heads and MLPs are counted apart, since a model has far more heads and a benchmark of both in
    one number would say most about heads.
    """

    published: PublishedCircuit
    """What it is compared with."""
    heads: Overlap
    """All heads."""
    mlps: Overlap | None
    """All MLPs; None where the published circuit names none, and so says nothing of them, or where
    no MLP was a candidate."""
    classes: dict[str, Overlap]
    """Each class against all found nodes of its kind. Its recall is the recall of the class; its
    precision, and what is extra, say nothing. Without classes of MLPs where `mlps` is None."""
    not_counted: dict[str, Nodes]
    """What was found and counts neither way: nodes that a source names without counting them as
    part of the circuit, by what it says of them, and MLPs where `mlps` is None."""

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for all heads, all MLPs and each class; pandas takes it as is.

        Precision and Jaccard are None in the rows of classes, where they say nothing.

        Example:
            >>> pandas.DataFrame(comparison.to_frame())  # doctest: +SKIP
        """
        rows = [_row("all heads", self.heads, whole=True)]
        if self.mlps is not None:
            rows.append(_row("all MLPs", self.mlps, whole=True))
        return rows + [_row(kind, overlap, whole=False) for kind, overlap in self.classes.items()]


def compare_heads(
    found: Iterable[str],
    published: PublishedCircuit,
    candidates: Collection[str] | None = None,
) -> CircuitComparison:
    """The nodes of a found circuit beside a published circuit, heads and MLPs apart.

    Args:
        found: names of senders, such as "9.9" and "mlp8"; "embed" is passed over.
        published: the circuit to compare with; check with its `check_fits` that the names mean
            the same heads.
        candidates: the nodes that the search could have found; None means all of the model. What
            chance gives is drawn from these. Published nodes that are not candidates count as
            missed all the same.

    Raises:
        ValueError: nothing was found, a name that the published model does not have, or something
            found that was not a candidate.

    Example:
        >>> from cutaway.circuits.published import published
        >>> comparison = compare_heads(["9.9", "9.6", "0.0"], published("ioi"))
        >>> comparison.heads.shared, comparison.heads.extra
        (('9.6', '9.9'), ('0.0',))
        >>> print(comparison.classes["name mover"].recall)
        0.667 [0.208, 0.939] (95%, n=3)
    """
    model = published.model
    nodes = _ordered(found, model, published.name)
    if not nodes:
        raise ValueError("the found circuit has neither a head nor an MLP: nothing to compare.")
    free = _ordered(candidates, model, published.name) if candidates is not None else _all(model)
    strangers = [node for node in nodes if node not in free]
    if strangers:
        raise ValueError(
            f"{strangers[0]!r} was found and is not among the candidates: give all nodes that the "
            "search could have chosen."
        )
    beside = {kind: _among(nodes, members) for kind, members in published.further.items()}
    counts = {node for members in published.further.values() for node in members}
    pools = {is_mlp: _of_kind(free, is_mlp, counts) for is_mlp in (False, True)}
    picks = {is_mlp: _of_kind(nodes, is_mlp, counts) for is_mlp in (False, True)}
    counts_mlps = bool(published.mlps and pools[True])
    if not counts_mlps:
        beside["MLPs, of which the published circuit says nothing"] = picks[True]
    return CircuitComparison(
        published,
        _overlap(picks[False], published.heads, pools[False]),
        _overlap(picks[True], published.mlps, pools[True]) if counts_mlps else None,
        {
            kind: _overlap(picks[_is_mlp(members[0])], members, pools[_is_mlp(members[0])])
            for kind, members in published.classes.items()
            if counts_mlps or not _is_mlp(members[0])
        },
        {kind: members for kind, members in beside.items() if members},
    )


def _overlap(found: Nodes, published: Nodes, candidates: Nodes) -> Overlap:
    """Three sets of nodes of one kind."""
    open_to_chance = _among(candidates, published)
    n_shared = len(_among(found, published))
    whole = _hypergeometric(len(candidates), len(open_to_chance), len(found))
    per_layer = [Counter(map(_layer, nodes)) for nodes in (candidates, open_to_chance, found)]
    in_layers = np.ones(1)
    for layer in sorted(per_layer[0]):
        in_layers = np.convolve(in_layers, _hypergeometric(*(count[layer] for count in per_layer)))
    shared = np.arange(len(whole))
    union = np.maximum(len(found) + len(published) - shared, 1)
    return Overlap(
        found,
        published,
        len(candidates),
        _chance(whole, n_shared),
        _chance(in_layers, n_shared),
        float(whole @ (shared / union)),
    )


def _hypergeometric(n_candidates: int, n_published: int, n_found: int) -> Floats:
    """Probability of 0, 1, ..., n_published published ones in n_found draws."""
    every = math.comb(n_candidates, n_found)
    others = n_candidates - n_published
    ways = [
        math.comb(n_published, k) * math.comb(others, n_found - k) if k <= n_found else 0
        for k in range(n_published + 1)
    ]
    return np.array([way / every for way in ways])


def _chance(probabilities: Floats, n_shared: int) -> Chance:
    expected = float(probabilities @ np.arange(len(probabilities)))
    # Rounding must not lead past 1, which is exact where nothing is shared.
    return Chance(expected, min(1.0, float(probabilities[n_shared:].sum())))


def _row(name: str, overlap: Overlap, whole: bool) -> dict[str, Any]:
    precision = overlap.precision if whole else None
    return {
        "nodes": name,
        "published": len(overlap.published),
        "shared": len(overlap.shared),
        "recall": overlap.recall.estimate,
        "recall_low": overlap.recall.low,
        "recall_high": overlap.recall.high,
        "precision": precision and precision.estimate,
        "precision_low": precision and precision.low,
        "precision_high": precision and precision.high,
        "jaccard": overlap.jaccard if whole else None,
        "jaccard_by_chance": overlap.jaccard_by_chance if whole else None,
        "expected_by_chance": overlap.chance.expected,
        "p_value": overlap.chance.p_value,
        "expected_in_layers": overlap.chance_in_layers.expected,
        "p_value_in_layers": overlap.chance_in_layers.p_value,
        "missed": " ".join(overlap.missed),
        "extra": " ".join(overlap.extra) if whole else "",
    }


def _all(model: PublishedModel) -> Nodes:
    return model.heads + model.mlps


def _ordered(names: Iterable[str], model: PublishedModel, circuit: str) -> Nodes:
    """Each name once, heads and then MLPs, in the model's order."""
    given, known = set(names) - {"embed"}, _all(model)
    strangers = sorted(given - set(known))
    if strangers:
        name = strangers[0]
        is_input = re.fullmatch(r"(\d+\.\d+)\.[qkv]", name)
        why = f" It is an input of a head: give the head, {is_input[1]}." if is_input else ""
        kinds = f"heads 0.0 to {model.heads[-1]}"
        kinds += " and no MLPs" if model.attn_only else f", MLPs mlp0 to {model.mlps[-1]}"
        raise ValueError(
            f"{model.name}, the model of the circuit {circuit!r}, has no node {name!r} (it has "
            f"{kinds}).{why}"
        )
    return tuple(name for name in known if name in given)


def _among(nodes: Iterable[str], chosen: Collection[str]) -> Nodes:
    return tuple(node for node in nodes if node in chosen)


def _of_kind(nodes: Nodes, mlps: bool, without: Collection[str]) -> Nodes:
    return tuple(node for node in nodes if _is_mlp(node) == mlps and node not in without)


def _is_mlp(node: str) -> bool:
    return node.startswith("mlp")


def _layer(node: str) -> int:
    return int(node.removeprefix("mlp").split(".")[0])
