"""The five hypothesis tests of a circuit: which circuits are run, and what is made of them.

Shi et al. (2024), "Hypothesis Testing the Circuit Hypothesis in LLMs" (NeurIPS), ask of a circuit C
of a model M, where s is a prompt's score:

    ideal       equivalence        s(C) and s(M) are equally often the larger one
                independence       s(M without C) is independent of s(M)
                minimality         every edge of C matters more than edges added at random
    relaxed     sufficiency        C is more faithful than nearly all random circuits of its size
                partial necessity  M suffers more from losing C than from losing random ones

Rejecting an ideal null speaks against the circuit, rejecting a relaxed one for it. Distances are
the root of the mean squared difference of scores over prompts, which puts circuits in the order of
the paper's mean squares.

Random circuits and ways are drawn, prompts are not: p-values of the last three say how sure the
comparison with *other random circuits* is, on these prompts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float

from ..circuit import Circuit, CircuitError, require_edges
from ..random_circuits import random_circuits
from ..runs import CircuitRuns
from ..wiring import Mask
from .base import Floats, HypothesisTest, tolerance
from .equivalence import EquivalenceTest, equivalence_test
from .independence import independence_test
from .minimality import Correction, MinimalityTest, minimality_test
from .random_comparison import share_test
from .reference_circuits import circuits_among, inflated

From = Literal["complement", "model"]
T = TypeVar("T")


@dataclass(frozen=True)
class HypothesisSettings:
    """What can be chosen; defaults are those of the paper's code, but for `random_from`."""

    epsilon: float = 0.1
    """Equivalence: how far from 1/2 the share of prompts may be."""
    quantile: float = 0.9
    """The share of random circuits (of random edges) that is to be beaten."""
    n_random: int = 100
    """Random circuits, and random ways."""
    n_permutations: int = 1000
    """Of the test of independence."""
    correction: Correction = "bonferroni"
    """Minimality: for there being many edges."""
    random_from: From = "complement"
    """Partial necessity: random circuits share no edge with the circuit, or are any of the model's.
    The paper's code has both, and draws from the model unless told otherwise; those may hold edges
    of the circuit itself, and are then harder to beat."""
    seed: int = 0
    level: float = 0.95
    """Of intervals."""

    def __post_init__(self) -> None:
        if self.random_from not in get_args(From):
            raise ValueError(f"random_from={self.random_from!r} is none of {get_args(From)}.")
        if self.n_random < 1:
            raise ValueError(f"n_random={self.n_random}: at least one random circuit is needed.")


DEFAULT_SETTINGS = HypothesisSettings()


@dataclass(frozen=True, eq=False)
class HypothesisTests:
    """All five tests of one circuit.

    Example:
        >>> print(hypothesis_tests(CircuitRuns(model, task), circuit))
    """

    equivalence: EquivalenceTest
    independence: HypothesisTest
    sufficiency: HypothesisTest
    minimality: MinimalityTest | None
    """None where no way leads past the circuit."""
    partial_necessity: HypothesisTest | None
    """None where too few edges are left to draw random circuits from."""
    outside: str
    """What stood in outside the circuit, on which every number depends."""
    not_run: Mapping[str, str] = field(default_factory=dict)
    """Name of a test -> why it could not be run."""

    def all(self) -> tuple[HypothesisTest, ...]:
        """Those that were run: the ideal ones first."""
        tests = (
            self.equivalence,
            self.independence,
            self.minimality,
            self.sufficiency,
            self.partial_necessity,
        )
        return tuple(test for test in tests if test is not None)

    def __str__(self) -> str:
        lines = [f"outside the circuit: {self.outside}", *map(str, self.all())]
        lines += [f"{name}: not run, {why}" for name, why in self.not_run.items()]
        return "\n".join(lines)


def hypothesis_tests(
    runs: CircuitRuns, circuit: Circuit, settings: HypothesisSettings = DEFAULT_SETTINGS
) -> HypothesisTests:
    """All five tests.

    Args:
        runs: of the model on the task, which say what stands in outside the circuit.
        circuit: of the same model, with at least one edge on a way to the logits.
        settings: of the tests.

    Raises:
        CircuitError: an empty circuit, one of another model, or one with positions.

    Example:
        >>> tests = hypothesis_tests(CircuitRuns(model, task), circuit)
        >>> tests.minimality.superfluous()
        ('embed->0.3.k',)
    """
    not_run: dict[str, str] = {}

    def where_possible(name: str, test: Callable[..., T]) -> T | None:
        try:
            return test(runs, circuit, settings)
        except CircuitError as error:
            not_run[name] = str(error)
            return None

    return HypothesisTests(
        equivalence=equivalence(runs, circuit, settings),
        independence=independence(runs, circuit, settings),
        sufficiency=sufficiency(runs, circuit, settings),
        minimality=where_possible("minimality", minimality),
        partial_necessity=where_possible("partial necessity", partial_necessity),
        outside=runs.value.name,
        not_run=not_run,
    )


def equivalence(
    runs: CircuitRuns, circuit: Circuit, settings: HypothesisSettings = DEFAULT_SETTINGS
) -> EquivalenceTest:
    """`equivalence_test` of the circuit alone and the whole model."""
    _check(runs, circuit)
    (alone,) = _scores(runs, circuit.matrix[None])
    return equivalence_test(alone, _model(runs), settings.epsilon, settings.seed, settings.level)


def independence(
    runs: CircuitRuns, circuit: Circuit, settings: HypothesisSettings = DEFAULT_SETTINGS
) -> HypothesisTest:
    """`independence_test` of the model without the circuit and the whole model.

    The control has everything knocked out. Where corrupted prompts stand in, they share much with
    the clean ones, and the control may be rejected too: then rejection says nothing of the circuit.
    """
    _check(runs, circuit)
    allowed = runs.wiring.allowed
    complement, nothing = _scores(runs, np.stack([allowed & ~circuit.matrix, allowed & False]))
    return independence_test(
        complement,
        _model(runs),
        nothing,
        settings.n_permutations,
        settings.seed,
        settings.level,
    )


def minimality(
    runs: CircuitRuns, circuit: Circuit, settings: HypothesisSettings = DEFAULT_SETTINGS
) -> MinimalityTest:
    """`minimality_test` of the circuit's edges, beside edges of random ways beside the circuit.

    A random way inflates the circuit, and one of its edges is knocked out again; the change is what
    a superfluous edge is worth. Both are changes from the circuit each edge was taken out of.

    Raises:
        CircuitError: besides what `hypothesis_tests` raises, no way leads past the circuit.
    """
    _check(runs, circuit)
    n_edges = len(circuit)
    flat = np.eye(len(runs.wiring.graph.edges), dtype=bool)
    edges = runs.wiring.spread(flat[circuit.matrix[runs.wiring.allowed]])
    whole, without = inflated(runs.wiring, circuit.matrix, settings.n_random, settings.seed)
    scores = _scores(
        runs,
        np.concatenate([circuit.matrix[None], circuit.matrix & ~edges, whole, without]),
    )
    alone, each, rest = scores[0], scores[1 : 1 + n_edges], scores[1 + n_edges :]
    with_way, knocked_out = np.split(rest, 2)
    return minimality_test(
        circuit.edges,
        _distance(each, alone),
        _distance(knocked_out, with_way),
        settings.quantile,
        settings.correction,
        tie=tolerance(_model(runs)),
        seed=settings.seed,
        level=settings.level,
    )


def sufficiency(
    runs: CircuitRuns, circuit: Circuit, settings: HypothesisSettings = DEFAULT_SETTINGS
) -> HypothesisTest:
    """`share_test` of the circuit's distance from the model, beside random circuits of its size."""
    _check(runs, circuit)
    others = random_circuits(runs.wiring, len(circuit), settings.n_random, settings.seed)
    distances = _distance(_scores(runs, np.concatenate([circuit.matrix[None], others])), runs)
    return share_test(
        "sufficiency",
        float(distances[0]),
        distances[1:],
        settings.quantile,
        larger_is_better=False,
        tie=tolerance(_model(runs)),
        seed=settings.seed,
        level=settings.level,
    )


def partial_necessity(
    runs: CircuitRuns, circuit: Circuit, settings: HypothesisSettings = DEFAULT_SETTINGS
) -> HypothesisTest:
    """`share_test` of the model without the circuit, beside the model without random circuits.

    Drawn from the complement, they lack every edge of the circuit: a circuit that holds one edge
    which the task cannot do without beats them all, whatever else it holds. The control is the
    share that is beaten of random circuits drawn from the whole model.

    Raises:
        CircuitError: besides what `hypothesis_tests` raises, too few edges to draw from.
    """
    _check(runs, circuit)
    wiring, n_edges = runs.wiring, len(circuit)
    others = random_circuits(wiring, n_edges, settings.n_random, settings.seed)
    if settings.random_from == "complement":
        among = wiring.allowed & ~circuit.matrix
        drawn = circuits_among(wiring, among, n_edges, settings.n_random, settings.seed)
        others = np.concatenate([drawn, others])
    knocked_out = wiring.allowed & ~np.concatenate([circuit.matrix[None], others])
    distances = _distance(_scores(runs, knocked_out), runs)
    tie = tolerance(_model(runs))
    of_model = distances[-settings.n_random :]
    test = share_test(
        "partial necessity",
        float(distances[0]),
        distances[1 : 1 + settings.n_random],
        settings.quantile,
        larger_is_better=True,
        tie=tie,
        seed=settings.seed,
        level=settings.level,
    )
    beaten = float((distances[0] - of_model > tie).mean())
    share = {"share beaten of circuits drawn from the whole model": beaten}
    return dataclasses.replace(test, controls={**test.controls, **share})


def _check(runs: CircuitRuns, circuit: Circuit) -> None:
    circuit.check_fits(runs.model)
    require_edges(circuit, "test")
    if circuit.positions:
        raise CircuitError(
            "the circuit has positions, and random circuits do not, so that they cannot be "
            "compared: test its edges at all positions, dataclasses.replace(circuit, positions={})."
        )


def _scores(
    runs: CircuitRuns, circuits: Bool[Mask, "circuit receiver sender"]
) -> Float[Floats, "circuit prompt"]:
    return runs.measure(torch.from_numpy(circuits)).numpy()


def _model(runs: CircuitRuns) -> Float[Floats, " prompt"]:
    return runs.clean.numpy()


def _distance(
    scores: Float[Floats, "circuit prompt"], other: CircuitRuns | Floats
) -> Float[Floats, " circuit"]:
    """Root mean squared difference over prompts, from the model or from others' scores."""
    reference = _model(other) if isinstance(other, CircuitRuns) else other
    distances: Floats = np.sqrt(((scores - reference) ** 2).mean(-1))
    return distances
