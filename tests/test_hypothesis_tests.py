"""Hypothesis tests of circuits: known answers, calibration by simulation, and models."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_oracles import circuit_by_hooks
from cutaway.circuits.circuit import Circuit, CircuitError
from cutaway.circuits.hypothesis_tests import HypothesisSettings, hypothesis_tests
from cutaway.circuits.hypothesis_tests.equivalence import equivalence_test
from cutaway.circuits.hypothesis_tests.independence import hsic, independence_test
from cutaway.circuits.hypothesis_tests.minimality import minimality_test
from cutaway.circuits.hypothesis_tests.random_comparison import share_test
from cutaway.circuits.hypothesis_tests.reference_circuits import (
    Ways,
    circuits_among,
    inflated,
)
from cutaway.circuits.hypothesis_tests.run import (
    independence,
    minimality,
    partial_necessity,
    sufficiency,
)
from cutaway.circuits.known import KNOWN
from cutaway.circuits.random_circuits import random_circuits
from cutaway.circuits.runs import CircuitRuns
from cutaway.circuits.wiring import Wiring
from cutaway.model.config import ModelConfig
from random_models import configs, random_model, small_task

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
FEW = HypothesisSettings(n_random=40, n_permutations=99)


# ---- equivalence ----


def scores_with(better: int, tied: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which the first is better so often, and the same so often."""
    model = np.linspace(1.0, 2.0, n)
    sign = np.repeat([1.0, 0.0, -1.0], [better, tied, n - better - tied])
    return model + 0.1 * sign, model


@given(n=st.integers(2, 30), better=st.integers(0, 30), epsilon=st.sampled_from([0.0, 0.1, 0.3]))
def test_equivalence_is_the_sum_over_counts_as_far_from_half(n, better, epsilon) -> None:
    better = min(better, n)
    test = equivalence_test(*scores_with(better, 0, n), epsilon=epsilon)
    q = 0.5 + epsilon
    expected = sum(
        math.comb(n, k) * q**k * (1 - q) ** (n - k)
        for k in range(n + 1)
        if abs(2 * k - n) >= abs(2 * better - n)
    )
    assert test.p_value == pytest.approx(expected, abs=1e-12)
    assert test.statistic == pytest.approx(better / n)
    assert test.interval.contains(better / n)


def rejection_rate_of_equivalence(share: float, ties: float, n: int = 60) -> float:
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(1500):
        tied = rng.binomial(n, ties)
        better = rng.binomial(n - tied, (share - ties / 2) / (1 - ties))
        p_values.append(equivalence_test(*scores_with(better, tied, n)).p_value)
    return float(np.mean(np.array(p_values) <= 0.05))


def test_equivalence_is_calibrated_at_the_end_of_the_null_and_sees_what_is_far_outside(
    monkeypatch,
) -> None:
    nothing = staticmethod(lambda *_: None)  # the bootstrap of the difference is slow
    monkeypatch.setattr("cutaway.circuits.hypothesis_tests.equivalence.bootstrap_mean", nothing)
    assert 0.02 < rejection_rate_of_equivalence(0.6, 0.0) <= 0.06
    assert rejection_rate_of_equivalence(0.5, 0.0) < 0.01
    assert rejection_rate_of_equivalence(0.85, 0.0) > 0.95
    assert rejection_rate_of_equivalence(0.6, 0.3) <= 0.05  # ties vary less
    assert rejection_rate_of_equivalence(0.85, 0.3) > 0.95


def test_ties_count_as_half_and_rounding_is_a_tie() -> None:
    circuit, model = scores_with(0, 10, 10)
    test = equivalence_test(circuit + 1e-9, model)
    assert (test.ties, test.statistic, test.p_value) == (10, 0.5, 1.0)
    assert equivalence_test(*scores_with(3, 4, 10)).statistic == 0.5


def test_not_rejecting_is_not_equivalence() -> None:
    """With few prompts neither null is rejected; with many, one is."""
    few = equivalence_test(*scores_with(4, 0, 8))
    many = equivalence_test(*scores_with(500, 0, 1000))
    assert not few.rejected() and few.reverse_p_value > 0.3
    assert not many.rejected() and many.reverse_p_value < 1e-6
    far = equivalence_test(*scores_with(900, 0, 1000))
    assert far.rejected() and far.reverse_p_value > 0.99
    assert far.difference is not None and far.difference.estimate == pytest.approx(0.08)


# ---- independence ----


def hsic_slowly(x: np.ndarray, y: np.ndarray) -> float:
    """The sum over all quadruples, written out (Gretton et al. 2005, lemma 1), scaled alike."""
    n = len(x)

    def kernel(values):
        apart = [abs(values[i] - values[j]) for i in range(n) for j in range(i + 1, n)]
        width = np.median(apart)
        return lambda i, j: math.exp(-((values[i] - values[j]) ** 2) / (2 * width**2))

    k, m = kernel(x), kernel(y)
    everyone = range(n)
    both = sum(k(i, j) * m(i, j) for i in everyone for j in everyone) / n**2
    apart = (
        sum(k(i, j) for i in everyone for j in everyone)
        * sum(m(i, j) for i in everyone for j in everyone)
        / n**4
    )
    half = sum(
        sum(k(i, j) for j in everyone) * sum(m(i, j) for j in everyone) for i in everyone
    ) / (n**3)
    return (both + apart - 2 * half) * n**2 / (n - 1) ** 2


@given(st.integers(0, 1000), st.integers(4, 12))
def test_hsic_equals_the_sum_written_out(seed, n) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, n)) * [[1.0], [50.0]]
    assert hsic(x, y)[0] == pytest.approx(hsic_slowly(x, y), abs=1e-12)


@given(st.integers(0, 1000))
def test_hsic_does_not_depend_on_units(seed) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, 9))
    assert hsic(3 * x + 1, -7 * y)[0] == pytest.approx(hsic(x, y)[0], rel=1e-9)


def rejection_rate_of_independence(of_x) -> float:
    rng = np.random.default_rng(0)
    rejected = 0
    for seed in range(200):
        x, noise = rng.normal(size=(2, 30))
        test = independence_test(of_x(x) + noise, x, n_permutations=99, seed=seed)
        rejected += test.rejected()
    return rejected / 200


def test_independence_is_calibrated_and_sees_dependence_without_correlation(monkeypatch) -> None:
    nothing = staticmethod(lambda *_: None)
    monkeypatch.setattr("cutaway.circuits.hypothesis_tests.independence._correlation", nothing)
    assert 0.01 <= rejection_rate_of_independence(lambda x: 0 * x) <= 0.09
    assert rejection_rate_of_independence(lambda x: 2 * x) > 0.95
    assert rejection_rate_of_independence(lambda x: 2 * x**2) > 0.8


def test_a_constant_score_tells_nothing() -> None:
    x = np.random.default_rng(0).normal(size=12)
    test = independence_test(np.ones(12), x, control=x)
    assert test.p_value == 1.0 and test.statistic == pytest.approx(0, abs=1e-15)
    assert test.controls["p with everything knocked out"] == pytest.approx(1 / 1001)
    assert math.isnan(test.interval.estimate)


# ---- against random circuits ----


def test_the_share_is_tested_strictly_and_ties_do_not_count() -> None:
    reference = np.array([1.0, 2.0, 3.0, 3.0])
    near = share_test("sufficiency", 2.0, reference, 0.5, larger_is_better=False)
    far = share_test("partial necessity", 2.0, reference, 0.5, larger_is_better=True)
    assert (near.statistic, far.statistic) == (0.5, 0.25)
    assert near.p_value == pytest.approx(11 / 16) and far.p_value == pytest.approx(15 / 16)
    alike = share_test("sufficiency", 1.0, np.ones(50), 0.9, larger_is_better=False)
    assert alike.statistic == 0 and alike.p_value == 1
    apart = share_test("sufficiency", 0.9, np.ones(50), 0.9, larger_is_better=False, tie=0.2)
    assert apart.statistic == 0


def test_the_share_is_calibrated_at_the_quantile_and_sees_what_is_far_above() -> None:
    rng = np.random.default_rng(0)

    def rate(candidate: float) -> float:
        tests = (
            share_test("necessity", candidate, rng.random(100), 0.9, larger_is_better=True)
            for _ in range(1500)
        )
        return float(np.mean([test.rejected() for test in tests]))

    assert 0.01 < rate(0.9) <= 0.055
    assert rate(0.5) == 0
    assert rate(0.99) > 0.9


def test_too_few_random_circuits_are_said() -> None:
    test = share_test("sufficiency", 0.0, np.ones(10), 0.9, larger_is_better=False)
    assert test.p_value == pytest.approx(0.9**10) and "draw more" in test.notes[0]
    enough = share_test("sufficiency", 0.0, np.ones(40), 0.9, larger_is_better=False)
    assert not enough.notes and enough.rejected()


def test_minimality_finds_the_edge_that_matters_no_more_than_random_ones() -> None:
    reference = np.random.default_rng(0).random(100)
    test = minimality_test(["a", "b", "c"], np.array([2.0, 0.5, 3.0]), reference)
    assert test.superfluous() == ("b",) and test.rejected()
    assert test.p_value == test.adjusted[1] and "(b)" in test.statistic_is
    fine = minimality_test(["a", "c"], np.array([2.0, 3.0]), reference)
    assert fine.p_value == 1 and not fine.superfluous()
    gentler = minimality_test(
        ["a", "b", "c"], np.array([2.0, 0.5, 3.0]), reference, correction="benjamini-hochberg"
    )
    assert gentler.adjusted[1] == pytest.approx(test.adjusted[1])  # alone it is the same
    idle = minimality_test(["a"], np.zeros(1), np.zeros(100))
    assert idle.superfluous() == ("a",)  # as idle as a random edge: a tie is not more


def test_bonferroni_bounds_false_findings_over_all_edges() -> None:
    rng = np.random.default_rng(0)
    edges, effects = [str(i) for i in range(10)], np.full(10, 0.9)  # all at the end of the null
    tests = [minimality_test(edges, effects, rng.random(100)) for _ in range(1000)]
    assert np.mean([test.rejected() for test in tests]) <= 0.05
    at_random = [minimality_test(edges, np.full(10, 0.7), rng.random(100)) for _ in range(200)]
    assert np.mean([test.rejected() for test in at_random]) > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equivalence_test(np.ones(3), np.ones(4)), "of the same prompts"),
        (lambda: equivalence_test(np.ones(1), np.ones(1)), "at least two"),
        (lambda: equivalence_test(np.ones(3), np.full(3, np.nan)), "NaN"),
        (lambda: equivalence_test(np.ones(3), np.ones(3), epsilon=0.5), "epsilon=0.5"),
        (lambda: independence_test(np.ones(3), np.ones(3)), "at least 4 prompts"),
        (lambda: independence_test(np.ones(9), np.ones(9), n_permutations=0), "0 permutations"),
        (
            lambda: share_test("x", 0.0, np.ones(0), 0.9, larger_is_better=True),
            "one for each random circuit",
        ),
        (lambda: share_test("x", 0.0, np.ones(3), 1.0, larger_is_better=True), "quantile=1.0"),
        (lambda: minimality_test([], np.ones(0), np.ones(3)), "0 edges"),
        (
            lambda: minimality_test(["a"], np.ones(1), np.ones(3), correction="none"),  # type: ignore[arg-type]
            "correction='none'",
        ),
        (lambda: HypothesisSettings(random_from="edges"), "random_from='edges'"),  # type: ignore[arg-type]
        (lambda: HypothesisSettings(n_random=0), "n_random=0"),
    ],
)
def test_bad_input_is_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---- random ways and circuits ----


@given(configs(), st.integers(0, 1000))
def test_random_ways_lead_from_the_embedding_to_the_logits(cfg, seed) -> None:
    wiring, rng = Wiring(cfg), np.random.default_rng(seed)
    ways = Ways(wiring, wiring.allowed)
    way = ways.draw(rng)
    assert (wiring.pruned(way) == way).all() and way[-1].sum() == 1 and way[:, 0].sum() == 1
    for edge in np.flatnonzero(way):
        cut = way.copy()
        cut.flat[edge] = False
        assert not wiring.pruned(cut).any()
    for most in (1, 2, 3):
        assert 1 <= ways.draw(rng, most).sum() <= most
    without = Ways(wiring, wiring.allowed & ~wiring.matrix(["embed->logits"]))
    assert ways.shortest == 1 and without.shortest == 2
    assert without.draw(rng, 2).sum() == 2


@given(st.integers(2, 60), st.integers(0, 1000))
def test_circuits_among_have_the_size_and_take_only_what_they_may(n_edges, seed) -> None:
    wiring = Wiring(CFG)
    circuit = random_circuits(wiring, 30, 1, seed)[0]
    among = wiring.allowed & ~circuit
    for found in circuits_among(wiring, among, n_edges, 3, seed):
        assert found.sum() == n_edges and not (found & circuit).any()
        assert (wiring.pruned(found) == found).all()


@given(st.integers(1, 60), st.integers(0, 1000))
def test_inflated_circuits_have_a_way_beside_the_circuit_and_lose_one_edge_of_it(n, seed) -> None:
    wiring = Wiring(CFG)
    circuit = random_circuits(wiring, n, 1, seed)[0]
    for whole, without in zip(*inflated(wiring, circuit, 3, seed), strict=True):
        assert not (circuit & ~without).any() and not (without & ~whole).any()
        assert (whole & ~without).sum() == 1
        way = whole & ~circuit
        assert (wiring.pruned(way) == way).all()


# ---- on models ----


def test_the_whole_model_passes_equivalence_and_has_nothing_beside_it() -> None:
    model, task = random_model(CFG), small_task(CFG, n_prompts=12)
    runs = CircuitRuns(model, task)
    tests = hypothesis_tests(runs, Circuit.of(model, runs.wiring.graph.edge_names), FEW)
    assert tests.equivalence.p_value == 1 and tests.equivalence.ties == len(task)
    assert tests.sufficiency.statistic == 0  # random circuits of that size are the model too
    assert set(tests.not_run) == {"minimality", "partial necessity"}
    assert len(tests.all()) == 3 and "not run" in str(tests)


def test_random_circuits_fail_where_they_should() -> None:
    model, task = random_model(CFG), small_task(CFG, n_prompts=12)
    runs = CircuitRuns(model, task)
    wiring = runs.wiring
    random = random_circuits(wiring, 20, 30, seed=5)
    rejected = [
        sufficiency(runs, Circuit.of(model, wiring.names(matrix)), FEW).rejected()
        for matrix in random
    ]
    assert np.mean(rejected) < 0.15  # up to 1 in 10 belong to the best tenth


def test_the_written_circuit_passes_and_a_superfluous_edge_is_found() -> None:
    known = KNOWN["induction"](0)
    task, model = known.tasks["key"], known.model
    runs, needed = CircuitRuns(model, task), sorted(known.detectable["key"])
    tests = hypothesis_tests(runs, Circuit.of(model, needed), FEW)
    assert tests.sufficiency.rejected() and tests.partial_necessity.rejected()
    assert not tests.equivalence.rejected() and not tests.minimality.superfluous()
    assert tests.equivalence.difference.estimate == pytest.approx(0, abs=1e-3)
    more = Circuit.of(model, [*needed, "embed->0.0.v", "0.0->1.0.k", "1.0->logits"])
    found = minimality(runs, more, FEW)
    assert set(found.superfluous()) == {"embed->0.0.v", "0.0->1.0.k", "1.0->logits"}


def test_what_is_compared_are_runs_with_hooks() -> None:
    model, task = random_model(CFG), small_task(CFG, n_prompts=5)
    runs, few = CircuitRuns(model, task, "mean"), HypothesisSettings(n_random=3, n_permutations=9)
    wiring = runs.wiring
    matrix = random_circuits(wiring, 8, 1, seed=1)[0]
    circuit = Circuit.of(model, wiring.names(matrix))

    def run(edges: np.ndarray) -> np.ndarray:
        return circuit_by_hooks(model, task, set(wiring.names(edges)), "mean").numpy()

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(np.mean((run(a) - run(b)) ** 2)))

    everything = wiring.allowed
    alone = sufficiency(runs, circuit, few)
    assert alone.controls["distance of the circuit"] == pytest.approx(
        distance(matrix, everything), abs=1e-4
    )
    others = circuits_among(wiring, everything & ~matrix, 8, 3, 0)
    lost = partial_necessity(runs, circuit, few)
    assert lost.controls["distance of the circuit"] == pytest.approx(
        distance(everything & ~matrix, everything), abs=1e-4
    )
    assert lost.controls["median distance of random circuits"] == pytest.approx(
        np.median([distance(everything & ~other, everything) for other in others]), abs=1e-4
    )
    of_model = random_circuits(wiring, 8, 3, 0)
    beaten = [
        distance(everything & ~matrix, everything) > distance(everything & ~other, everything)
        for other in of_model
    ]
    assert lost.controls["share beaten of circuits drawn from the whole model"] == np.mean(beaten)
    edges = minimality(runs, circuit, few)
    for name, effect in zip(edges.edges, edges.effects, strict=True):
        cut = matrix & ~wiring.matrix([name])
        assert effect == pytest.approx(distance(matrix, cut), abs=1e-4)
    ways = zip(*inflated(wiring, matrix, 3, 0), strict=True)
    expected = [distance(whole, without) for whole, without in ways]
    assert edges.reference == pytest.approx(expected, abs=1e-4)
    kept = independence(runs, circuit, few)
    expected_hsic = hsic(run(everything & ~matrix), run(everything))[0]
    assert kept.statistic == pytest.approx(expected_hsic, abs=1e-4)


def test_random_circuits_may_come_from_the_whole_model() -> None:
    model, task = random_model(CFG), small_task(CFG)
    runs = CircuitRuns(model, task)
    names = set(runs.wiring.graph.edge_names) - {"embed->logits"}
    circuit = Circuit.of(model, names)  # the one way beside it has one edge
    with pytest.raises(CircuitError, match="no random circuit"):
        partial_necessity(runs, circuit, FEW)
    settings = dataclasses.replace(FEW, random_from="model")
    found = partial_necessity(runs, circuit, settings)
    assert found.n == FEW.n_random
    assert found.controls["share beaten of circuits drawn from the whole model"] == found.statistic


def test_circuits_that_cannot_be_tested_are_refused() -> None:
    model, task = random_model(CFG), small_task(CFG)
    runs = CircuitRuns(model, task)
    with pytest.raises(CircuitError, match="is empty"):
        hypothesis_tests(runs, Circuit.of(model, []))
    with pytest.raises(CircuitError, match="lies on a way"):
        hypothesis_tests(runs, Circuit.of(model, ["embed->0.1.q"]))
    other = Circuit.of(random_model(CFG, 1), ["embed->logits"])
    with pytest.raises(CircuitError, match="digest"):
        hypothesis_tests(runs, other)
    placed = Circuit.of(model, ["embed->logits"], positions={"embed": ("END",)})
    with pytest.raises(CircuitError, match="positions"):
        hypothesis_tests(runs, placed)


def test_a_golden_number() -> None:
    model, task = random_model(CFG), small_task(CFG, n_prompts=12)
    runs = CircuitRuns(model, task)
    circuit = Circuit.of(model, runs.wiring.names(random_circuits(runs.wiring, 20, 1)[0]))
    tests = hypothesis_tests(runs, circuit, FEW)
    assert {test.name: test.statistic for test in tests.all()} == pytest.approx(GOLDEN, abs=1e-4)


GOLDEN = {
    "equivalence": 0.5,
    "independence": 0.069158,
    "minimality": 0.0,
    "sufficiency": 0.15,
    "partial necessity": 1.0,
}
