"""Published circuits as data, and a found circuit beside one of them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from cutaway.circuits.compare import compare_heads
from cutaway.circuits.published import PUBLISHED, PublishedCircuit, PublishedModel, published
from cutaway.evidence import proportion
from cutaway.experiments.ioi.published import classes, figures
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.graph import Graph

# Two layers of three heads, small enough that every choice can be counted.
TINY = PublishedCircuit(
    name="tiny",
    model=PublishedModel("tiny-model", n_layers=2, n_heads=3, d_model=6, attn_only=False),
    task="none",
    sources=(),
    classes={"early": ("0.1",), "late": ("1.0", "1.2"), "sum": ("mlp1",)},
    positions={},
    further={"aside": ("0.0",)},
    notes=(),
)
COUNTED = [head for head in TINY.model.heads if head != "0.0"]


def cfg_of(model: PublishedModel, **changes: int) -> ModelConfig:
    shape = {"n_layers": model.n_layers, "n_heads": model.n_heads, "d_model": model.d_model}
    return ModelConfig(d_vocab=5, n_ctx=4, attn_only=model.attn_only, **{**shape, **changes})


# ---- the data ----


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_node_is_one_that_the_graph_of_its_model_has_and_stands_in_one_class(name) -> None:
    circuit = published(name)
    graph = Graph(cfg_of(circuit.model))
    assert circuit.name == name
    named = [*circuit.nodes, *itertools.chain(*circuit.further.values())]
    assert len(set(named)) == len(named)
    for node in named:
        assert graph.sender(node).name == node
    assert {s.name for s in graph.senders} == {"embed", *circuit.model.heads, *circuit.model.mlps}
    for members in circuit.classes.values():  # of one kind, or a class could not be scored
        assert len({node.startswith("mlp") for node in members}) == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_fact_has_its_source_and_every_position_its_class(name) -> None:
    circuit = published(name)
    assert all(one.citation and one.where for one in circuit.sources) and circuit.notes
    assert all(one.url.startswith("https://") for one in circuit.sources)
    assert circuit.positions.keys() <= circuit.classes.keys()
    assert all(circuit.positions.values()) and all(circuit.classes.values())


def test_the_ioi_circuit_has_26_heads_that_act_where_the_paper_says() -> None:
    circuit = published("ioi")
    assert len(circuit.heads) == len(circuit.nodes) == 26
    assert circuit.positions["previous token"] == ("S1+1",)
    assert circuit.positions["duplicate token"] == circuit.positions["induction"] == ("S2",)
    at_end = [kind for kind, where in circuit.positions.items() if where == ("END",)]
    assert sum(len(circuit.classes[kind]) for kind in at_end) == 17


def test_the_ioi_circuit_is_the_one_in_the_recorded_reference(shared) -> None:
    file = shared / "reference" / "gpt2_small_ioi.json"
    paper = json.loads(file.read_text(encoding="utf-8"))["paper"]
    spelling = {"s inhibition": "S-inhibition"}
    circuit = published("ioi")
    assert len(paper["heads"]) == len(circuit.classes)
    for key, heads in paper["heads"].items():
        kind = spelling.get(key.replace("_", " "), key.replace("_", " "))
        assert sorted(circuit.classes[kind]) == sorted(f"{a}.{b}" for a, b in heads)
        assert circuit.positions[kind] == (paper["position_of_class"][key],)


def test_the_head_classes_stand_in_one_place_only() -> None:
    assert "heads" not in figures()["paper"] and "position_of_class" not in figures()["paper"]
    assert classes()["8.6"] == published("ioi").class_of("8.6") == "S-inhibition"
    assert published("ioi").class_of("0.0") == ""


def test_the_induction_heads_are_those_with_the_recorded_scores() -> None:
    scores = np.array(figures()["demo"]["induction_score"])
    ranked = [f"{i // 12}.{i % 12}" for i in scores.ravel().argsort()[::-1]]
    circuit, values = published("induction"), np.sort(scores.ravel())[::-1]
    assert set(ranked[:5]) == set(circuit.heads)
    assert values[4] > 0.85 and values[5] < 0.49  # the gap that the source speaks of
    weaker = next(nodes for why, nodes in circuit.further.items() if why.startswith("weaker"))
    assert set(ranked[5 : 5 + len(weaker)]) == set(weaker)
    assert values[4 + len(weaker)] > 0.3 > values[5 + len(weaker)]
    previous = np.array(figures()["demo"]["previous_token_score"])
    assert circuit.further["previous token"] == (
        f"{previous.argmax() // 12}.{previous.argmax() % 12}",
    )


def test_a_circuit_cannot_be_changed_and_an_unknown_one_is_named() -> None:
    with pytest.raises(TypeError):
        published("ioi").classes["name mover"] = ("0.0",)  # type: ignore[index]
    with pytest.raises(ValueError, match="'colour': there are ioi, greater-than, docstring, "):
        published("colour")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_of_another_shape_is_refused(name) -> None:
    circuit = published(name)
    circuit.check_fits(cfg_of(circuit.model))
    for field in ("n_layers", "n_heads", "d_model"):
        changed = cfg_of(circuit.model, **{field: 2 * getattr(circuit.model, field)})
        with pytest.raises(ValueError, match=f"{name}.*published for {circuit.model.name}"):
            circuit.check_fits(changed)


# ---- the comparison ----


def test_the_numbers_are_those_of_counting() -> None:
    comparison = compare_heads(["9.9", "9.6", "5.5", "0.0", "mlp0", "embed"], published("ioi"))
    heads = comparison.heads
    assert (heads.shared, heads.extra) == (("5.5", "9.6", "9.9"), ("0.0",))
    assert len(heads.missed) == 23 and heads.n_candidates == 144
    assert heads.precision == proportion(3, 4) and heads.recall == proportion(3, 26)
    assert heads.jaccard == pytest.approx(3 / 27)
    assert comparison.classes["name mover"].recall == proportion(2, 3)
    assert comparison.classes["name mover"].missed == ("10.0",)
    assert comparison.mlps is None
    assert [*comparison.not_counted.values()] == [("mlp0",)]


def test_mlps_are_counted_apart_and_what_is_only_mentioned_counts_neither_way() -> None:
    circuit = published("greater-than")
    comparison = compare_heads(["9.1", "0.1", "mlp9", "mlp4", "mlp0"], circuit)
    assert comparison.heads.precision == proportion(1, 1)
    assert comparison.heads.n_candidates == 141  # without 0.1, 0.3, 0.5
    assert comparison.mlps is not None
    assert (comparison.mlps.shared, comparison.mlps.extra) == (("mlp9",), ("mlp4",))
    assert comparison.mlps.recall == comparison.classes["comparing MLP"].recall == proportion(1, 4)
    assert comparison.not_counted == {"read by the year heads": ("0.1", "mlp0")}


def test_a_search_over_heads_only_is_not_blamed_for_mlps() -> None:
    circuit = published("greater-than")
    comparison = compare_heads(["9.1"], circuit, candidates=circuit.model.heads)
    assert comparison.mlps is None and "comparing MLP" not in comparison.classes
    assert comparison.heads.recall == proportion(1, 7)


@given(st.sets(st.sampled_from(COUNTED), min_size=1))
def test_chance_is_what_drawing_every_choice_gives(found) -> None:
    heads = compare_heads(found, TINY).heads
    everything = [set(drawn) for drawn in itertools.combinations(COUNTED, len(found))]
    wanted = set(TINY.heads)
    n_shared = len(found & wanted)
    hits = np.array([len(drawn & wanted) for drawn in everything])
    assert heads.chance.expected == pytest.approx(hits.mean())
    assert heads.chance.p_value == pytest.approx((hits >= n_shared).mean())
    jaccards = [len(drawn & wanted) / len(drawn | wanted) for drawn in everything]
    assert heads.jaccard_by_chance == pytest.approx(np.mean(jaccards))

    def layers(nodes: set[str]) -> list[str]:
        return sorted(node.split(".")[0] for node in nodes)

    alike = np.array([len(d & wanted) for d in everything if layers(d) == layers(found)])
    assert heads.chance_in_layers.expected == pytest.approx(alike.mean())
    assert heads.chance_in_layers.p_value == pytest.approx((alike >= n_shared).mean())


@given(st.sets(st.sampled_from(published("ioi").model.heads), min_size=1))
def test_chance_equals_scipy_and_the_order_of_the_names_changes_nothing(found) -> None:
    heads = compare_heads(found, published("ioi")).heads
    law = hypergeom(144, 26, len(found))
    assert heads.chance.p_value == pytest.approx(law.sf(len(heads.shared) - 1), rel=1e-9)
    assert heads.chance.expected == pytest.approx(law.mean())
    assert 0 <= heads.chance_in_layers.p_value <= 1
    again = compare_heads(sorted(found, reverse=True) * 2, published("ioi"))
    assert again.heads == heads


def test_finding_exactly_the_published_circuit_is_perfect_and_finding_all_is_chance() -> None:
    circuit = published("ioi")
    perfect = compare_heads(circuit.heads, circuit)
    assert perfect.heads.precision is not None and perfect.heads.precision.estimate == 1
    assert perfect.heads.recall.estimate == perfect.heads.jaccard == 1
    assert perfect.heads.chance.p_value < 1e-20
    everything = compare_heads(circuit.model.heads, circuit).heads
    assert everything.recall.estimate == 1 and everything.chance.p_value == 1
    assert everything.jaccard == pytest.approx(everything.jaccard_by_chance)


def test_the_right_layers_alone_do_not_pass_the_stricter_control() -> None:
    """All heads of the name movers' layers hold many published ones; none was told apart."""
    circuit = published("ioi")
    found = [head for head in circuit.model.heads if head.split(".")[0] in ("9", "10")]
    heads = compare_heads(found, circuit).heads
    assert heads.chance.p_value < 0.01
    assert heads.chance_in_layers.p_value == 1


def test_one_golden_comparison() -> None:
    """The ten largest of the recorded head effects beside the circuit of the paper."""
    effects = np.abs(np.array(figures()["demo"]["patch_head_out_all_positions"])).ravel()
    found = [f"{i // 12}.{i % 12}" for i in effects.argsort()[::-1][:10]]
    rows = {row["nodes"]: row for row in compare_heads(found, published("ioi")).to_frame()}
    assert (rows["all heads"]["shared"], rows["all heads"]["precision"]) == (10, 1.0)
    assert rows["all heads"]["p_value"] == pytest.approx(6.921e-09, rel=1e-3)
    assert rows["negative name mover"]["recall"] == 1
    assert rows["backup name mover"]["shared"] == rows["previous token"]["shared"] == 0
    assert rows["S-inhibition"]["recall"] == 1 and rows["S-inhibition"]["precision"] is None


@pytest.mark.parametrize(
    ("found", "name", "message"),
    [
        (["12.0"], "ioi", "gpt2-small.*no node '12.0' .*heads 0.0 to 11.11, MLPs mlp0 to mlp11"),
        (["9.9.q"], "ioi", "input of a head: give the head, 9.9"),
        (["mlp0"], "docstring", "attn-only-4l.*no node 'mlp0' .*0.0 to 3.7 and no MLPs"),
        (["logits"], "ioi", "no node 'logits'"),
        (["embed"], "ioi", "neither a head nor an MLP"),
        ([], "ioi", "neither a head nor an MLP"),
    ],
)
def test_what_cannot_be_compared_is_named(found, name, message) -> None:
    with pytest.raises(ValueError, match=message):
        compare_heads(found, published(name))


def test_a_found_node_must_be_a_candidate() -> None:
    with pytest.raises(ValueError, match="'9.9' was found and is not among the candidates"):
        compare_heads(["9.9"], published("ioi"), candidates=["9.6", "9.7"])
    with pytest.raises(ValueError, match="no node '13.1'"):
        compare_heads(["9.9"], published("ioi"), candidates=["9.9", "13.1"])


def test_a_published_circuit_can_be_put_into_its_model() -> None:
    cfg = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_head=2, d_mlp=4, d_vocab=5, n_ctx=4)
    model = HookedTransformer(cfg)
    paper = published("ioi")
    circuit = paper.in_model(model)
    assert set(circuit.heads) == set(paper.heads) and len(circuit.heads) == 26
    assert set(circuit.nodes) - set(circuit.heads) == {"embed", *(f"mlp{i}" for i in range(12))}
    assert circuit.positions["9.9"] == ("END",) and circuit.positions["2.2"] == ("S1+1",)
    assert "mlp0" not in circuit.positions
    assert not any("mlp" in name for name in paper.in_model(model, mlps=False).nodes)
    with pytest.raises(ValueError, match="has another shape"):
        paper.in_model(HookedTransformer(cfg.replace(n_layers=2)))
