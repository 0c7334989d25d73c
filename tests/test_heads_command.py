"""`cutaway heads` and `cutaway calibrate heads`, as a user types them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import cutaway as ca
from command_line import typed
from cutaway import cli
from cutaway.experiments.heads import calibration
from cutaway.experiments.heads.run import run_heads
from cutaway.experiments.heads.settings import HeadsSettings
from cutaway.findings import Run, load_run
from cutaway.heads import Taxonomy, Thresholds, default_thresholds

FEW = ["--n-prompts", "4", "--n-random", "1", "--copying-draws", "20", "--n-task-prompts", "8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    root = tmp_path_factory.mktemp("runs")
    assert typed("heads", "--model", "ioi-mini", *FEW, "--out", str(root)) == 0
    return load_run("latest", root)


def test_what_is_saved_is_what_the_library_finds(run) -> None:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    task, reference = ca.tasks.ioi(model, 8), ca.tasks.ioi(model, 256, "abc")
    expected = ca.heads.taxonomy(
        model, 4, n_random=1, copying_draws=20, task=task, reference=reference
    )
    found = Taxonomy.load(run.path / "taxonomy.safetensors")
    assert found.classes == expected.classes
    assert str(found.to_frame()) == str(expected.to_frame())
    results = run.results()
    assert results["classes"] == {name: list(expected.of_class(name)) for name in expected.flags}
    assert len(results["heads"]) == len(results["roles"]) == 32
    assert results["false_positives"]["fresh"]["uniform"]["estimate"] == 1


def test_the_report_says_it_all_in_one_small_file(run) -> None:
    report = run.report.read_text(encoding="utf-8")
    assert len(report.encode()) < 1_000_000
    assert "http://" not in report.replace("http://www.w3.org", "") and "src=" not in report
    for heading in ("Which head is what", "Every score", "Look at them", "Beside random weights"):
        assert f"<h2>{heading}</h2>" in report
    assert "Roles in indirect object identification" in report
    assert "Calibration on models whose heads are known" in report
    assert "Head 1.2" in report  # its scores, behind a cell of the map


def test_the_findings_name_classes_random_weights_and_roles(run) -> None:
    summary = "\n".join(run.results()["summary"])
    assert "of 32 heads of ioi-mini fit at least one class" in summary
    assert "no head of it is a name mover" in summary
    assert "fresh (32 heads): none is called anything, uniform 100%" in summary
    assert "No head is called" in summary


@pytest.fixture(scope="module")
def nameless(tmp_path_factory) -> Path:
    """A model without a tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "small"
    cfg = ca.ModelConfig(n_layers=1, d_model=8, n_heads=2, d_vocab=20, n_ctx=20, attn_only=True)
    ca.HookedTransformer(cfg).save_pretrained(folder)
    return folder


def test_a_model_that_cannot_be_asked_the_task_has_no_roles_and_says_so(nameless, tmp_path) -> None:
    told: list[str] = []
    settings = HeadsSettings(
        model=str(nameless), n_prompts=4, n_random=1, copying_draws=0, out=tmp_path
    )
    finished = run_heads(settings, tell=told.append)
    assert told and told[0] in finished.summary and "has no tokenizer" in told[0]
    assert "Roles in indirect object" not in (finished.folder / "report.html").read_text()
    left_out = run_heads(dataclasses.replace(settings, task="none"))
    assert "Roles of a task were not asked for (--task none)." in left_out.summary
    assert Taxonomy.load(left_out.folder / "taxonomy.safetensors").copying is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "greater-than"], "task='greater-than' is none of auto, ioi and none."),
        (["--n-random", "0"], "n_random=0 is too few: at least 1."),
        (["--model", "ioi-mini", "--half-length", "40"], "half_length=40 is not from 3 to 31"),
        (["--model", "./no-such-folder"], "no-such-folder"),
    ],
)
def test_a_mistake_is_one_sentence(words, message, tmp_path, capsys) -> None:
    assert typed("heads", *words, "--out", str(tmp_path / "runs")) == 2
    printed = " ".join(capsys.readouterr().err.split())  # wherever the lines were broken
    assert message in printed and "Traceback" not in printed
    assert not list((tmp_path / "runs").glob("*"))


def test_the_task_can_be_insisted_on(nameless, tmp_path, capsys) -> None:
    words = ["heads", "--model", str(nameless), "--task", "ioi", "--out", str(tmp_path)]
    assert typed(*words) == 2
    assert "has no tokenizer" in capsys.readouterr().err


def test_thresholds_are_written_where_they_are_asked_for(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(calibration, "calibrate_heads", lambda settings: default_thresholds())
    path = tmp_path / "thresholds.json"
    assert typed("calibrate", "heads", "--seeds", "1", "--out", str(path)) == 0
    assert Thresholds.load(path) == default_thresholds()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11 and max(map(len, lines[:-1])) <= 80
    with pytest.raises(SystemExit):
        cli.main(["calibrate", "heads", "--seeds", "0"])
