"""The emergence study: what is measured of a checkpoint, what follows from curves, and the run."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cutaway.evidence.s_curve import SCurve
from cutaway.experiments.emergence.jobs import plan
from cutaway.experiments.emergence.measures import behaviour, losses, measure
from cutaway.experiments.emergence.prompts import measured_on
from cutaway.experiments.emergence.run import run_emergence
from cutaway.experiments.emergence.settings import EmergenceSettings
from cutaway.training.config import TrainConfig
from cutaway.training.run import fresh_model
from cutaway.training.sources import open_source
from cutaway.views.emergence_data import (
    ALL,
    BEHAVIOUR,
    CLASSES,
    HEAD,
    PROBE,
    SAYS,
    STEERED,
    Emergence,
)
from cutaway.views.emergence_report import emergence_report
from cutaway.views.emergence_sentences import findings, pair_in_words, sets_it_off
from cutaway.views.emergence_sweep import Cell, Sweep

CONFIG = TrainConfig.named("ioi-2l")
STEPS = np.array([0, *np.unique(np.geomspace(2, 1000, 30).round().astype(int))])


# --- one checkpoint


@pytest.fixture(scope="module")
def measured():
    source = open_source(CONFIG)
    model = fresh_model(CONFIG, source)
    return model, measured_on(CONFIG.data, source, CONFIG.n_ctx, 24, 200, seed=0)


def test_what_is_marked_in_held_out_sequences_is_what_it_says(measured) -> None:
    _, on = measured
    for row, again, first in zip(on.rows[:20].tolist(), on.again[:20], on.first[:20], strict=True):
        for at in again.nonzero()[:, 0].tolist():
            before = row[:at]
            assert row[at] in before  # B stood there before
            where = before.index(row[at])
            assert first[where]  # and its first time is marked
            assert row[at - 1] in before[:where]  # after the same A
        assert {row[i] for i in first.nonzero()[:, 0].tolist()} == {
            row[i] for i in again.nonzero()[:, 0].tolist()
        }
    assert (on.early, on.late) == (range(2, 5), range(30, 33))


def test_the_other_names_are_those_of_other_pairs(measured) -> None:
    _, on = measured
    rows = torch.arange(len(on.prompts.tokens))
    assert (on.seconds == on.prompts.answer[:, None]).sum(1).eq(1).all()
    assert torch.equal(on.prompts.tokens[rows, on.prompts.at_b], on.prompts.answer)
    assert (on.another != on.probed.answer).all()
    assert (on.probed.tokens == on.another[:, None]).any(1).all()


@torch.no_grad()
def test_losses_and_behaviour_are_those_of_a_plain_loop(measured) -> None:
    model, on = measured
    found, said = losses(model, on), behaviour(model, on)
    logs = model(on.rows[:, :-1]).log_softmax(-1)
    row = 3
    each = [-float(logs[row, t - 1, on.rows[row, t]]) for t in range(1, on.rows.shape[1])]
    assert found["loss"][row] == pytest.approx(np.mean(each), rel=1e-4)
    assert found["loss late"][row] == pytest.approx(np.mean(each[-3:]), rel=1e-4)
    known = [each[t - 1] for t in on.again[row].nonzero()[:, 0].tolist()]
    assert found["loss again"][row] == pytest.approx(np.mean(known), rel=1e-4)
    logits, cache = model.run_with_cache(on.prompts.tokens)
    for at in range(6):
        seconds, b = on.seconds[at].tolist(), int(on.prompts.answer[at])
        last = logits[at, -1]
        assert said["chosen"][at] == (max(seconds, key=lambda t: float(last[t])) == b)
        assert said["some"][at] == (int(last.argmax()) in seconds)
        assert said["correct"][at] == (int(last.argmax()) == b)
        pattern = cache["pattern", 1][at, 2]
        to_b = float(pattern[-1, on.prompts.at_b[at]])
        to_all = sum(float(pattern[-1, place]) for place in on.second_places)
        assert said["END to B"][1, 2, at] == pytest.approx(to_b)
        assert said["END to others"][1, 2, at] == pytest.approx((to_all - to_b) / 3, rel=1e-4)


def test_every_measure_has_its_shape_and_an_untrained_model_knows_nothing(measured) -> None:
    model, on = measured
    found = measure(model, on, seed=0)
    assert found["probe"].shape == found["probe another"].shape == (3, 40)
    assert found["patched"].shape == found["END to B"].shape == (2, 4, 24)
    assert found["classes"].shape == (2, 4, len(CLASSES))
    assert found["steered"].shape == found["steered random"].shape == (len(STEERED), 24)
    assert found["lens"].shape == (3, 24) and set(np.unique(found["lens layer"])) <= {0, 1, 2, 3}
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["correct"].mean() < 0.2 and found["steered"].mean() < 0.2
    assert found["probe"].mean() < 0.3
    assert abs(float((found["loss"]).mean()) - math.log(model.cfg.d_vocab)) < 0.5
    again = measure(model, on, seed=0)
    assert all(np.array_equal(found[name], again[name]) for name in found)


# --- what follows from curves


def made(
    midpoints: dict[str, list[float]], n_prompts: int = 24, sweep: Sweep | None = None
) -> Emergence:
    """A study whose curves are known: names without midpoints stay flat."""
    rng = np.random.default_rng(0)
    n = len(next(iter(midpoints.values())))
    shape = (n, STEPS.size)

    def scores(name: str, upper: float = 1.0) -> np.ndarray:
        after = np.maximum(STEPS, 1)
        rows = np.stack(
            [
                SCurve(0.05, upper, m, 1.8, 1, 0, False)(after) if m else np.full(STEPS.size, 0.05)
                for m in midpoints.get(name, [0.0] * n)
            ]
        )
        return np.clip(rows[..., None] + rng.normal(0, 0.02, (*shape, n_prompts)), 0, 1)

    def heads(name: str) -> np.ndarray:
        values = rng.uniform(0, 0.05, (*shape, 2, 4, n_prompts))
        values[:, :, 1, 2] = scores(name)
        values[:, :, 0, 1] = scores(name)
        return values

    flat = {name: np.zeros((*shape, n_prompts)) for name in ("some", "loss early", "loss late")}
    flat |= {name: np.ones((*shape, n_prompts)) for name in ("loss", "loss again", "loss first")}
    flat["to gain"] = np.full((*shape, n_prompts), 2.0)
    probes = {
        f"probe{name}": np.zeros((*shape, 3, n_prompts))
        for name in (" another", " shuffled labels", " control task")
    }
    return Emergence(
        steps=STEPS,
        seeds=tuple(range(n)),
        arrays={
            **flat,
            **probes,
            "chosen": scores(BEHAVIOUR),
            "correct": scores(SAYS),
            "probability": scores(SAYS),
            "END to B": heads(HEAD),
            "END to others": np.zeros((*shape, 2, 4, n_prompts)),
            "B to A": heads("tells"),
            "patched": heads("patched"),
            "induction": heads("repeats"),
            "previous-token": heads("tells"),
            "copying": np.zeros((*shape, 2, 4)),
            "classes": np.zeros((*shape, 2, 4, len(CLASSES))),
            "probe": np.stack([scores(""), scores(""), scores(PROBE)], axis=2),
            "lens": np.zeros((*shape, 3, n_prompts)),
            "lens layer": np.full((*shape, n_prompts), 3.0),
            "steered": np.zeros((*shape, 4, n_prompts)),
            "steered random": np.zeros((*shape, 4, n_prompts)),
        },
        sweep=sweep,
        places=(range(2, 5), range(30, 33)),
    )


BASE = [100.0, 130.0, 90.0, 160.0, 120.0, 140.0]


@pytest.fixture(scope="module")
def study() -> Emergence:
    return made(
        {
            HEAD: BASE,
            BEHAVIOUR: [1.5 * one for one in BASE],
            PROBE: [
                one * k for one, k in zip(BASE, (1.02, 0.99, 1.0, 1.01, 0.98, 1.0), strict=True)
            ],
            SAYS: [one * k for one, k in zip(BASE, (2, 0.5, 2, 0.5, 2, 0.5), strict=True)],
        }
    )


def test_the_strongest_head_is_followed_and_its_midpoints_come_back(study) -> None:
    assert (
        study.strongest("END to B").tolist() == [[0, 1]] * 6
        or (study.strongest("END to B")[:, 0] >= 0).all()
    )
    assert study.strongest("END to B", layer=1).tolist() == [[1, 2]] * 6
    assert study.fits[HEAD].of_seeds("midpoint") == pytest.approx(BASE, rel=0.05)
    assert study.fits[BEHAVIOUR].midpoint().contains(float(np.exp(np.log(BASE).mean()) * 1.5))


def test_order_is_told_by_the_interval_of_the_paired_ratio(study) -> None:
    before = study.order(HEAD, BEHAVIOUR)
    assert before.verdict == "before" and before.ratio.contains(1.5)
    assert (before.earlier, before.n, before.p) == (6, 6, pytest.approx(2 / 64))
    began = study.order(HEAD, BEHAVIOUR, "onset")
    assert began.ratio.contains(1.5) and began.of == "onset"
    said = pair_in_words([began, before])
    assert said.startswith("Induction head and behaviour: begun")
    assert said.count("the induction head is first") == 2 and "6 of 6, p = 0.031" in said
    assert study.order(BEHAVIOUR, HEAD).verdict == "after"
    assert study.order(PROBE, HEAD).verdict == "together"
    assert study.order(SAYS, HEAD).verdict == "unknown"
    assert study.order("steering", HEAD) is None  # it never turns


def test_breaks_are_counted_over_seeds(study) -> None:
    assert study.n_breaks(BEHAVIOUR) == (6, 6)
    assert study.breaks[BEHAVIOUR][0].at == pytest.approx(150, rel=0.3)


def test_findings_and_page_say_what_is_there_and_what_is_not(study) -> None:
    said = " ".join(findings(study))
    assert "turns in all 6 seeds" in said and "with 6 seeds is at least 0.031" in said
    assert "Some B" in said and "no transition in any of 6 seeds" in said
    assert "at none of the places measured" in said
    page = emergence_report(study).html()
    assert "The S-curve" in page and "first, then second" in page and "nan" not in page
    assert "What sets it off" not in page


def test_saved_and_loaded_it_is_the_same(study, tmp_path) -> None:
    swept = dataclasses.replace(study, sweep=sweep(-0.5))
    swept.save(tmp_path / "a.safetensors")
    again = Emergence.load(tmp_path / "a.safetensors")
    assert again.seeds == study.seeds and again.places == study.places
    assert again.sweep == swept.sweep
    assert all(np.array_equal(again.arrays[k], v) for k, v in study.arrays.items())
    small = study.without_prompts()
    assert small.over_seeds(BEHAVIOUR)[-1].estimate == pytest.approx(
        study.over_seeds(BEHAVIOUR)[-1].estimate
    )


# --- the sweep


def sweep(power: float) -> Sweep:
    """Midpoints that go as batch ** power, whatever the context; one model never turns."""
    steps = tuple(range(20, 1001, 20))

    def cell(n_ctx: int, batch: int, width: int, seed: int, midpoint: float) -> Cell:
        heights = SCurve(0.3, 1, midpoint, 1.8, 1, 0, False)(steps)
        return Cell(n_ctx, batch, width, seed, steps, tuple(heights.tolist()), 4.0)

    cells = [
        cell(n_ctx, batch, 64, seed, 300 * (batch / 16) ** power * (1 + 0.05 * seed))
        for n_ctx in (24, 32)
        for batch in (16, 32, 64)
        for seed in range(2)
    ]
    never = dataclasses.replace(cells[0], seed=9, accuracy=(0.3,) * len(steps))
    widths = [cell(32, 64, w, s, 200 * (1 + 0.05 * s)) for w in (32, 64) for s in range(2)]
    return Sweep((*cells, never), tuple(widths))


def test_what_sets_it_off_is_told_by_the_power_of_the_batch() -> None:
    for power, words in (
        (0.0, "the number of steps decides"),
        (-1.0, "the number of sequences decides"),
        (-0.5, "fewer steps but more sequences"),
    ):
        found = sweep(power)
        assert found.law.exponents["batch"].contains(power)
        assert found.law.exponents["context"].contains(0)
        said = " ".join(sets_it_off(found))
        assert words in said and "1 without a transition" in said
        assert "Doubling the width multiplies the step by 1.00" in said


def test_a_sweep_without_transitions_says_so(study) -> None:
    found = sweep(0.0)
    flat = Sweep(tuple(c for c in found.cells if c.seed == 9), ())
    assert flat.law is None and flat.width_law is None
    assert "too few transitions" in sets_it_off(flat)[0]
    assert "What sets it off" in emergence_report(dataclasses.replace(study, sweep=flat)).html()


# --- settings, jobs, the run


def test_settings_that_do_not_fit_are_refused(tmp_path) -> None:
    for wrong, why in (
        ({"n_seeds": 1}, "n_seeds=1 is too few"),
        ({"processes": 0}, "processes=0"),
        ({"batches": ()}, "different positive numbers"),
        ({"device": "tpu"}, "none of cpu, cuda and mps"),
    ):
        with pytest.raises(ValueError, match=why):
            EmergenceSettings(**wrong)
    with pytest.raises(ValueError, match="trains on characters"):
        EmergenceSettings(config="shakespeare-small").configuration()
    with pytest.raises(ValueError, match="too short"):
        plan(EmergenceSettings(contexts=(8,), out=tmp_path))
    with pytest.raises(ValueError, match="more --n-steps"):
        plan(EmergenceSettings(n_steps=5, out=tmp_path))
    quick = EmergenceSettings(quick=True, n_seeds=3)
    assert (quick.n_seeds, quick.n_prompts) == (3, 64)


def test_the_same_work_has_the_same_folder_and_other_work_another(tmp_path) -> None:
    asked = EmergenceSettings(out=tmp_path)
    one, more = plan(asked), plan(dataclasses.replace(asked, n_seeds=8))
    other = plan(dataclasses.replace(asked, n_prompts=50))
    assert one.folder == more.folder != other.folder
    assert len(one.seeds) == 6 and len(one.cells) == 27 and len(one.widths) == 9
    assert len(one.jobs) == 6 + 27 + 6  # width 64 is a cell of the first sweep
    assert one.seconds() > 60


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("emergence")
    settings = EmergenceSettings(
        n_seeds=2,
        n_steps=20,
        n_checkpoints=12,
        n_prompts=16,
        n_probed=200,
        contexts=(32,),
        batches=(8,),
        widths=(64,),
        n_sweep_seeds=1,
        processes=1,
        out=out,
    )
    lines: list[str] = []
    return settings, run_emergence(settings, tell=lines.append), lines


def test_a_run_keeps_models_numbers_and_page(finished) -> None:
    _, run, lines = finished
    assert "3 small models to train, 1 at a time" in lines[0] and "GiB" in lines[0]
    results = json.loads((run.folder / "results.json").read_text())
    assert results["steps"][0] == 0 and results["steps"][-1] == 20
    assert len(results["curves"][BEHAVIOUR]) == len(results["steps"])
    assert set(results["fits"]) == set(ALL) and results["summary"] == list(run.summary)
    assert "What sets it off" in (run.folder / "report.html").read_text()
    found = Emergence.load(run.folder / "emergence.safetensors")
    assert found.arrays["chosen"].shape == (2, len(found.steps), 16)
    assert not np.array_equal(found.arrays["loss"][0], found.arrays["loss"][1])


def test_what_an_earlier_run_has_finished_is_not_done_again(finished) -> None:
    settings, run, _ = finished
    work = plan(settings)
    kept = {job.name: job.arguments["file"] for job in work.jobs}
    before = {name: Path(path).read_bytes() for name, path in kept.items()}
    lines: list[str] = []
    again = run_emergence(settings, tell=lines.append)
    assert lines == [f"3 of 3 models are there already, in {work.folder}."]
    assert {name: Path(path).read_bytes() for name, path in kept.items()} == before
    first, second = (json.loads((one.folder / "results.json").read_text()) for one in (run, again))
    assert first == second
