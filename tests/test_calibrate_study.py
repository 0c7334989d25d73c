"""`cutaway calibrate`: a small one from end to end, its tables, and the table in the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cutaway import cli
from cutaway.circuits.discovery import METHODS
from cutaway.circuits.known import KNOWN
from cutaway.experiments.calibrate import settings as asked
from cutaway.experiments.calibrate.marked_table import (
    BEGIN,
    END,
    between_marks,
    write_between_marks,
)
from cutaway.experiments.calibrate.settings import CalibrateSettings
from cutaway.experiments.calibrate.study import calibrate_all, method_seeds
from cutaway.experiments.steps import Steps
from cutaway.findings import RunFolder, load_run
from cutaway.views.calibration_data import CalibrationReportData, Spread
from cutaway.views.calibration_report import calibration_report
from cutaway.views.calibration_text import findings, markdown, task_name

DOC = Path(__file__).resolve().parents[1] / "docs" / "methods" / "calibration.md"
TASKS = [(name, task) for name, write in KNOWN.items() for task in write(0).tasks]
SMALL = ["--models", "duplicate-token", "--methods", "exact-edges", "eap", "acdc", "random"]
FEW = ["--seeds", "2", "--n-prompts", "4", "--n-random", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> CalibrationReportData:
    """Six methods on two of the models."""
    settings = CalibrateSettings(
        methods=("exact-edges", "exact-nodes", "acdc", "eap", "eap-ig", "random"),
        models=("duplicate-token", "induction"),
        seeds=2,
        sharpness=(30.0,),
        n_prompts=4,
        n_random=3,
    )
    with RunFolder.create(tmp_path_factory.mktemp("runs"), "calibrate", settings) as run:
        found = calibrate_all(settings, Steps(run, lambda name, share: None))
    return CalibrationReportData(found.trials, {"seeds": "2"}, {"all": 1.0})


# ---- the command ----


def test_the_command_saves_tables_numbers_and_a_report(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    doc = Path("doc.md")
    doc.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert cli.main(["calibrate", *SMALL, *FEW, "--table", str(doc)]) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = " ".join(" ".join(lines).split())
    assert (
        "exact-edges finds every detectable edge (3 tasks in 2 bases, sharpness 30 and 3)"
        in printed
    )
    assert "AUROC 1 throughout, no sign error" in printed
    assert all(len(line) <= 80 for line in lines if "runs/" not in line)
    run = load_run("latest", Path("runs"))
    table = between_marks(doc)
    assert table == (run.path / "table.md").read_text().strip()
    text = doc.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    results = run.results()
    assert len(results["methods"]) == 4 * 2 and len(results["tasks"]) == 4 * 3 * 2
    assert len(results["trials"]) == 3 * 2 * 2 * 3  # tasks, bases, sharpness, methods
    assert run.study == "calibrate" and run.model == "known"
    assert run.report.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "eapp"], "there is no method 'eapp'; there are exact-edges, exact-nodes,"),
        (["--models", "gpt2"], "there is no model 'gpt2'; there are previous-token,"),
        (["--methods", "eap", "eap"], "give at least one, and each only once."),
        (["--seeds", "0"], "seeds=0 is too few: at least 1."),
        (["--n-prompts", "1"], "n_prompts=1 is too few: at least 2."),
        (["--sharpness", "1"], "sharpness=1 is too small"),
        (["--sharpness", "nan"], "sharpness=nan is too small"),
        (["--table", "none.md"], "there is no file none.md to write the table into."),
        (["--table", "unmarked.md"], "unmarked.md has no place for the table"),
        (["--table", "turned.md"], "turned.md has no place for the table"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_made(
    words, message, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("unmarked.md").write_text("# A page\n")
    Path("turned.md").write_text(f"{END}\n{BEGIN}\n")
    try:
        status = cli.main(["calibrate", *words])
    except SystemExit as stop:  # what tyro finds itself
        status = stop.code
    assert status == 2
    wrong = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in wrong and "Traceback" not in wrong
    assert not Path("runs").exists()


def test_the_options_name_what_there_is() -> None:
    assert tuple(METHODS) == asked.METHODS and tuple(KNOWN) == asked.MODELS


# ---- the study ----


def test_every_combination_is_tried_once(data) -> None:
    keys = [
        (t.found.method, t.model, t.corruption, t.sharpness, t.seed, t.method_seed)
        for t in data.trials
    ]
    assert len(set(keys)) == len(keys) == 7 * 2 * (5 + 3)  # tasks, bases, methods; the control
    draws = [list(method_seeds("random", seed, 3)) for seed in range(3)]
    assert [seed for some in draws for seed in some] == list(range(9))


def test_cells_are_means_over_their_trials(data) -> None:
    task = ("induction", "key")
    trials = [t for t in data.trials if t.found.method == "random" and t.task == task]
    cell = data.cell("random", 30.0, task)
    values = [t.found.auroc for t in trials]
    assert cell.n_trials == len(values) == 6
    assert cell.auroc == Spread(pytest.approx(sum(values) / 6), min(values), max(values))
    assert cell.n_wrong is None and cell.n_kept is None
    exact = data.cell("exact-edges", 30.0)
    assert exact.auroc == Spread(1.0, 1.0, 1.0) and exact.n_missed == exact.n_wrong == 0
    assert exact.worst_excess == 0
    # A basis changes nothing that is measured.
    eap = data.cell("eap", 30.0, task)
    assert eap.auroc.low == eap.auroc.high == pytest.approx(2 / 3)
    acdc = data.cell("acdc", 30.0, task)
    assert acdc.n_kept == acdc.n_kept_right == 2 * 3


def test_faults_are_those_of_the_first_basis(data) -> None:
    faults = data.faults(30.0)
    assert {fault.method for fault in faults} == {"eap"}
    key = [fault.edge for fault in faults if fault.task == ("induction", "key")]
    assert key == ["embed->0.1.v", "0.1->1.2.k"]
    assert data.largest_outside("exact-edges", 30.0) is None
    assert data.largest_outside("eap", 30.0) is None
    task, edge, size = data.largest_outside("random", 30.0)
    assert 0.5 < size < 1 and edge not in KNOWN[task[0]](0).detectable[task[1]]
    task, ratio = data.largest_ratio("eap-ig", 30.0)
    assert task[0] == "induction" and ratio == pytest.approx(4, rel=0.01)


# ---- words and pages ----


def test_a_failure_of_the_exact_method_is_said_plainly(data) -> None:
    import dataclasses

    good, *_ = findings(data)
    assert good.startswith("exact-edges finds every detectable edge (7 tasks in 2 bases")
    first = data.trials[0]
    spoilt = dataclasses.replace(first.found, auroc=0.9, missed=("embed->0.2.k",))
    trials = (dataclasses.replace(first, found=spoilt), *data.trials[1:])
    bad, *_ = findings(CalibrationReportData(trials))
    assert "does NOT find every detectable edge" in bad and "AUROC down to 0.900, 1 missed" in bad


def test_the_tables_hold_every_method_and_task(data) -> None:
    check_tables(markdown(data), data.methods, data.tasks, 1)


def test_the_report_holds_them_too(data) -> None:
    html = calibration_report(data).html()
    for name in (*data.methods, *map(task_name, data.tasks)):
        assert name in html
    assert "7 tasks in 2 bases" in html and "no sign" in html


def check_tables(text: str, methods, tasks, n_sharpnesses: int) -> None:
    """For each sharpness a row for every method, and twice a row for every task."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    first = [row[0] for row in rows]
    for method in methods:
        assert first.count(method) == n_sharpnesses
    for task in tasks:
        assert first.count(task_name(task)) == 2 * n_sharpnesses
    heads = [row for row in rows if row[0] == "task"]
    assert heads == [["task", "edges", *methods]] * (2 * n_sharpnesses)
    assert all(len(row) in (8, 2 + len(methods)) for row in rows)


def test_the_table_in_the_docs_is_whole() -> None:
    # Its numbers are those of the run that wrote it; what is held is that nothing is missing, and
    # that the exact method is perfect in it.
    table = between_marks(DOC)
    check_tables(table, METHODS, TASKS, len(CalibrateSettings().sharpness))
    exact = re.findall(r"^\| exact-edges \| (.*?) \|", table, re.MULTILINE)
    assert exact == ["1.000"] * len(CalibrateSettings().sharpness)
    known = {task: len(KNOWN[task[0]](0).detectable[task[1]]) for task in TASKS}
    for task, size in known.items():
        assert f"| {task_name(task)} | {size} of " in table


def test_marks_are_kept_and_written_twice_alike(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"a\n{BEGIN}\n{END}")
    write_between_marks(page, "| x |")
    once = page.read_text()
    write_between_marks(page, "| x |\n")
    assert page.read_text() == once and between_marks(page) == "| x |"
    assert once == (f"a\n{BEGIN}\n\n| x |\n\n{END}")
