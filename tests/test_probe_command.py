"""`cutaway probe`, as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import cutaway as ca
from command_line import typed
from cutaway.findings import Run, load_run
from cutaway.patching.effects import Effects
from cutaway.probing import ProbeResults, ProbeSettings, collect, erasure_map, probe, split

NAMES = ["Mary", "John", "Anna", "Tom", "James", "Paul"]
FEW = ["--n-prompts", "60", "--n-controls", "1", "--n-shuffles", "1"]


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Which of six names is the answer, at IO and END."""
    out = tmp_path_factory.mktemp("runs")
    words = ["probe", "--names", *NAMES, "--positions", "IO", "END", "--layers", "0", "3", *FEW]
    assert typed(*words, "--groups", "group", "--n-erased", "2", "--out", str(out)) == 0
    return load_run("latest", out)


def test_what_is_saved_is_what_the_library_finds(run, model) -> None:
    task = ca.tasks.ioi(model, 60, names=NAMES)
    where = {"layers": [0, 3], "positions": ["IO", "END"], "groups": "group"}
    settings = ProbeSettings(n_controls=1, n_shuffles=1)
    expected = probe(model, task, "answer", **where, settings=settings)
    found = ProbeResults.load(run.path / "probes.safetensors")
    assert found.axes == expected.axes and found.classes == expected.classes
    np.testing.assert_array_equal(found.score, expected.score)
    np.testing.assert_array_equal(
        found.controls["random weights"], expected.controls["random weights"]
    )
    results, rows = run.results(), expected.to_frame()
    assert results["best"] == expected.best()
    assert [row["accuracy"] for row in results["places"]] == [row["accuracy"] for row in rows]
    data = collect(model, task, "answer", **where)
    erased = erasure_map(model, task, data, split(data.groups), n_random=2)
    effects = Effects.load(run.path / "effects" / "erasure.safetensors")
    np.testing.assert_allclose(effects.patched, erased.effects.patched, atol=1e-5)
    value, low, high = erased.beyond_random()
    told = results["erasure"][-1]["beyond"]
    assert told["estimate"] == pytest.approx(value[-1, -1], abs=1e-6)
    assert (told["low"], told["high"]) == pytest.approx((low[-1, -1], high[-1, -1]), abs=1e-6)


def test_the_report_says_what_was_read_and_whether_it_is_used(run) -> None:
    report = run.report.read_text()
    text = re.sub(r"<[^>]+>", " ", report)
    for words in ("Selectivity", "Beside the controls", "Is it used?", "random, most", "q> Its"):
        assert words in (report if "q>" in words else text), words
    assert "http://" not in report.replace("http://www.w3.org", "") and "src=" not in report
    summary = run.results()["summary"]
    assert summary[0].startswith("A logistic probe reads 'answer' (6 classes) best at layer 3 at ")
    erased = next(line for line in summary if line.startswith("Erased at layer 3 at END"))
    assert "5 dimensions" in erased and erased.endswith("the model misses it there.")
    idle = next(line for line in summary if line.startswith("Read and not missed"))
    assert " at IO the accuracy is " in idle


def test_probes_by_gradient_show_how_they_learnt(tmp_path, capsys) -> None:
    words = ["probe", "--label", "duplicate:S2", "--corruption", "random-name", *FEW]
    words += ["--method", "gradient", "--positions", "END", "--n-random-models", "0"]
    assert typed(*words, "--out", str(tmp_path)) == 0
    assert "Nothing will be erased: duplicate:S2 is a label of clean" in capsys.readouterr().out
    done = load_run("latest", tmp_path)
    report = done.report.read_text()
    assert "Learning curves" in report and "Nothing was erased: duplicate:S2" in report
    assert "random weights" not in done.results()["places"][0]
    curves = ProbeResults.load(done.path / "probes.safetensors").curves
    assert set(curves) == {"train", "validation"}


def test_heads_are_rows_of_their_own(tmp_path) -> None:
    words = ["probe", "--label", "order", "--site", "z", "--layers", "1", *FEW]
    words += ["--positions", "S1", "-1", "--method", "ridge", "--n-random-models", "0"]
    assert typed(*words, "--out", str(tmp_path)) == 0
    done = load_run("latest", tmp_path)
    assert len(done.results()["places"]) == 8 * 2
    assert "Nothing was erased: z is read head by head" in done.report.read_text()


def test_texts_of_ones_own_are_probed_without_erasure(tmp_path, capsys) -> None:
    rows = [
        {"text": f"{name} {verb} to the {place}", "label": "past" if verb == "went" else "other"}
        for name in NAMES
        for verb in ("went", "gave")
        for place in ("store", "school", "garden")
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert typed("probe", "--texts", str(path), *FEW[2:], "--out", str(tmp_path / "runs")) == 0
    printed = capsys.readouterr().out
    assert "texts of one's own have no behaviour to measure" in printed
    done = load_run("latest", tmp_path / "runs")
    assert done.results()["classes"] == ["other", "past"]
    assert len(done.results()["places"]) == 4  # END of four layers
    path.write_text("\n".join(json.dumps({**row, "label": i / 7}) for i, row in enumerate(rows)))
    assert typed("probe", "--texts", str(path), *FEW[2:], "--out", str(tmp_path / "runs")) == 0
    assert "a guess by the mean has 0" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label", "colour"], "label='colour' is not one of answer"),
        (["--label", "token:S9"], "needs a position of the task ioi"),
        (["--label", "clean", "--corruption", "none"], "corruption='none' is not one of"),
        (["--site", "k"], "site='k' is not one of resid_pre"),
        (["--positions", "S9"], "there is no position 'S9'"),
        (["--names", "Mary", "John"], "5 different names are needed"),
        (["--task", "repeated-tokens", "--names", "Mary"], "--names is of the task ioi"),
        (["--task", "repeated-tokens", "--label", "order"], "has no position IO"),
        (["--texts", "none.jsonl"], "there is no file none.jsonl of texts"),
        (["--penalties", "0"], "must be positive numbers"),
        (["--n-controls", "0"], "one control task is needed"),
        (["--n-erased", "-1"], "n_erased=-1 is negative"),
        (["--label", "group", "--groups", "group"], "accuracy"),
    ],
)
def test_mistakes_are_one_clear_sentence(words, message, tmp_path, capsys) -> None:
    few = [] if "--n-controls" in words else FEW[2:]
    status = typed("probe", *words, "--n-prompts", "24", *few, "--out", str(tmp_path / "runs"))
    told = capsys.readouterr()
    if message == "accuracy":  # a label that is the group itself: nothing of it can be known
        printed = " ".join(told.out.split())
        assert status == 0 and "accuracy 0.00" in printed
        assert "100% of the test prompts have a label that no train prompt has" in printed
        return
    assert status == 2 and message in " ".join((told.out + told.err).split())
    assert "Traceback" not in told.err and not list(Path(tmp_path).rglob("report.html"))
