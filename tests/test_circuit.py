"""`Circuit`: what it refuses, its sets, its files; and which edges lie on a way."""

from __future__ import annotations

import itertools
import json
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.circuits.circuit import Circuit, CircuitError, require_edges
from cutaway.circuits.wiring import Wiring
from cutaway.model.config import ModelConfig
from random_models import configs, random_model

CFG = ModelConfig(n_layers=2, d_model=8, n_heads=2, d_vocab=9, n_ctx=6, model_name="tiny")
ROUTE = ("embed->0.1.v", "0.1->mlp0", "mlp0->1.0.k", "1.0->logits")


def random_set(wiring: Wiring, seed: int, share: float = 0.4) -> np.ndarray:
    drawn = np.random.default_rng(seed).random(wiring.allowed.shape) < share
    return wiring.allowed & drawn


@given(configs(), st.integers(0, 1000))
def test_names_and_matrices_are_two_ways_to_say_one_thing(cfg, seed) -> None:
    wiring = Wiring(cfg)
    matrix = random_set(wiring, seed)
    names = wiring.names(matrix)
    assert (wiring.matrix(reversed(names)) == matrix).all()
    assert len(names) == matrix.sum() and int(wiring.allowed.sum()) == len(wiring.graph.edges)
    circuit = Circuit(cfg, tuple(reversed(names)))
    assert circuit.edges == names  # in the graph's order, whatever was given
    ends = {name.partition("->")[0] for name in names}
    for name in names:
        receiver = wiring.graph.receiver(name.partition("->")[2])
        ends |= {one.name for one in wiring.read_by(receiver)}
    assert set(circuit.nodes) == ends


@given(configs(max_layers=2), st.integers(0, 1000))
def test_pruning_keeps_the_edges_of_some_way_and_no_others(cfg, seed) -> None:
    """Against a walk along every way from the embedding."""
    wiring = Wiring(cfg)
    matrix = random_set(wiring, seed, share=0.15)
    onwards: dict[str, list[tuple[str, list[str]]]] = {}
    for name in wiring.names(matrix):
        sender, _, end = name.partition("->")
        nodes = [one.name for one in wiring.read_by(wiring.graph.receiver(end))] or ["logits"]
        onwards.setdefault(sender, []).append((name, nodes))
    useful: set[str] = set()

    def walk(node: str, way: tuple[str, ...]) -> None:
        if node == "logits":
            useful.update(way)
            return
        for edge, nodes in onwards.get(node, []):
            for following in nodes:
                walk(following, (*way, edge))

    walk("embed", ())
    pruned = wiring.pruned(matrix)
    assert set(wiring.names(pruned)) == useful
    assert (wiring.pruned(pruned) == pruned).all()


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_sets_and_jaccard_are_those_of_python(first, second) -> None:
    wiring = Wiring(CFG)
    a, b = (Circuit(CFG, wiring.names(random_set(wiring, seed))) for seed in (first, second))
    mine, its = set(a.edges), set(b.edges)
    assert set((a | b).edges) == mine | its and set((a & b).edges) == mine & its
    assert set((a - b).edges) == mine - its
    assert set(a.complement().edges) == set(wiring.graph.edge_names) - mine
    assert a.jaccard(b) == pytest.approx(len(mine & its) / len(mine | its))
    nodes = [set(one.nodes) - {"embed"} for one in (a, b)]
    expected = len(nodes[0] & nodes[1]) / len(nodes[0] | nodes[1])
    assert a.jaccard(b, of="nodes") == pytest.approx(expected)
    assert a.jaccard(a) == 1.0 and ("0.0->1.0.q" in a) == ("0.0->1.0.q" in mine)


def test_a_circuit_of_nodes_has_all_edges_between_them() -> None:
    model = random_model(CFG)
    circuit = Circuit.of_nodes(model, ["0.1", "mlp1"])
    inner = {"embed", "0.1", "mlp1"}
    expected = {
        f"{sender.name}->{receiver.name}"
        for sender, receiver in circuit.graph.edges
        if sender.name in inner
        and (
            receiver.kind == "logits"
            or inner & {one.name for one in circuit.wiring.read_by(receiver)}
        )
    }
    assert set(circuit.edges) == expected and set(circuit.nodes) == inner
    assert circuit.heads == ("0.1",)


@pytest.mark.parametrize(
    ("edge", "says"),
    [
        ("1.0->0.0.q", "'1.0->0.0.q' cannot be: 1.0 writes after 0.0.q has read"),
        ("0.0->9.0.q", "tiny has no receiver '9.0.q'"),
        ("mlp7->logits", "tiny has no sender 'mlp7'"),
        ("0.0->1.0", "'1.0' is a head: say which of its inputs receives"),
        ("embed", "'embed' is not an edge: write a sender and a receiver"),
    ],
)
def test_an_edge_that_cannot_exist_is_refused(edge, says) -> None:
    with pytest.raises(CircuitError, match="^.*" + says.replace(".", r"\.")):
        Circuit(CFG, (edge,))


def test_what_is_said_of_edges_must_be_of_its_edges() -> None:
    with pytest.raises(CircuitError, match="not an edge of the circuit"):
        Circuit(CFG, ROUTE, effects={"embed->logits": 1.0})
    with pytest.raises(CircuitError, match="is nan"):
        Circuit(CFG, ROUTE, effects={ROUTE[0]: float("nan")})
    with pytest.raises(CircuitError, match="no sender 'head'"):
        Circuit(CFG, ROUTE, positions={"head": ("END",)})


def test_a_saved_circuit_comes_back_whole(tmp_path) -> None:
    model = random_model(CFG)
    circuit = Circuit.of(
        model,
        ROUTE,
        effects={ROUTE[0]: -0.25, ROUTE[3]: 1e-9},
        positions={"0.1": ("S2", "END")},
        task="ioi",
        method="exact-edges",
        settings={"n_edges": 4, "unit": "share"},
        notes=("one note",),
    )
    circuit.save(tmp_path / "a" / "circuit.json")
    loaded = Circuit.load(tmp_path / "a" / "circuit.json")
    for name in ("edges", "effects", "positions", "digest", "task", "method", "settings", "notes"):
        assert getattr(loaded, name) == getattr(circuit, name), name
    assert loaded.cfg.to_dict() == circuit.cfg.to_dict()
    loaded.check_fits(model)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["circuit.json"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "cutaway circuit"}', "\x00"])
def test_a_file_that_holds_no_circuit_is_one_sentence(text, tmp_path) -> None:
    path = tmp_path / "circuit.json"
    path.write_text(text)
    with pytest.raises(CircuitError, match="circuit.json"):
        Circuit.load(path)
    with pytest.raises(CircuitError, match="there is no file"):
        Circuit.load(tmp_path / "other.json")


def test_a_broken_edge_in_a_file_is_named(tmp_path) -> None:
    path = tmp_path / "circuit.json"
    Circuit(CFG, ROUTE).save(path)
    described = json.loads(path.read_text())
    described["edges"].append(["1.1->0.0.q", None])
    path.write_text(json.dumps(described))
    with pytest.raises(CircuitError, match=r"1\.1 writes after 0\.0\.q has read"):
        Circuit.load(path)


def test_a_circuit_of_another_model_is_refused() -> None:
    circuit = Circuit.of(random_model(CFG, 0), ROUTE)
    with pytest.raises(CircuitError, match="with the digest"):
        circuit.check_fits(random_model(CFG, 1))
    with pytest.raises(CircuitError, match="whose graph is not that of"):
        circuit.check_fits(random_model(CFG.replace(n_layers=3)))
    Circuit(CFG, ROUTE).check_fits(random_model(CFG, 1))  # of any model of this shape
    with pytest.raises(CircuitError, match="different shapes"):
        circuit.jaccard(Circuit(CFG.replace(attn_only=True), ()))


def test_empty_circuits_have_nothing_to_work_on() -> None:
    with pytest.raises(CircuitError, match="is empty: there is nothing to evaluate"):
        require_edges(Circuit(CFG, ()), "evaluate")
    with pytest.raises(CircuitError, match="lies on a way"):
        require_edges(Circuit(CFG, ROUTE[:-1]), "evaluate")
    require_edges(Circuit(CFG, ROUTE), "evaluate")


def test_networkx_has_one_edge_between_two_nodes() -> None:
    edges = (*ROUTE, "mlp0->1.0.v", "embed->logits")
    circuit = Circuit(CFG, edges, effects={"mlp0->1.0.k": 0.25, "mlp0->1.0.v": -0.5})
    graph = circuit.to_networkx()
    assert set(graph.nodes) == {"embed", "0.1", "mlp0", "1.0", "logits"}
    assert graph.edges["mlp0", "1.0"] == {"inputs": ("k", "v"), "effect": -0.25}
    assert graph.nodes["1.0"] == {"kind": "head", "layer": 1}
    assert set(graph.edges) == {
        pair for pair in itertools.pairwise(["embed", "0.1", "mlp0", "1.0", "logits"])
    } | {("embed", "logits")}


def test_the_frame_has_a_row_for_each_edge() -> None:
    rows = Circuit(CFG, ROUTE, effects={ROUTE[1]: 0.5}).to_frame()
    assert [row["edge"] for row in rows] == list(ROUTE)
    assert rows[1] == {"edge": ROUTE[1], "sender": "0.1", "receiver": "mlp0", "effect": 0.5}


def test_a_set_of_two_circuits_claims_only_what_holds_of_both() -> None:
    known = {"digest": "d", "task": "ioi", "notes": ("one",), "effects": {ROUTE[0]: 1.0}}
    first = Circuit(CFG, ROUTE, method="eap", **known)
    both = first | Circuit(CFG, ("embed->logits",), digest="d", task="ioi", method="acdc")
    assert (both.method, both.digest, both.task) == ("(eap | acdc)", "d", "ioi")
    assert both.effects == {} and both.notes == ()  # two methods' effects have two units
    other = first | Circuit(CFG, ("embed->logits",), digest="e", task="docstring")
    assert (other.digest, other.task) == ("", "")


@pytest.mark.parametrize("places", [(), "END"])
def test_a_sender_at_no_position_is_refused(places) -> None:
    with pytest.raises(
        CircuitError, match=r"positions\['0.1'\] is .* give the names of one or more"
    ):
        Circuit(CFG, ROUTE, positions={"0.1": places})


@pytest.mark.parametrize(
    "change",
    [
        {"positions": []},
        {"edges": [["embed->logits"]]},
        {"edges": [["embed->logits", "large"]]},
        {"edges": [["logits->embed", None]]},
        {"model": 3},
        {"model": {"digest": "", "config": {}}},
    ],
)
def test_a_file_with_one_thing_wrong_is_one_sentence(change, tmp_path) -> None:
    path = tmp_path / "mine.json"
    Circuit(CFG, ROUTE).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CircuitError, match="does not hold a whole circuit: ") as refused:
        Circuit.load(path)
    message = str(refused.value)
    assert "\n" not in message and message.endswith(".") and not message.endswith("..")


def test_a_save_that_fails_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "mine.json"
    Circuit(CFG, ROUTE).save(path)
    before = path.read_text()
    full = mock.patch("cutaway.files.os.replace", side_effect=OSError("disk full"))
    with full, pytest.raises(OSError, match="disk full"):
        Circuit(CFG, ()).save(path)
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


@given(configs(), st.integers(0, 50))
def test_read_is_what_leads_to_the_logits(cfg, seed) -> None:
    """One more edge from the embedding into a receiver lies on a way if the receiver is read."""
    wiring = Wiring(cfg)
    matrix = random_set(wiring, seed, share=0.15)
    read = wiring.read(matrix)
    for at in range(len(read)):
        more = matrix.copy()
        more[at, 0] = True
        assert wiring.pruned(more)[at, 0] == read[at]
