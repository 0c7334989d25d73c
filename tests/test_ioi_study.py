"""The IOI study end to end on the embedded model, and the figures that it reads off heads."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import cutaway as ca
from cutaway.experiments.ioi import published
from cutaway.experiments.ioi.run import FinishedRun, run_ioi
from cutaway.experiments.ioi.settings import IOISettings
from cutaway.heads.readings import read_heads
from cutaway.model.config import ModelConfig


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Iterator[tuple[FinishedRun, list[tuple[str, float]]]]:
    shown: list[tuple[str, float]] = []
    settings = IOISettings(n_prompts=16, n_random=10, out=tmp_path_factory.mktemp("runs"))
    yield run_ioi(settings, lambda name, share: shown.append((name, share))), shown


def test_a_run_holds_all_that_is_needed_to_repeat_it(finished, model) -> None:
    run = ca.load_run(finished[0].folder)
    assert run.record["settings"]["n_prompts"] == 16
    assert run.record["settings"]["seed"] == 0
    assert run.record["model"]["digest"] == model.digest
    assert {"torch", "cutaway", "numpy"} <= set(run.record["versions"])
    assert run.record["timings"].keys() >= {"baseline", "sweep heads", "ablate mean"}


def test_the_saved_effects_are_those_of_the_public_function(finished, model) -> None:
    heads = ca.Effects.load(finished[0].folder / "effects" / "heads.safetensors")
    task = ca.tasks.ioi(model, 16, "s2-flip", seed=0)
    np.testing.assert_allclose(heads.patched, ca.sweep(model, task, "z").patched, atol=1e-4)
    results = json.loads((finished[0].folder / "results.json").read_text())
    assert results["top_heads"][0]["name"] == heads.top(1)[0].name
    assert len(results["effects"]["heads"]) == 32


def test_the_report_is_one_small_file_that_names_no_other(finished) -> None:
    report = (finished[0].folder / "report.html").read_text()
    assert len(report.encode()) < 2_000_000
    assert "http://" not in report.replace("http://www.w3.org", "") and "src=" not in report


def test_every_step_is_shown_to_its_end_and_the_summary_has_numbers(finished) -> None:
    run, shown = finished
    last = dict(shown)
    assert set(last.values()) == {1.0} and "sweep resid_pre" in last
    assert len(run.summary) >= 5 and any(character.isdigit() for character in run.summary[0])


@torch.no_grad()
def test_head_readings_equal_what_the_cache_says(model) -> None:
    task = ca.tasks.ioi(model, 8, seed=3)
    readings = read_heads(model, task, [(1, 5), (3, 2)])[1, 5]
    logits, cache = model.run_with_cache(task.clean)
    rows, end = torch.arange(8), task.positions["END"]
    looks = cache["pattern", 1][rows, 5, end, task.positions["S2"]].mean()
    assert readings.looks_at["S2"] == pytest.approx(float(looks), abs=1e-5)
    heads, labels = cache.stack_head_results(return_labels=True)
    attributed = cache.logit_attrs(heads, task.correct, task.wrong)[labels.index("L1H5")]
    whole = task.metric(task.metric.read(logits)).mean()
    bias = (model.b_U[task.correct] - model.b_U[task.wrong]).mean()
    expected = attributed[rows, end].mean() / (whole - bias)
    assert readings.direct == pytest.approx(float(expected), abs=1e-4)


def test_the_published_figures_are_carried_whole_and_only_for_gpt2() -> None:
    figures = published.figures()
    assert np.shape(figures["demo"]["patch_head_out_all_positions"]) == (12, 12)
    assert published.classes()["9.9"] == "name mover"
    assert len(published.classes()) == 26
    small = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_vocab=9, n_ctx=4, model_name="gpt2")
    assert not published.applies_to(ca.HookedTransformer(small))


@pytest.mark.parametrize("bad", [{"n_prompts": 1}, {"n_heads": 0}, {"n_random": 0}])
def test_settings_that_make_no_sense_are_refused(bad) -> None:
    with pytest.raises(ValueError, match="is too few: at least"):
        IOISettings(**bad)


def test_a_model_that_is_not_there_leaves_no_run_behind(tmp_path) -> None:
    with pytest.raises(ValueError, match="no-such-model"):
        run_ioi(IOISettings(model=str(tmp_path / "no-such-model"), out=tmp_path / "runs"))
    assert not any((tmp_path / "runs").glob("*"))
