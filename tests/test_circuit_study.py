"""The circuit study end to end on the embedded model: what it saves, and what it says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cutaway as ca
from cutaway import cli
from cutaway.circuits import Circuit, discover
from cutaway.circuits.evaluation import Trial, faithfulness
from cutaway.experiments.circuit_study import run as study_run
from cutaway.experiments.circuit_study.run import run_circuit
from cutaway.experiments.circuit_study.settings import CircuitStudySettings
from cutaway.experiments.saving import FinishedRun

FEW = CircuitStudySettings(
    methods=("exact-edges", "eap-ig", "eap"),
    n_prompts=8,
    n_edges=20,
    n_random=3,
    n_tasks=2,
    n_heads=4,
)


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Iterator[tuple[FinishedRun, list[tuple[str, float]]]]:
    shown: list[tuple[str, float]] = []
    settings = dataclasses.replace(FEW, out=tmp_path_factory.mktemp("runs"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study_run, "_SCRUBBED", 48)  # prompts; scrubbing takes most of the time
        yield run_circuit(settings, lambda name, share: shown.append((name, share))), shown


def results_of(run: FinishedRun) -> dict:
    return json.loads((run.folder / "results.json").read_text())


def test_the_saved_circuits_are_those_of_the_public_function(finished, model) -> None:
    task = ca.tasks.ioi(model, 8, seed=0)
    for method in FEW.methods:
        saved = Circuit.load(finished[0].folder / "circuits" / f"{method}.json")
        found = discover(model, task, method, n_edges=20)
        assert saved.edges == found.edges
        assert saved.effects == pytest.approx(dict(found.effects), abs=1e-5)
        saved.check_fits(model)


def test_the_circuit_is_tested_on_prompts_it_was_not_found_on(finished, model) -> None:
    found = results_of(finished[0])
    circuit = Circuit.load(finished[0].folder / "circuits" / "exact-edges.json")
    fresh = ca.tasks.ioi(model, 8, seed=1)
    expected = faithfulness(Trial(model, fresh, circuit), n_random=3, seed=0)
    assert found["faithfulness"]["ratio"]["estimate"] == pytest.approx(
        expected.ratio.estimate, abs=1e-4
    )
    assert np.allclose(found["faithfulness"]["random"], expected.random, atol=1e-4)
    assert found["methods"][0]["faithfulness"]["estimate"] == pytest.approx(
        expected.ratio.estimate, abs=1e-4
    )


def test_every_number_has_its_interval_and_its_control(finished) -> None:
    found = results_of(finished[0])
    for row in found["methods"]:
        for name in ("faithfulness", "cpr", "cmd"):
            ends = row[name]
            assert ends["low"] <= ends["estimate"] <= ends["high"], (row["method"], name)
        assert len(row["random_cpr"]) == 3
    assert len(found["faithfulness"]["random"]) == 3
    assert len(found["completeness"]["random_circuits"]) == 3
    assert len(found["minimality"]["strangers"]) == 3
    assert {(one["level"], one["outside"]) for one in found["choices"]} == {
        (level, outside)
        for level in ("edges", "nodes")
        for outside in ("patch", "zero", "mean", "resample")
    }
    assert all(len(one["random"]) == 3 for one in found["choices"])
    assert {"equivalence", "sufficiency"} <= {one["name"] for one in found["hypothesis_tests"]}
    assert all(one["random_edges"] < one["edges"]["estimate"] for one in found["stability"])
    assert (
        found["scrubbed"]["recovered"]["estimate"]
        > found["scrubbed"]["recovered_shuffled"]["estimate"]
    )


def test_the_story_is_told_with_its_surprises(finished) -> None:
    run, shown = finished
    assert set(dict(shown).values()) == {1.0}
    text = " ".join(run.summary)
    assert "Alone, the circuit keeps" in text and "random" in text
    found = results_of(run)
    missed = [one for one in found["expectations"] if not one["held"]]
    assert len(found["expectations"]) == 6
    assert ("does not fit the textbook's story" in text) == bool(missed)
    report = (run.folder / "report.html").read_text()
    assert len(report.encode()) < 2_000_000
    assert "http://" not in report.replace("http://www.w3.org", "") and "src=" not in report
    for edge in Circuit.load(run.folder / "circuits" / "exact-edges.json").edges[:3]:
        assert edge.replace("->", " → ") in report or edge.replace("->", "-&gt;") in report


def test_prompts_of_ones_own_are_halved(model, tmp_path) -> None:
    ca.tasks.ioi(model, 12, seed=5, templates=["canonical"], order="ABBA").save(
        tmp_path / "a.jsonl"
    )
    settings = dataclasses.replace(
        FEW,
        task=str(tmp_path / "a.jsonl"),
        n_prompts=None,
        methods=("eap", "exact-nodes"),
        out=tmp_path / "runs",
    )
    found = results_of(run_circuit(settings))
    assert found["faithfulness"]["model"]["n"] == 6
    assert found["expectations"] == [] and found["scrubbed"] is None
    assert [one["over"] for one in found["stability"]] == ["resamples of the prompts"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--methods eap", "at least two"),
        ("--methods eap eap", "each once"),
        ("--methods eap guessing", "there is no method 'guessing'"),
        ("--n-edges 1", "n_edges=1 is too few"),
        ("--n-edges 99999 --methods eap exact-nodes --n-prompts 4", "is not between 1 and"),
        ("--task no-such-task", "there is no task and no file"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, says, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = cli.main(["run", "circuit", *words.split()])
    except SystemExit as stop:  # what a settings class refuses
        status = stop.code
    error = " ".join(capsys.readouterr().err.split())
    assert status == 2 and says in error and "Traceback" not in error
    assert not any(Path("runs").glob("[!.]*"))
