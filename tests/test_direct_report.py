"""`cutaway attribute --direct`: what it saves is what the library finds, and its page says so."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

import cutaway as ca
from cutaway.attribution.gap import direct_gap
from cutaway.experiments.measurements.direct import _answer
from cutaway.experiments.measurements.run import run_measurement
from cutaway.experiments.measurements.settings import AttributeSettings
from cutaway.tasks.metric import ProbabilityDifference
from cutaway.views import direct_sentences as say
from cutaway.views.direct_data import DirectReportData
from cutaway.views.direct_report import direct_report
from cutaway.views.ioi_data import PromptPair
from cutaway.views.numbers import interval_text, number
from html_outline import outline
from sample_report import HOSTILE

N = 24
FEW = 6  # of commands


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def task(model) -> ca.Task:
    return ca.tasks.ioi(model, N)


def data_of(model: ca.HookedTransformer, task: ca.Task, by: str, **more: object):
    return DirectReportData(
        model=HOSTILE,
        task=task.name,
        direct=ca.direct_attribution(model, task, by),
        baseline=task.baseline(model),
        prompts=(HOSTILE,) * len(task),
        example=PromptPair(("a", " b"), ("a", " c"), {"END": 1}, " x", " y"),
        settings={"model": HOSTILE, "by": by},
        timings={"all": 1.0},
        **more,
    )


def test_what_is_saved_is_what_the_library_finds(model, tmp_path) -> None:
    told: list[str] = []
    settings = AttributeSettings(
        n_prompts=FEW, direct=True, sources=True, exact=True, by="head", out=tmp_path
    )
    finished = run_measurement(settings, tell=told.append)
    run, task = ca.load_run(finished.folder), ca.tasks.ioi(model, FEW)
    direct = ca.direct_attribution(model, task, "head")
    saved = ca.DirectAttribution.load(finished.folder / "effects" / "direct.safetensors")
    np.testing.assert_allclose(saved.values, direct.values, atol=1e-5)
    arrays, results = run.arrays(), run.results()
    np.testing.assert_allclose(arrays["direct"], direct.values, atol=1e-5)
    np.testing.assert_allclose(
        arrays["direct, random tokens"], direct.controls["random tokens"], atol=1e-5
    )
    sources = ca.SourceAttribution.load(finished.folder / "effects" / "sources.safetensors")
    np.testing.assert_allclose(sources.values, ca.source_attribution(model, task).values, atol=1e-5)
    gap = direct_gap(direct, ca.sweep(model, task, "z", "zero", mode="noising"))
    np.testing.assert_allclose(arrays["exact of heads"], gap.exact, atol=1e-4)
    assert results["exact"]["correlation"]["estimate"] == pytest.approx(
        gap.correlation().estimate, abs=1e-4
    )
    top = direct.top(1)[0]
    listed = results["components"][0]
    assert listed["component"] == top.name == "1.2"
    assert listed["logits"]["estimate"] == pytest.approx(top.value.estimate, abs=1e-5)
    report = run.report.read_text()
    assert interval_text(top.value) in " ".join(finished.summary)
    assert number(top.value.estimate) in report and "From which tokens" in report
    assert "What direct attribution misses" in report
    assert "src=" not in report and len(report.encode()) < 1_000_000
    assert run.study == "attribute" and tuple(results["summary"]) == finished.summary
    assert told == [line for line in told if line.startswith("It will hold at most ")] != []


@pytest.mark.parametrize("by", ["component", "layer", "neuron"])
def test_the_page_has_what_it_has_data_for(model, task, by) -> None:
    page = direct_report(data_of(model, task, by)).html()
    assert HOSTILE not in page and "&lt;script&gt;" in page
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    outline(page)  # every element is closed
    assert "Beside answers that mean nothing" in headings
    assert "From which tokens" not in headings and "What direct attribution misses" not in headings
    assert ("Every head and MLP" in page) == (by == "component")


def test_groups_add_up_to_the_whole(model, task) -> None:
    for by in ("component", "neuron"):
        data = data_of(model, task, by)
        total = sum(one.estimate for one in data.groups.values())
        assert total == pytest.approx(data.total.estimate, abs=1e-4)
        assert list(data.groups)[-1] == "all biases"
    assert list(data_of(model, task, "component").groups)[:4] == [
        "embed",
        "pos_embed",
        "heads, layer 0",
        "mlp0",
    ]


def test_what_matters_is_large_and_sure(model, task) -> None:
    data = data_of(model, task, "neuron")
    mean, low, high = data.direct.interval()
    sure = (low > 0) | (high < 0)
    expected = sure & (np.abs(mean) > 0.02 * abs(data.direct.total.mean()))
    names = {data.direct.axes[0].labels[i] for i in np.flatnonzero(expected)}
    assert {one.name for one in data.matter} == names and "heads" in names


def test_sentences_follow_their_rules(model, task) -> None:
    data = data_of(model, task, "head")
    largest = data.largest[0]
    share = 100 * largest.value.estimate / data.total.estimate
    assert say.component(data, largest) == (
        f"1.2 writes {interval_text(largest.value)} logits, {share:.0f}% of the whole."
    )
    against = next(one for one in data.largest if one.value.estimate < 0)
    assert say.component(data, against).endswith("logits, against the whole.")
    mlps = next(one for one in data.largest if one.name == "MLPs")
    assert say.component(data, mlps).startswith("All MLPs together write ")
    assert say.warnings(data) == ()
    few = data_of(model, task.subset(range(4)), "head")
    assert "only 4 prompts" in say.warnings(few)[0]
    direct = data.direct
    loud = {name: 0.9 * direct.values for name in direct.controls}
    loud_data = dataclasses.replace(data, direct=dataclasses.replace(direct, controls=loud))
    assert "more than half of the largest mean" in say.warnings(loud_data)[0]


def test_a_metric_that_is_not_linear_is_refused_with_an_option(task) -> None:
    metric = ProbabilityDifference.at(task.positions["END"], task.correct, task.wrong)
    asked = dataclasses.replace(task, metric=metric)
    with pytest.raises(ValueError, match="give --toward difference"):
        _answer(AttributeSettings(direct=True), asked)
    toward, against = _answer(AttributeSettings(direct=True, toward="difference"), asked)
    assert toward is task.correct and against is task.wrong
    assert _answer(AttributeSettings(direct=True, toward="answer"), asked)[1] is None


def test_the_logits_that_are_asked_for_are_attributed(model, tmp_path: Path) -> None:
    settings = AttributeSettings(
        n_prompts=FEW, direct=True, by="mlp", toward="difference", out=tmp_path
    )
    finished = run_measurement(settings)
    saved = ca.DirectAttribution.load(finished.folder / "effects" / "direct.safetensors")
    expected = ca.direct_attribution(model, ca.tasks.ioi(model, FEW), "mlp")
    assert saved.answer == "logit difference" and saved.by == "mlp"
    np.testing.assert_allclose(saved.values, expected.values, atol=1e-5)
