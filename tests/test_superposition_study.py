"""`cutaway run superposition`: a small version end to end, its views, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cutaway import cli
from cutaway.experiments.saving import FinishedRun
from cutaway.experiments.superposition.parts import job, n_instances, toy_parts, train_part
from cutaway.experiments.superposition.run import numbers, run_superposition
from cutaway.experiments.superposition.settings import SuperpositionSettings
from cutaway.superposition import TrainedToys, feature_dimensionality, represented, shape
from cutaway.views.dots import DotsView
from cutaway.views.matrices import MatricesView, Matrix
from cutaway.views.planes import Plane, PlanesView
from cutaway.views.superposition_data import PHASE, PLANE, SWEEP, Superposition, toys_file
from cutaway.views.superposition_more import phases
from cutaway.views.superposition_report import superposition_report
from cutaway.views.view import View
from html_outline import outline

EVIL = "<script>alert(1)</script>"


def few(folder: Path) -> SuperpositionSettings:
    return SuperpositionSettings(
        n_seeds=2, n_steps=100, batch_size=16, n_cells=3, n_rotations=2, processes=1, out=folder
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, request) -> tuple[FinishedRun, list[str]]:
    """The run itself, its parts trained in this process (a new one would load torch again)."""
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)

    def here(jobs, n_processes, progress) -> None:
        for one in jobs:
            small = {**one.arguments["training"], "n_test": 256, "n_steps": 20}
            train_part({**one.arguments, "training": small}, progress)

    patch.setattr("cutaway.experiments.superposition.run.run_jobs", here)
    told: list[str] = []
    run = run_superposition(few(tmp_path_factory.mktemp("superposition")), tell=told.append)
    return run, told


def test_the_run_keeps_every_model_and_says_what_it_found(finished) -> None:
    run, told = finished
    found = Superposition.load(run.folder)
    jobs = [job(part, few(Path("runs")), "a") for part in toy_parts(few(Path("runs")))]
    total = sum(toys.losses.size for toys in found.toys.values())
    assert total == n_instances(jobs) and told[0].startswith(f"{total:,} toy models")
    results = json.loads((run.folder / "results.json").read_text())
    assert results["summary"] == list(run.summary) and len(run.summary) == 9
    again = json.loads(json.dumps(numbers(found), default=lambda one: None))
    assert set(again) <= set(results)
    page = (run.folder / "report.html").read_text()
    assert outline(page).fetching == [] and len(page) < 1_500_000
    for line in run.summary:
        assert line.split(":")[0].replace("&", "&amp;") in page


def test_the_numbers_are_those_of_the_saved_models(finished) -> None:
    folder = finished[0].folder
    results = json.loads((folder / "results.json").read_text())
    sweep = TrainedToys.load(folder / toys_file(SWEEP))
    for at, row in enumerate(results["counts"]):
        seed = int(np.argmin(sweep.losses[0, at]))
        W = sweep.W_in[0, at, seed]
        assert row["n_best"] == int((np.linalg.norm(W, axis=0) > 0.5).sum())
        assert row["dimensions_best"] == pytest.approx(5 / (W**2).sum(), rel=1e-5)
    plane = TrainedToys.load(folder / toys_file(PLANE))
    for at, row in enumerate(results["plane"]):
        shapes = Counter(shape(W) for W in plane.W_in[0, at])
        assert {name: one["estimate"] for name, one in row["shares"].items()} == {
            name: k / len(plane.seeds) for name, k in shapes.items()
        }
    found = Superposition.load(folder)
    x, own, control = found.dimensionality
    toys = found.toys["dimensionality"]
    assert len(x) == len(own) == len(control) == int(represented(toys.W_in).sum())
    assert own.sum() == pytest.approx(
        feature_dimensionality(toys.W_in)[represented(toys.W_in)].sum()
    )
    phase = phases(found)
    assert phase.found.shape == found.toys[PHASE].losses.shape[:2]
    assert phase.agreement.estimate == pytest.approx((phase.found == phase.told).mean())


def test_a_quick_run_is_small_and_what_is_given_stays() -> None:
    quick = SuperpositionSettings(quick=True)
    assert (quick.n_seeds, quick.n_steps) == (4, 1000)
    assert SuperpositionSettings(quick=True, n_seeds=5).n_seeds == 5
    asked = [job(part, quick, "a").arguments for part in toy_parts(quick)]
    assert all(min(one["seeds"]) == 0 and len(one["seeds"]) >= 2 for one in asked)
    moved = dataclasses.replace(quick, seed=7)
    assert all(min(job(part, moved, "a").arguments["seeds"]) == 7 for part in toy_parts(moved))


VIEWS: list[View] = [
    PlanesView((Plane(EVIL, np.eye(2), EVIL),), (EVIL, "b"), title=EVIL, caption=EVIL),
    MatricesView(
        (Matrix(EVIL, np.eye(3), EVIL, (1, 0, 1), (0, 1, 0)),), EVIL, EVIL, EVIL, EVIL, title=EVIL
    ),
    DotsView(
        np.array([1.0, 3.0]),
        np.array([0.5, 0.2]),
        np.array([1.0]),
        np.array([0.1]),
        heights=((0.5, EVIL),),
        line=((1.0, 0.3), (3.0, 0.2)),
        line_name=EVIL,
        control_name=EVIL,
        dot_name=EVIL,
        x_label=EVIL,
        y_label=EVIL,
    ),
]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: type(view).__name__)
def test_a_view_escapes_and_fetches_nothing(view) -> None:
    for text in (view.markup(), view.html(), view.page_html()):
        assert EVIL not in text
        found = outline(text)
        assert found.fetching == [] and found.handlers == []


def test_dots_that_stand_together_are_one() -> None:
    y = np.array([0.5, 0.5001, 0.4999, 0.2])
    text = DotsView(np.ones(4), y, dot_name="feature").markup()
    assert "3 features" in text and "1 feature\n" in text
    spread = DotsView(np.ones(50), np.linspace(0, 1, 50)).markup()
    assert spread.count("data-tip") == 50


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Plane("", np.eye(3)), "plane shows"),
        (lambda: PlanesView(()), "no plane"),
        (lambda: PlanesView((Plane("", np.eye(2)),), ("a",)), "1 names for 2 features"),
        (lambda: MatricesView(()), "no matrix"),
        (lambda: Matrix("", np.eye(2), bars=(1,), shares=(1,)), "1 bars for 2 rows"),
        (lambda: Matrix("", np.eye(2), bars=(1, 1)), "go together"),
        (lambda: DotsView(np.array([0.0]), np.array([1.0])), "positive x"),
        (lambda: DotsView(np.array([1.0]), np.array([])), "1 x and 0 y"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(call, says) -> None:
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--n-seeds 1", "n_seeds=1 is too few"),
        ("--n-cells 2", "n_cells=2 is too few"),
        ("--learning-rate 0", "learning_rate=0.0 is not positive"),
        ("--seed -1", "seed=-1 is negative"),
        ("--device tpu", "is none of cpu, cuda and mps"),
        ("--processes 0", "processes=0"),
    ],
)
def test_a_bad_option_is_one_sentence(words, says, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = cli.main(["run", "superposition", *words.split()])
    except SystemExit as stop:  # what a settings class refuses
        status = stop.code
    error = " ".join(capsys.readouterr().err.split())
    assert status == 2 and says in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_a_loaded_study_makes_the_same_page(finished) -> None:
    folder = finished[0].folder
    again = superposition_report(Superposition.load(folder)).html()
    assert again == (folder / "report.html").read_text()
    with pytest.raises(ValueError, match="there is no file"):
        Superposition.load(folder / "toys")
