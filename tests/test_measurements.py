"""`cutaway patch`, `paths`, `edges`, `attribute`: what they save is what the library measures."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cutaway as ca
from cutaway.experiments.measurements import stopped
from cutaway.experiments.measurements.measure import places
from cutaway.experiments.measurements.run import run_measurement
from cutaway.experiments.measurements.settings import (
    AttributeSettings,
    EdgesSettings,
    MeasurementSettings,
    PatchSettings,
    PathsSettings,
)
from cutaway.experiments.terminal import Pace, stopped_by_signal
from cutaway.patching import edges
from cutaway.views.numbers import bracket, number

N = 4
PART = ("2.0.q", "3.6.v", "logits")

MEASUREMENTS: dict[str, tuple[MeasurementSettings, Callable[..., ca.Effects]]] = {
    "heads": (
        PatchSettings(n_prompts=N, layers=(1, 2)),
        lambda model, task: ca.sweep(model, task, "z", layers=[1, 2]),
    ),
    "heads by position": (
        PatchSettings(n_prompts=N, layers=(1, 3), positions=("S2", "END"), mode="noising"),
        lambda model, task: ca.sweep(
            model, task, "z", layers=[1, 3], positions=["S2", "END"], mode="noising"
        ),
    ),
    "stream, resampled": (
        PatchSettings(n_prompts=N, site="resid_pre", value="resample", seed=3, layers=(3,)),
        lambda model, task: ca.sweep(
            model, task, "resid_pre", ca.values.Resample(seed=3), layers=[3]
        ),
    ),
    "keys of a pattern": (
        PatchSettings(
            n_prompts=N, site="pattern", layers=(1,), positions=("END",), keys=("named",)
        ),
        lambda model, task: ca.sweep(
            model, task, "pattern", layers=[1], positions=["END"], keys="named"
        ),
    ),
    "neurons": (
        PatchSettings(n_prompts=N, site="mlp_post", layers=(3,), neurons_per_group=8),
        lambda model, task: ca.sweep(model, task, "mlp_post", layers=[3], neurons_per_group=8),
    ),
    "embeddings at once": (
        PatchSettings(n_prompts=N, site="embed", positions=("all",)),
        lambda model, task: ca.sweep(model, task, "embed", positions="all"),
    ),
    "paths": (
        PathsSettings(n_prompts=N, receivers=("logits", "3.6.q+3.6.v"), mlps="recomputed"),
        lambda model, task: ca.sweep_paths(
            model, task, ["logits", ["3.6.q", "3.6.v"]], mlps="recomputed"
        ),
    ),
    "paths between sets": (
        PathsSettings(n_prompts=N, senders=("1.2", "0.3+0.5"), positions=("END",)),
        lambda model, task: ca.sweep_paths(
            model, task, ["logits"], ["1.2", ["0.3", "0.5"]], positions=["END"]
        ),
    ),
    "edges": (
        EdgesSettings(n_prompts=N, receivers=PART),
        lambda model, task: ca.sweep_edges(model, task, PART),
    ),
    "attribution": (
        AttributeSettings(n_prompts=N, layers=(1, 2), gradient="integrated", steps=2, exact=True),
        lambda model, task: ca.attribute(
            model, task, "z", layers=[1, 2], gradient="integrated", steps=2
        ),
    ),
    "attribution of edges": (
        AttributeSettings(n_prompts=N, edges=True, mode="noising"),
        lambda model, task: ca.attribute_edges(model, task, mode="noising"),
    ),
}
by_name = pytest.mark.parametrize("name", MEASUREMENTS)


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


def settings_of(name: str, out: Path) -> MeasurementSettings:
    from dataclasses import replace

    return replace(MEASUREMENTS[name][0], out=out)


def task_of(model: ca.HookedTransformer, settings: MeasurementSettings) -> ca.Task:
    return ca.tasks.ioi(model, N, seed=settings.seed)


@by_name
def test_what_is_saved_is_what_the_library_measures(name, model, tmp_path) -> None:
    settings = settings_of(name, tmp_path)
    told: list[str] = []
    finished = run_measurement(settings, tell=told.append)
    run = ca.load_run(finished.folder)
    direct = MEASUREMENTS[name][1](model, task_of(model, settings))
    saved = ca.Effects.load(finished.folder / "effects" / f"{settings.command}.safetensors")
    assert saved.axes == direct.axes and saved.mode == direct.mode
    np.testing.assert_allclose(saved.patched, direct.patched, atol=1e-5)
    value, low, high = direct.interval(seed=settings.seed)
    arrays = run.arrays()
    for key, array in (("effect", value), ("low", low), ("high", high)):
        np.testing.assert_allclose(arrays[key], array, atol=1e-5)
    results = run.results()
    listed = [row["effect"] for row in results["effects"]]
    np.testing.assert_allclose(listed, value.ravel(), atol=1e-5)
    assert results["n_effects"] == value.size
    top = int(np.argmax(np.abs(value)))
    digits = 2 if abs(value.flat[top]) >= 0.1 else 3
    ends = bracket(float(low.flat[top]), float(high.flat[top]), digits)
    report = run.report.read_text()
    assert number(float(value.flat[top]), digits) in report and ends in report
    assert number(results["baseline"]["clean"]["estimate"]) in report
    assert "src=" not in report and len(report.encode()) < 1_000_000
    assert run.study == settings.command and run.record["model"]["digest"] == model.digest
    assert any(line.startswith("It will hold at most ") for line in told)
    assert len(finished.summary) >= 3 and finished.summary == tuple(results["summary"])


def test_an_estimate_is_shown_beside_the_exact_effects(model, tmp_path) -> None:
    finished = run_measurement(settings_of("attribution", tmp_path))
    run = ca.load_run(finished.folder)
    exact = ca.sweep(model, ca.tasks.ioi(model, N), "z", layers=[1, 2])
    saved = ca.Effects.load(finished.folder / "effects" / "exact.safetensors")
    np.testing.assert_allclose(saved.patched, exact.patched, atol=1e-5)
    row = next(row for row in run.results()["agreement"] if row["measure"] == "pearson")
    assert "Estimate and exact effect" in run.report.read_text()
    assert number(row["value"]) in finished.summary[-2]  # the last one says that prompts are few


def test_prompts_of_ones_own_are_measured(model, tmp_path) -> None:
    file = tmp_path / "mine.jsonl"
    ca.tasks.ioi(model, 5, seed=7).save(file)
    finished = run_measurement(
        PatchSettings(task=str(file), n_prompts=3, layers=(3,), out=tmp_path / "runs")
    )
    effects = ca.Effects.load(finished.folder / "effects" / "patch.safetensors")
    task = ca.Task.load(file, model).subset(range(3))
    expected = ca.sweep(model, task, "z", layers=[3])
    np.testing.assert_allclose(effects.patched, expected.patched, atol=1e-5)
    assert ca.load_run(finished.folder).results()["baseline"]["clean"]["n"] == 3


# ---- runs that were stopped ----


def stop_after(share: float) -> Callable[[str, float], None]:
    def show(name: str, done: float) -> None:
        if name == "edges" and done > share:
            raise KeyboardInterrupt

    return show


def test_a_stopped_run_goes_on_without_loss(model, tmp_path, monkeypatch) -> None:
    settings = settings_of("edges", tmp_path)
    assert isinstance(settings, EdgesSettings)
    with pytest.raises(stopped.Stopped, match="cutaway edges --resume [0-9a-f]{6} --out") as stop:
        run_measurement(settings, stop_after(0.1))
    id = str(stop.value).split("--resume ")[1].split()[0]
    assert [id in line for line in stopped.list_stopped(tmp_path)] == [True]
    units = []
    real = edges._Edges._run_unit
    monkeypatch.setattr(
        edges._Edges, "_run_unit", lambda self, *rest: (units.append(1), real(self, *rest))
    )
    finished = run_measurement(EdgesSettings(resume=id[:4], out=tmp_path))
    assert len(units) == len(PART) - 1  # the first had been done
    effects = ca.Effects.load(finished.folder / "effects" / "edges.safetensors")
    expected = ca.sweep_edges(model, ca.tasks.ioi(model, N), PART)
    np.testing.assert_allclose(effects.patched, expected.patched, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == [finished.folder.name]
    assert ca.load_run(finished.folder).record["settings"]["receivers"] == list(PART)


def test_a_run_that_is_stopped_at_any_moment_loses_nothing(model, tmp_path, monkeypatch) -> None:
    real, calls = edges._Edges._to_heads, []

    def stop(self, *rest):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *rest)

    monkeypatch.setattr(edges._Edges, "_to_heads", stop)
    with pytest.raises(stopped.Stopped):
        run_measurement(settings_of("edges", tmp_path))
    finished = run_measurement(EdgesSettings(resume="latest", out=tmp_path))
    effects = ca.Effects.load(finished.folder / "effects" / "edges.safetensors")
    expected = ca.sweep_edges(model, ca.tasks.ioi(model, N), PART)
    np.testing.assert_allclose(effects.patched, expected.patched, atol=1e-5)


def test_a_file_can_keep_what_is_done(tmp_path) -> None:
    file = tmp_path / "mine.safetensors"
    settings = EdgesSettings(n_prompts=N, receivers=PART, resume=str(file), out=tmp_path / "runs")
    with pytest.raises(stopped.Stopped, match="and the same options"):
        run_measurement(settings, stop_after(0.1))
    assert file.is_file() and not list((tmp_path / "runs").iterdir())
    assert run_measurement(settings).folder.is_dir() and not file.exists()


def test_what_cannot_go_on_is_refused(tmp_path) -> None:
    with pytest.raises(stopped.Stopped):
        run_measurement(settings_of("edges", tmp_path), stop_after(0.1))
    with pytest.raises(ValueError, match="leave out --n-prompts"):
        run_measurement(EdgesSettings(resume="latest", n_prompts=9, out=tmp_path))
    with pytest.raises(ValueError, match="holds no stopped run that begins with 'xyz'"):
        run_measurement(EdgesSettings(resume="xyz", out=tmp_path))
    (folder,) = tmp_path.iterdir()
    (folder / "asked.json").write_text(json.dumps({"n_prompts": 4}))
    with pytest.raises(ValueError, match="no readable asked.json"):
        run_measurement(EdgesSettings(resume=str(folder), out=tmp_path))


def test_kill_stops_like_control_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopped_by_signal():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_time_left_leaves_out_what_was_done_before() -> None:
    pace = Pace(iter([0.0, 0.001, 10.001]).__next__)
    pace.update(0.5)  # of the earlier run
    assert pace.left(now=1.0) is None
    pace.update(0.75)
    assert pace.left(now=12.001) == pytest.approx(8.0)


def test_positions_are_words_names_or_numbers() -> None:
    assert places(["each"]) == "each" and places([]) is None
    assert places(["3", "5"]) == [3, 5] and places(["S2"]) == ["S2"]
    with pytest.raises(ValueError, match="either all names or all numbers"):
        places(["S2", "3"])
