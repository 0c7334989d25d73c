"""Discovery methods against slow versions, and on models whose circuit is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from circuit_oracles import circuit_by_hooks
from cutaway.attribution.edges import attribute_edges
from cutaway.circuits.circuit import CircuitError
from cutaway.circuits.discovery import METHODS, discover, score
from cutaway.circuits.discovery.acdc import ACDCSettings, acdc
from cutaway.circuits.discovery.edge_masks import EdgeMaskSettings
from cutaway.circuits.known import KNOWN
from cutaway.circuits.wiring import Wiring
from cutaway.model.config import ModelConfig
from cutaway.patching.edges import sweep_edges
from cutaway.patching.sweep import sweep
from random_models import random_model, small_task

CFG = ModelConfig(n_layers=2, d_model=8, n_heads=2, d_vocab=17, n_ctx=12, init_range=0.4)
SHAPES = [
    CFG,
    CFG.replace(attn_only=True, n_heads=4, d_head=4, n_key_value_heads=2),
    CFG.replace(parallel_attn_mlp=True),
]


def acdc_one_by_one(model, task, tau: float, criterion: str) -> tuple[set[str], dict[str, float]]:
    """Algorithm 1 of Conmy et al. 2023 as it is written: one full run with hooks for each edge."""
    wiring = Wiring(model.cfg)
    left = set(wiring.graph.edge_names)

    def run(edges: set[str]) -> np.ndarray:
        return circuit_by_hooks(model, task, edges, "patch").numpy()

    whole = run(left)
    gap = whole.mean() - run(set()).mean()

    def loss(values: np.ndarray) -> float:
        if criterion == "distance":
            return float(np.abs(whole - values).mean() / abs(gap))
        return float((whole - values).mean() / gap)

    now, scores = whole, {}
    for receiver in reversed(wiring.graph.receivers):
        senders = wiring.graph.senders[: wiring.graph.n_upstream(receiver)]
        for sender in reversed(senders):
            name = f"{sender.name}->{receiver.name}"
            values = run(left - {name})
            scores[name] = float((now - values).mean() / gap)
            if loss(values) - loss(now) < tau:
                left.remove(name)
                now = values
    return left, scores


@pytest.mark.parametrize("criterion", ["distance", "drop"])
@pytest.mark.parametrize("cfg", SHAPES, ids=["plain", "grouped", "parallel"])
def test_acdc_keeps_what_one_run_for_each_edge_keeps(cfg, criterion) -> None:
    model, task = random_model(cfg).double(), small_task(cfg, n_prompts=4)
    wiring = Wiring(cfg)
    for tau in (0.003, 0.05):
        found = acdc(model, task, ACDCSettings(tau=tau, criterion=criterion))
        left, scores = acdc_one_by_one(model, task, tau, criterion)
        kept = wiring.matrix(left)
        assert (found.kept == wiring.pruned(kept)).all(), tau
        expected = np.array([scores[name] for name in wiring.graph.edge_names])
        # Edges into readers that nothing reads are taken out without a run: they are worth 0.
        assert np.abs(found.values - expected).max() < 1e-6
        assert 0 < found.kept.sum() < wiring.allowed.sum()


def test_acdc_is_the_same_however_many_edges_are_tried_at_once(monkeypatch) -> None:
    from cutaway.circuits.discovery import acdc as module

    model, task = random_model(CFG, 3), small_task(CFG)
    many = acdc(model, task, ACDCSettings(tau=0.01))
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 1)
    few = acdc(model, task, ACDCSettings(tau=0.01))
    assert (many.kept == few.kept).all() and np.abs(many.values - few.values).max() < 1e-5


@pytest.mark.parametrize("mode", ["noising", "denoising"])
def test_scores_are_those_of_the_sweeps_they_come_from(mode) -> None:
    model, task = random_model(CFG), small_task(CFG)
    for method, effects in {
        "exact-edges": sweep_edges(model, task, mode=mode),
        "eap": attribute_edges(model, task, mode=mode),
        "eap-ig": attribute_edges(model, task, mode=mode, method="eap-ig-inputs", steps=5),
    }.items():
        found = score(model, task, method, METHODS[method].settings(mode=mode))
        assert np.allclose(found.values, effects.normalised(), atol=1e-6), method


def test_a_node_s_effect_is_given_to_the_edges_between_nodes() -> None:
    model, task = random_model(CFG), small_task(CFG)
    found = score(model, task, "exact-nodes")
    heads = sweep(model, task, "z", mode="noising").normalised()
    mlps = sweep(model, task, "mlp_out", positions="all", mode="noising").normalised()
    of = {f"{layer}.{head}": heads[layer, head] for layer in range(2) for head in range(2)}
    of |= {f"mlp{layer}": mlps[layer] for layer in range(2)}
    named = dict(zip(Wiring(CFG).graph.edge_names, found.values, strict=True))
    weaker = min(of["0.1"], of["mlp1"], key=abs)
    assert named["0.1->mlp1"] == pytest.approx(float(weaker), abs=1e-6)
    assert named["embed->1.0.q"] == pytest.approx(float(of["1.0"]), abs=1e-6)
    assert named["1.1->logits"] == pytest.approx(float(of["1.1"]), abs=1e-6)
    assert abs(named["embed->logits"]) == pytest.approx(max(map(abs, of.values())), abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_circuit_of_the_size_that_was_asked_for(method) -> None:
    model, task = random_model(CFG), small_task(CFG)
    few = {"steps": 5} if method == "edge-masks" else {}
    circuit = discover(model, task, method, n_edges=12, **few)
    assert len(circuit) == 12 or any("not 12" in note for note in circuit.notes)
    assert circuit.pruned().edges == circuit.edges and circuit.method == method
    assert circuit.effects.keys() == set(circuit.edges)
    assert circuit.task == task.name and circuit.settings["n_edges"] == 12
    circuit.check_fits(model)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "random"])
def test_every_method_finds_the_written_induction_circuit(method) -> None:
    """Not saturated, all methods that look at edges rank its edges first."""
    from cutaway.circuits.known.base import KnownSettings

    known = KNOWN["induction"](0, KnownSettings(sharpness=3))
    task = known.tasks["key"]
    truth = set(known.detectable["key"])
    circuit = discover(known.model, task, method, n_edges=len(truth))
    if method == "exact-nodes":  # knows the nodes, and not which of their inputs
        assert set(circuit.nodes) <= {name.partition("->")[0] for name in truth} | {"embed", "1.2"}
    else:
        assert set(circuit.edges) == truth


def test_learned_masks_are_the_same_for_the_same_seed() -> None:
    known = KNOWN["induction"](0)
    task = known.tasks["key"]
    runs = [
        score(known.model, task, "edge-masks", EdgeMaskSettings(steps=20, seed=seed))
        for seed in (0, 0, 1)
    ]
    assert (runs[0].values == runs[1].values).all()
    assert (runs[0].values != runs[2].values).any() and (runs[0].values >= 0).all()


def test_a_closed_gate_is_not_part_of_the_circuit() -> None:
    known = KNOWN["induction"](0)
    circuit = discover(known.model, known.tasks["key"], "edge-masks")
    assert set(circuit.edges) == set(known.detectable["key"])


def test_the_default_keeps_what_has_an_effect() -> None:
    known = KNOWN["ioi"](0)
    circuit = discover(known.model, known.tasks["s2-flip"])
    assert set(circuit.edges) <= set(known.detectable["s2-flip"]) and len(circuit)
    assert all(abs(effect) >= 0.02 for effect in circuit.effects.values())
    larger = discover(known.model, known.tasks["s2-flip"], threshold=0.0)
    assert len(larger) == len(larger.graph.edge_names)


@pytest.mark.parametrize(
    ("method", "settings", "says"),
    [
        ("guess", {}, "there is no method 'guess'; there are exact-edges, exact-nodes,"),
        ("eap", {"tau": 0.1}, "eap has no setting 'tau'; it has n_edges, threshold"),
        ("eap", {"n_edges": 3, "threshold": 0.1}, "give n_edges or threshold, not both"),
        ("eap", {"n_edges": 0}, "n_edges=0 is not between 1 and"),
        ("eap", {"n_edges": 1000}, "n_edges=1000 is not between 1 and"),
        ("eap", {"threshold": -1.0}, "threshold=-1.0 is not a size"),
        ("acdc", {"tau": -1.0}, "tau=-1.0 is not a share"),
        ("acdc", {"criterion": "kl"}, "criterion='kl' is neither"),
        ("acdc", {"mode": "denoising"}, "mode='denoising' is not for ACDC"),
        ("edge-masks", {"steps": 0}, "steps=0 is not positive"),
        ("edge-masks", {"mode": "denoising"}, "mode='denoising' is not for edge masks"),
        ("eap-ig", {"steps": 0}, "steps=0 is not a whole number"),
    ],
)
def test_what_cannot_be_is_said(method, settings, says) -> None:
    model, task = random_model(CFG), small_task(CFG)
    with pytest.raises(ValueError, match="^" + says):
        discover(model, task, method, **settings)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "random"])
def test_a_task_without_a_difference_is_refused(method) -> None:
    task = small_task(CFG)
    same = dataclasses.replace(task, corrupted=task.clean)
    with pytest.raises(ValueError, match="the logit difference has the same mean"):
        discover(random_model(CFG), same, method)


def test_one_prompt_and_hooks_are_refused() -> None:
    model, task = random_model(CFG), small_task(CFG)
    with pytest.raises(CircuitError, match="has 1 prompt: a circuit found on one prompt"):
        discover(model, task.subset([0]))
    with pytest.raises(CircuitError, match="EAPSettings are not settings of 'acdc'"):
        score(model, task, "acdc", METHODS["eap"].settings())
    attached = model.hooks([("blocks.0.attn.hook_z", lambda value, hook: value)])
    with attached, pytest.raises(ValueError, match="hooks are attached"):
        discover(model, task)


def test_a_golden_circuit() -> None:
    model, task = random_model(CFG), small_task(CFG)
    circuit = discover(model, task, n_edges=4)
    assert circuit.edges == GOLDEN


GOLDEN = ("embed->0.0.k", "embed->0.0.v", "0.0->mlp0", "mlp0->logits")
