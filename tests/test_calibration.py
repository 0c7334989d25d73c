"""Scores beside a known answer: figures against oracles, and the exact method on every model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cutaway.circuits.calibration import (
    ROUNDING,
    UNSIGNED,
    auroc,
    calibrate,
    importance,
    precision_at_size,
)
from cutaway.circuits.circuit import CircuitError
from cutaway.circuits.discovery import METHODS, score
from cutaway.circuits.known import KNOWN, KnownModel, KnownSettings
from cutaway.circuits.scores import EdgeScores
from cutaway.circuits.wiring import Wiring
from cutaway.patching.graph import Graph

SEEDS = (0, 1)
SETTINGS = KnownSettings(n_prompts=8)
MODELS = {(name, seed): KNOWN[name](seed, SETTINGS) for name in KNOWN for seed in SEEDS}
CASES = [(*key, corruption) for key, known in MODELS.items() for corruption in known.tasks]
DUPLICATE = MODELS["duplicate-token", 0]
NAMES = Graph(DUPLICATE.model.cfg).edge_names
KEY = DUPLICATE.detectable["key"]  # embed->0.2.k, embed->0.2.v, 0.2->logits


@st.composite
def rankings(draw, most: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Importances with many ties, and which edges are true: some and not all."""
    n = draw(st.integers(2, most))
    values = draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 80.0]), min_size=n, max_size=n))
    truth = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda t: 0 < sum(t) < n))
    return np.array(values), np.array(truth)


def scores_of(given: dict[str, float], method: str = "eap", **more) -> EdgeScores:
    """Scores of the duplicate-token model: those named, 0 elsewhere."""
    values = np.array([given.get(name, 0.0) for name in NAMES])
    return EdgeScores(DUPLICATE.model.cfg, method, values, **more)


def calibrated(given: dict[str, float], method: str = "eap", **more):
    exact = scores_of({"embed->0.2.k": 1.0, "embed->0.2.v": 0.5, "0.2->logits": 1.0})
    return calibrate(scores_of(given, method, **more), KEY, DUPLICATE.written, exact.values)


# ---- the acceptance ----


@pytest.mark.parametrize("name, seed, corruption", CASES)
def test_the_exact_method_finds_every_detectable_edge(name, seed, corruption) -> None:
    known: KnownModel = MODELS[name, seed]
    scores = score(known.model, known.tasks[corruption])
    found = calibrate(scores, known.detectable[corruption], known.written, scores.values)
    assert found.auroc == 1.0 and found.precision == found.recall == 1.0
    assert found.wrong_sign == () and found.missed == () and found.perfect
    assert found.worst_rank == found.n_detectable == len(known.detectable[corruption])
    assert found.outside is None  # all else is rounding


def test_eap_misses_what_lies_behind_a_saturated_softmax() -> None:
    # A golden number, and the reason for the whole exercise: the exact effect of both is 1.
    known = MODELS["induction", 0]
    task, signs = known.tasks["key"], known.detectable["key"]
    exact = score(known.model, task).values
    eap = calibrate(score(known.model, task, "eap"), signs, known.written, exact)
    assert eap.missed == ("embed->0.1.v", "0.1->1.2.k")
    assert eap.auroc == pytest.approx(2 / 3) and eap.precision == pytest.approx(
        (1 + 2 * 2 / 80) / 3
    )
    assert not eap.perfect and eap.worst_rank == 81


# ---- oracles ----


@given(rankings())
def test_auroc_is_that_of_scikit_learn(ranking) -> None:
    found, truth = ranking
    assert auroc(found, truth) == pytest.approx(roc_auc_score(truth, found))


@given(rankings(most=7))
def test_precision_is_the_mean_over_all_orders_of_the_ties(ranking) -> None:
    found, truth = ranking
    size = truth.sum()
    orders = [
        list(order)
        for order in itertools.permutations(range(len(found)))
        if all(found[a] >= found[b] for a, b in itertools.pairwise(order))
    ]
    wanted = np.mean([truth[order[:size]].mean() for order in orders])
    assert precision_at_size(found, truth) == pytest.approx(wanted)


@given(rankings())
def test_what_order_decides_does_not_change_with_the_unit(ranking) -> None:
    found, truth = ranking
    assert auroc(3 * found, truth) == auroc(found, truth)
    assert auroc(found, ~truth) == pytest.approx(1 - auroc(found, truth))
    assert precision_at_size(3 * found, truth) == precision_at_size(found, truth)


def test_a_guess_is_worth_half_and_finds_its_share() -> None:
    nothing = calibrated({})
    assert nothing.auroc == 0.5 and nothing.precision == pytest.approx(3 / 17)
    assert nothing.worst_rank == 17 and len(nothing.missed) == 3
    assert nothing.wrong_sign == () and nothing.outside is None


# ---- each figure by hand ----


def test_faults_are_named() -> None:
    found = calibrated({"embed->0.2.k": -0.2, "embed->0.2.v": 40.0, "0.1->logits": -0.4})
    assert found.wrong_sign == ("embed->0.2.k",)
    assert found.missed == ("0.2->logits",)
    assert found.largest_ratio == pytest.approx(80)
    assert found.outside == ("0.1->logits", -0.4)
    assert found.precision == pytest.approx(2 / 3) and found.worst_rank == 17
    by_edge = {row["edge"]: row for row in found.to_frame()}
    assert by_edge["embed->0.2.k"]["wrong_sign"] and not by_edge["embed->0.2.k"]["missed"]
    assert by_edge["0.2->logits"]["missed"] and by_edge["0.2->logits"]["exact"] == 1.0


def test_rounding_is_neither_a_find_nor_a_wrong_sign() -> None:
    small = ROUNDING / 2
    found = calibrated({"embed->0.2.k": -small, "embed->0.2.v": small, "0.2->logits": 1.0})
    assert found.wrong_sign == () and found.missed == ("embed->0.2.k", "embed->0.2.v")
    assert found.auroc == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_effects_that_differ_by_rounding_tie() -> None:
    # All edges of a node have its effect; which comes first must not hang on the sixth digit.
    near = {"0.2->logits": 1.333334, "0.1->logits": 1.333337, "embed->0.2.k": 1 - 1e-6}
    far = near | {"0.0->logits": 1 + 1e-6, "0.3->logits": 1.34}
    found = dict(zip(NAMES, importance(scores_of(far)), strict=True))
    assert found["0.2->logits"] == found["0.1->logits"] == 1.333
    assert found["embed->0.2.k"] == found["0.0->logits"] == 1
    assert found["0.3->logits"] == 1.34 and found["embed->0.2.v"] == 0
    assert calibrated(far).worst_rank == 17


@given(st.lists(st.floats(-100, 100), min_size=17, max_size=17))
def test_rounding_keeps_the_order(values) -> None:
    scores = EdgeScores(DUPLICATE.model.cfg, "eap", np.array(values))
    found, order = importance(scores), np.argsort(np.abs(values))
    assert (np.diff(found[order]) >= 0).all()
    assert np.allclose(found, np.abs(values), rtol=1e-3, atol=ROUNDING)


def test_a_gate_below_0_is_closed_and_has_no_sign() -> None:
    closed = dict.fromkeys(NAMES, -0.1)
    half_open = closed | {"embed->0.2.k": 0.05, "embed->0.2.v": 1.1, "0.2->logits": 0.5}
    found = calibrated(half_open, "edge-masks")
    assert found.auroc == 1.0 and found.wrong_sign is None and found.outside is None
    # A signed method that says -0.1 says more than one that says 0.05.
    assert calibrated(half_open, "eap").auroc < 1


def test_the_circuit_that_a_method_chose_is_counted() -> None:
    kept = Wiring(DUPLICATE.model.cfg).matrix(["embed->0.2.k", "0.2->logits", "0.1->logits"])
    found = calibrated({"0.2->logits": 1.0}, "acdc", kept=kept)
    assert (found.n_kept, found.n_kept_right) == (3, 2)
    assert calibrated({}).n_kept is None


def test_written_edges_are_more_than_a_task_reveals() -> None:
    found = calibrated({"embed->0.2.k": 1.0, "embed->0.2.v": 0.5, "0.2->logits": 1.0})
    assert found.auroc == 1.0 and found.auroc_written == pytest.approx((3 + 0.5) / 4)


def test_unsigned_methods_are_methods() -> None:
    assert set(METHODS) > UNSIGNED
    drawn = score(DUPLICATE.model, DUPLICATE.tasks["key"], "random")
    assert np.allclose(importance(drawn), drawn.values, rtol=1e-3, atol=ROUNDING)


# ---- bad input ----


def test_mistakes_are_one_sentence() -> None:
    exact = scores_of({}).values
    with pytest.raises(CircuitError, match=r"'7\.7->logits' is no edge of this model"):
        calibrate(scores_of({}), {"7.7->logits": 1}, DUPLICATE.written, exact)
    with pytest.raises(CircuitError, match="exact holds 3 effects, but .* has 17 edges"):
        calibrate(scores_of({}), KEY, DUPLICATE.written, exact[:3])
    with pytest.raises(CircuitError, match="0 of 17 edges are true"):
        calibrate(scores_of({}), {}, DUPLICATE.written, exact)
