"""`cutaway circuit discover`, `evaluate`, `compare` and `draw`, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import cutaway as ca
from command_line import typed
from cutaway import cli
from cutaway.circuits import Circuit, discover
from cutaway.circuits.evaluation import Trial, evaluate, faithfulness
from cutaway.findings import Run, list_runs, load_run

FEW = ["--n-prompts", "8", "--n-random", "3"]


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with two searches: EAP-IG, and then exact nodes."""
    root = tmp_path_factory.mktemp("runs")
    for method in ("eap-ig", "exact-nodes"):
        words = ["circuit", "discover", "--method", method, "--n-edges", "20", *FEW]
        assert cli.main([*words, "--out", str(root)]) == 0
    return root


def search_of(runs: Path, method: str) -> Run:
    found, _ = list_runs(runs)
    (run,) = [
        one
        for one in found
        if one.study == "circuit-discover" and one.record["settings"]["method"] == method
    ]
    return run


def test_what_discover_saves_is_what_the_library_finds(runs, model) -> None:
    run = search_of(runs, "eap-ig")
    circuit = Circuit.load(run.path / "circuit.json")
    task, fresh = (ca.tasks.ioi(model, 8, seed=seed) for seed in (0, 1))
    expected = discover(model, task, "eap-ig", n_edges=20)
    assert circuit.edges == expected.edges and circuit.digest == model.digest
    found = run.results()
    alone = faithfulness(Trial(model, fresh, circuit), n_random=3, seed=0)
    assert found["faithfulness"]["ratio"]["estimate"] == pytest.approx(alone.ratio.estimate)
    interval = found["intervals"][circuit.edges[0]]
    assert interval["low"] <= interval["estimate"] <= interval["high"]
    assert interval["estimate"] == pytest.approx(circuit.effects[circuit.edges[0]], abs=1e-6)
    assert run.arrays()["scores"].shape == (1519,)
    report = run.report.read_text()
    assert "http://" not in report.replace("http://www.w3.org", "") and "src=" not in report


def test_what_evaluate_saves_is_what_the_library_finds(runs, model, capsys, tmp_path) -> None:
    run = search_of(runs, "eap-ig")
    words = ["circuit", "evaluate", str(run.path), *FEW, "--level", "nodes"]
    assert typed(*words, "--out", str(tmp_path)) == 0
    assert "found on" not in capsys.readouterr().out
    done = load_run("latest", tmp_path)
    asked = done.record["settings"]
    assert (asked["circuit"], asked["model"], asked["task"]) == (run.id, "ioi-mini", "ioi")
    circuit = Circuit.load(run.path / "circuit.json")
    expected = evaluate(
        model, ca.tasks.ioi(model, 8, seed=1), circuit, level="nodes", n_random=3, seed=1
    )
    found = done.results()
    assert found["how"] == expected.how == "nodes at all positions, outside: patch"
    assert found["faithfulness"]["ratio"]["estimate"] == pytest.approx(
        expected.faithfulness.ratio.estimate
    )
    worst = found["completeness"]["worst"]
    assert worst["without"] == list(expected.completeness.worst.without)
    assert [one["part"] for one in found["minimality"]["parts"]] == [
        one.part for one in expected.minimality.parts
    ]
    assert Circuit.load(done.path / "circuit.json").edges == circuit.edges


def test_the_prompts_it_was_found_on_are_warned_of(runs, capsys, tmp_path) -> None:
    circuit = search_of(runs, "eap-ig").path / "circuit.json"
    few = ["--n-prompts", "4", "--n-random", "1", "--out", str(tmp_path)]
    words = ["circuit", "evaluate", str(circuit), *few, "--seed", "0", "--tests"]
    assert typed(*words, "--minimal", "edges") == 0
    lines = capsys.readouterr().out.splitlines()
    printed = " ".join(" ".join(lines).split())
    assert lines[0] == "Warning: these are the prompts that the circuit was found on."
    assert "found on prompts of seed 0 and is tested on the same" in printed
    assert "Hypothesis tests" in printed
    run = load_run("latest", tmp_path)
    assert run.report.read_text().count("it looks better than it is") == 1
    assert [test["name"] for test in run.results()["tests"]][:2] == ["equivalence", "independence"]
    # What an evaluation saves can be evaluated in turn: it knows its model and its task.
    assert typed("circuit", "evaluate", "latest", *few) == 0


def test_latest_is_the_last_run_that_holds_a_circuit(runs, capsys, tmp_path) -> None:
    found = search_of(runs, "exact-nodes")
    shutil.copytree(found.path, tmp_path / found.path.name)
    other = str(search_of(runs, "eap-ig").path)
    for _ in range(2):  # the second time the last run is a comparison
        assert typed("circuit", "compare", "latest", other, "--out", str(tmp_path)) == 0
    assert capsys.readouterr().out.count(f"exact-nodes ({found.id}) has ") == 2


def test_a_file_is_tested_on_the_pairs_that_the_search_has_not_seen(
    model, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ca.tasks.ioi(model, 12).save("mine.jsonl")
    search = ["--task", "mine.jsonl", "--method", "eap", "--n-edges", "20", "--n-random", "2"]
    assert typed("circuit", "discover", *search, "--n-prompts", "8") == 0
    assert typed("circuit", "evaluate", "latest", "--n-random", "2", "--seed", "0") == 0
    assert "found on" not in capsys.readouterr().out
    run = load_run("latest", Path("runs"))
    circuit = Circuit.load(run.path / "circuit.json")
    whole = ca.Task.load("mine.jsonl", model)
    seen, unseen = whole.subset(range(0, 8, 2)), whole.subset(range(1, 12, 2))
    assert circuit.edges == discover(model, seen, "eap", n_edges=20).edges
    expected = faithfulness(Trial(model, unseen, circuit), n_random=2).ratio
    assert run.results()["n_prompts"] == 6
    assert run.results()["faithfulness"]["ratio"]["estimate"] == pytest.approx(expected.estimate)
    # Without its run nobody knows which pairs it was found on.
    shutil.copy(run.path / "circuit.json", "alone.json")
    words = ["evaluate", "alone.json", "--task", "mine.jsonl", "--n-random", "2", "--out", "other"]
    assert typed("circuit", *words) == 0
    assert "The circuit was found on a file of this name" in capsys.readouterr().out
    assert typed("circuit", "evaluate", "latest", "--n-prompts", "7") == 2
    assert "6 prompt pairs that the search has not seen, and 7" in capsys.readouterr().err


def test_options_reach_the_method(model, tmp_path) -> None:
    chosen = {"steps": 3, "learning_rate": 0.3, "price": 2.0, "n_edges": 12}
    words = [word for key, value in chosen.items() for word in (f"--{key}", str(value))]
    words += ["--method", "edge-masks", *FEW, "--out", str(tmp_path)]
    assert typed("circuit", "discover", *words) == 0
    circuit = Circuit.load(load_run("latest", tmp_path).path / "circuit.json")
    expected = discover(model, ca.tasks.ioi(model, 8), "edge-masks", **chosen)
    assert circuit.edges == expected.edges and circuit.settings["learning_rate"] == 0.3
    # Its scores have no sign, and the report does not claim one.
    assert "Positive: the edge helps" not in load_run("latest", tmp_path).report.read_text()


def test_two_circuits_are_compared_beside_chance(runs, capsys, tmp_path) -> None:
    first, second = (search_of(runs, method).path for method in ("eap-ig", "exact-nodes"))
    words = ["circuit", "compare", str(first), str(second / "circuit.json"), "--n-random", "4"]
    assert typed(*words, "--out", str(tmp_path)) == 0
    found = load_run("latest", tmp_path).results()
    a, b = (Circuit.load(path / "circuit.json") for path in (first, second))
    assert found["jaccard_edges"] == a.jaccard(b)
    assert sorted(found["both"] + found["only_first"]) == sorted(a.edges)
    assert sorted(found["both"] + found["only_second"]) == sorted(b.edges)
    assert len(found["random_edges"]) == 4 and max(found["random_edges"]) < a.jaccard(b)
    outline = load_run("latest", tmp_path).report.read_text()
    assert f"{len(a & b)} edges in both" in outline and "one pair of random circuits" in outline
    assert "random circuits" in " ".join(capsys.readouterr().out.split())


def test_a_circuit_of_gpt2s_shape_stands_beside_the_published_one(tmp_path, capsys) -> None:
    from cutaway.circuits.wiring import Wiring
    from cutaway.model.config import ModelConfig

    cfg = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_vocab=50257, n_ctx=1024)
    wiring = Wiring(cfg)
    circuit = Circuit(cfg, wiring.names(wiring.between(["embed", "9.9", "10.0", "3.0", "1.1"])))
    circuit.save(tmp_path / "mine.json")
    words = ["circuit", "compare", str(tmp_path / "mine.json"), "ioi"]
    assert typed(*words, "--out", str(tmp_path / "runs")) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Of the 26 published heads, 3 are among the 4 that were found" in printed
    run = load_run("latest", tmp_path / "runs")
    rows = {row["nodes"]: row for row in run.results()["classes"]}
    assert rows["name mover"]["shared"] == 2 and rows["duplicate token"]["shared"] == 1
    page = run.report.read_text()
    assert "2 of 3" in page and "arxiv.org/abs/2211.00593" in page and "in layers" in page


@pytest.mark.parametrize("name", ["circuit.html", "circuit.svg"])
def test_draw_writes_one_file(name, runs, tmp_path, capsys) -> None:
    run = search_of(runs, "eap-ig")
    out = tmp_path / "pictures" / name
    assert typed("circuit", "draw", run.id, "--out", str(out), "--root", str(runs)) == 0
    assert f"drawn in {out}" in capsys.readouterr().out
    text = out.read_text()
    assert "1.2" in text and text.startswith("<?xml" if name.endswith("svg") else "<!doctype")
    assert [path.name for path in out.parent.iterdir()] == [name]


def broken(kind: str, folder: Path, circuit: Path) -> Path:
    """A circuit that something is wrong with."""
    described = json.loads(circuit.read_text())
    if kind == "other model":
        described["model"]["digest"] = "0" * 64
    elif kind == "impossible":
        described["edges"] = [["3.6->0.1.q", 0.5]]
    elif kind == "empty":
        described["edges"] = []
    elif kind == "leads nowhere":
        described["edges"] = [["embed->0.1.q", 0.5]]
    path = folder / "circuit.json"
    path.write_text(json.dumps(described) if kind != "no circuit" else "{}")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("other model", "was found in ioi-mini with the digest 000000000000"),
        ("impossible", "'3.6->0.1.q' cannot be: 3.6 writes after 0.1.q has read"),
        ("empty", "the circuit is empty: there is nothing to evaluate"),
        ("leads nowhere", "no edge of the circuit lies on a way"),
        ("no circuit", "does not hold a circuit that `Circuit.save` wrote"),
    ],
)
def test_a_circuit_that_cannot_be_tested(kind, says, runs, tmp_path, capsys) -> None:
    path = broken(kind, tmp_path, search_of(runs, "eap-ig").path / "circuit.json")
    words = ["circuit", "evaluate", str(path), "--task", "ioi", *FEW]
    assert typed(*words, "--out", str(tmp_path / "runs")) == 2
    error = capsys.readouterr().err
    assert says in " ".join(error.split()) and error.count("\n") == 1
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("command", ["compare", "draw"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("impossible", "'3.6->0.1.q' cannot be"),
        ("empty", "the circuit is empty: there is nothing to"),
        ("no circuit", "does not hold a circuit that `Circuit.save` wrote"),
    ],
)
def test_a_circuit_that_cannot_be_shown(command, kind, says, runs, tmp_path, capsys) -> None:
    good = search_of(runs, "eap-ig").path / "circuit.json"
    bad = str(broken(kind, tmp_path, good))
    words = {
        "compare": [str(good), "--out", str(tmp_path / "made")],
        "draw": ["--out", str(tmp_path / "made.svg")],
    }
    assert typed("circuit", command, bad, *words[command]) == 2
    error = capsys.readouterr().err
    assert says in " ".join(error.split()) and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circuit.json"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("discover --method guess", "there is no method 'guess'; there are exact-edges,"),
        ("discover --method eap --tau 0.1", "eap has no setting 'tau'"),
        ("discover --method acdc --tau -1", "tau=-1.0 is not a share"),
        ("discover --n-edges 5 --threshold 0.1", "give n_edges or threshold, not both"),
        ("discover --n-edges 0 --n-prompts 4", "is not between 1 and"),
        ("discover --method eap --threshold 99 --n-prompts 4", "no edge is that large"),
        ("discover --task one.jsonl", "holds 1 prompt pair"),
        ("discover --method eap --learning-rate 1", "eap has no setting 'learning_rate'"),
        ("discover --n-random 0", "n_random=0 random circuits are no control"),
        ("discover --n-prompts 1", "n_prompts=1 is too few"),
        ("evaluate one.jsonl", "does not hold a circuit"),
        ("evaluate latest", "no run in runs holds a circuit"),
        ("evaluate nowhere", "neither a file that holds a circuit nor a run"),
        ("compare nowhere ioi", "neither a file that holds a circuit nor a run"),
        ("draw nowhere", "neither a file that holds a circuit nor a run"),
        ("draw nowhere --out picture.png", "ends neither in .html nor in .svg"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, says, model, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    ca.tasks.ioi(model, 1).save("one.jsonl")
    assert typed("circuit", *words.split()) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert says in error and "Traceback" not in error
    assert not any(Path("runs").glob("[!.]*"))


def test_a_published_circuit_of_another_shape_is_refused(runs, tmp_path, capsys) -> None:
    run = search_of(runs, "eap-ig")
    words = ["circuit", "compare", str(run.path), "ioi", "--out", str(tmp_path)]
    assert typed(*words) == 2
    error = capsys.readouterr().err
    assert "ioi-mini" in error and error.count("\n") == 1 and not list(tmp_path.glob("*"))
