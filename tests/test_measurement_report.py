"""The report of one measurement: maps for any axes, and sentences that follow from the numbers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cutaway import evidence
from cutaway.attribution.agreement import agreement
from cutaway.patching.effects import Axis, Effects, Mode
from cutaway.tasks.task import Baseline
from cutaway.views import measurement_sentences as say
from cutaway.views.ioi_data import PromptPair
from cutaway.views.measurement_data import (
    Comparison,
    Measured,
    MeasurementReportData,
    place_name,
)
from cutaway.views.measurement_maps import MOST_LINES, maps
from cutaway.views.measurement_report import measurement_report
from html_outline import outline
from sample_report import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Page

N_PROMPTS = 24


def effects_over(
    axes: dict[str, Sequence[str]], mode: Mode = "denoising", scale: float = 1.0
) -> Effects:
    """Effects that fall from `scale` to 0, place by place."""
    rng = np.random.default_rng(0)
    shape = tuple(len(labels) for labels in axes.values())
    size = scale * np.linspace(1, 0, int(np.prod(shape))).reshape(*shape, 1)
    clean, corrupted = rng.normal(4, 0.5, N_PROMPTS), rng.normal(-4, 0.5, N_PROMPTS)
    base, other = (corrupted, clean) if mode == "denoising" else (clean, corrupted)
    patched = base + size * (other - base) + rng.normal(0, 0.01, (*shape, N_PROMPTS))
    named = tuple(Axis(name, tuple(labels)) for name, labels in axes.items())
    return Effects("z", mode, named, patched, clean, corrupted, "logit difference")


def data_of(effects: Effects, command: str = "patch", **changes: Any) -> MeasurementReportData:
    baseline = Baseline(
        clean=evidence.bootstrap_mean(effects.clean),
        corrupted=evidence.bootstrap_mean(effects.corrupted),
        accuracy=evidence.proportion(N_PROMPTS, N_PROMPTS),
        metric=effects.metric,
        clean_values=effects.clean,
        corrupted_values=effects.corrupted,
        correct=effects.clean > 0,
    )
    choices = {
        "patch": {"site": "z", "value": "patch"},
        "paths": {"mlps": "frozen", "positions": ("END",)},
        "edges": {},
        "attribute": {"site": "z", "gradient": "base", "method": "eap", "steps": 5},
    }
    data = MeasurementReportData(
        command=command,
        model=HOSTILE,
        task="sample",
        choices=choices[command],
        measured=Measured.of(effects),
        baseline=baseline,
        prompts=(HOSTILE,) * N_PROMPTS,
        example=PromptPair(("a", " b"), ("a", " c"), {"END": 1}, " x", " y"),
        settings={"model": HOSTILE, "seed": "0"},
        timings={"all": 1.0},
    )
    return dataclasses.replace(data, **changes)


def numbers(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))


def all_edges(n_layers: int, n_heads: int, shared: int = 1) -> list[str]:
    """Heads only: what a model with so many layers has."""
    found = []
    for layer in range(n_layers):
        senders = [f"{a}.{b}" for a in range(layer) for b in range(n_heads)]
        ends = [f"{layer}.{head}.q" for head in range(n_heads)]
        ends += [f"{layer}.{h}.{part}" for part in "kv" for h in range(n_heads // shared)]
        found += [f"{sender}->{end}" for end in ends for sender in ["embed", *senders]]
    return found


AXES: dict[str, dict[str, Sequence[str]]] = {
    "one place": {},
    "positions": {"position": ("S2", "END")},
    "layers and heads": {"layer": numbers(4), "head": numbers(8)},
    "neurons": {"layer": numbers(2), "neuron": numbers(300)},
    "by position": {"layer": numbers(2), "head": numbers(3), "position": ("S2", "END")},
    "by token": {"layer": numbers(3), "head": numbers(4), "position": numbers(9)},
    "by key": {"layer": ("1",), "head": numbers(4), "position": ("END",), "key": ("IO", "S")},
    "paths": {"sender": ("embed", "0.0", "0.1", "mlp0", "1.0"), "receiver": ("logits", "1.1.q")},
    "sets": {"sender": ("0.0+0.1", "1.0"), "receiver": ("logits",)},
    "edges": {"edge": all_edges(3, 4)},
}


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("mode", ["denoising", "noising"])
def test_a_report_is_whole_and_safe_whatever_the_axes(name, mode) -> None:
    command = {"paths": "paths", "sets": "paths", "edges": "edges"}.get(name, "patch")
    text = measurement_report(data_of(effects_over(AXES[name], mode), command)).html()
    found = outline(text)
    assert found.fetching == [] and found.handlers == []
    assert HOSTILE not in text and "http" not in text.replace("http-equiv", "")
    for title in ("In short", "Before anything is changed", "What was measured"):
        assert f"<h2>{title}</h2>" in text


def test_a_map_shows_every_effect_where_it_stands() -> None:
    measured = Measured.of(effects_over(AXES["by position"]))
    first, second = maps(measured, "share")
    np.testing.assert_array_equal(first.values, measured.value[:, :, 0])
    np.testing.assert_array_equal(second.high, measured.high[:, :, 1])
    assert (first.title, second.title) == ("position S2", "position END")
    assert first.limit == second.limit and first.legend and not second.legend
    assert maps(Measured.of(effects_over({})), "share") == []


def test_many_positions_share_one_map_with_a_row_for_each_head() -> None:
    measured = Measured.of(effects_over(AXES["by token"]))
    (one,) = maps(measured, "share")
    assert one.values.shape == (12, 9) and one.row_labels[5] == "1.1"
    assert one.values[5, 3] == measured.value[1, 1, 3]


def test_of_too_many_columns_the_largest_are_shown_and_the_caption_says_so() -> None:
    (one,) = maps(Measured.of(effects_over(AXES["neurons"])), "share")
    assert len(one.column_labels) == MOST_LINES
    assert f"Of 300 columns, the {MOST_LINES} with the largest effects." in one.caption


def test_senders_stand_by_layer_and_head_and_the_embedding_below() -> None:
    measured = Measured.of(effects_over(AXES["paths"]))
    first, _ = maps(measured, "share")
    assert first.title == "Senders to logits"
    assert (first.row_labels, first.column_labels) == (("0", "1"), ("0", "1", "mlp"))
    assert first.values[0, 2] == measured.value[3, 0] and np.isnan(first.values[1, 1])
    assert f"in no layer: {measured.value[0, 0]:.3f}" in first.caption


def largest_in(labels: Sequence[str], value: np.ndarray, start: str, end: str) -> float:
    pairs = zip(labels, value, strict=True)
    inside = [v for e, v in pairs if e.startswith(f"{start}->") and e.split("->")[1][:3] == end]
    return float(max(inside, key=abs))


def test_a_cell_of_the_edges_shows_the_largest_of_its_edges() -> None:
    labels = AXES["edges"]["edge"]
    measured = Measured.of(effects_over(AXES["edges"]))
    (one,) = maps(measured, "share")
    assert "1.2" in one.column_labels and "one with the largest effect" in one.caption
    for start, end in itertools.product(("embed", "0.3"), ("1.0", "2.3")):
        at = list(one.row_labels).index(start), list(one.column_labels).index(end)
        assert one.values[at] == largest_in(labels, measured.value, start, end)


def test_edges_of_a_large_model_are_drawn_by_layer() -> None:
    (one,) = maps(Measured.of(effects_over({"edge": all_edges(6, 10)})), "share")
    assert "heads 5" in one.column_labels and len(one.row_labels) == 6  # embed, heads 0 to 4


def test_shared_keys_are_not_drawn_as_inputs_of_one_head() -> None:
    (one,) = maps(Measured.of(effects_over({"edge": all_edges(4, 4, shared=2)})), "share")
    assert set(one.column_labels) == {f"heads {layer}" for layer in range(4)}


def test_places_have_the_names_of_the_field() -> None:
    assert place_name({"layer": "9", "head": "6", "position": "END"}) == "9.6 at END"
    assert place_name({"layer": "9", "head": "6", "key": "S2"}) == "9.6 to key S2"
    assert place_name({"layer": "2", "position": "7"}) == "layer 2 at token 7"
    assert place_name({"sender": "5.5", "receiver": "9.6.q"}) == "5.5 → 9.6.q"
    assert place_name({}) == "everywhere"


def test_sentences_follow_from_the_numbers() -> None:
    heads = effects_over({"layer": ("0",), "head": ("0", "1")})
    assert say.largest(data_of(heads))[0].startswith("Replacing 0.0 restores 1.0")
    lost = effects_over({"layer": ("0",), "head": ("0", "1")}, "noising")
    assert say.largest(data_of(lost))[0].startswith("Replacing 0.0 takes away 1.0")
    against = effects_over({"edge": ("0.0->logits", "0.1->logits")}, scale=-0.5)
    assert say.largest(data_of(against, "edges"))[0].startswith(
        "Patching 0.0 → logits does the reverse: −0.5"
    )
    assert "By the estimate, replacing" in say.largest(data_of(heads, "attribute"))[0]
    nothing = effects_over({"layer": numbers(5), "head": numbers(8)}, scale=0.0)
    assert say.largest(data_of(nothing)) == ()
    assert say.count(data_of(nothing)).startswith("0 of the 40 heads matter;")
    assert "up to about 2 would by chance" in say.count(data_of(nothing))
    assert "chance" not in say.count(data_of(heads))


def test_what_makes_the_numbers_shaky_is_said() -> None:
    data = data_of(effects_over(AXES["layers and heads"]))
    assert say.warnings(data) == ()
    base = data.baseline
    few = dataclasses.replace(base, clean=dataclasses.replace(base.clean, n=5))
    assert "only 5 prompt pairs" in say.warnings(dataclasses.replace(data, baseline=few))[0]
    same = dataclasses.replace(base, corrupted=base.clean)
    assert "overlap" in say.warnings(dataclasses.replace(data, baseline=same))[0]
    turned = dataclasses.replace(base, clean=base.corrupted, corrupted=base.clean)
    assert "higher on the corrupted" in say.warnings(dataclasses.replace(data, baseline=turned))[0]
    unsure = dataclasses.replace(base, accuracy=evidence.proportion(12, 24))
    assert "not established" in say.warnings(dataclasses.replace(data, baseline=unsure))[0]


def compared() -> MeasurementReportData:
    exact = effects_over(AXES["layers and heads"])
    shift = np.zeros((4, 8, 1))
    shift[2, 5] = 4.0
    estimate = dataclasses.replace(exact, patched=exact.patched + shift)
    found = Comparison(agreement(exact, estimate), Measured.of(exact))
    return data_of(estimate, "attribute", comparison=found)


def test_the_gap_names_the_worst_place() -> None:
    data = compared()
    assert data.comparison is not None
    said = say.gap(data.comparison)
    assert "the largest difference is at 2.5: 0.83 estimated, 0.32 exact" in said
    text = measurement_report(data).html()
    assert "<h2>Estimate and exact effect</h2>" in text and said.split(";")[0] in text


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
def test_the_pages_fit_the_window_and_fetch_nothing(page: Page, tmp_path: Path, width) -> None:
    big = {"edge": all_edges(4, 9)}
    pages = {"edges": data_of(effects_over(big), "edges"), "attribute": compared()}
    for name, data in pages.items():
        file = tmp_path / f"{name}.html"
        file.write_text(measurement_report(data).html(), encoding="utf-8")
        requests: list[str] = []
        page.on("request", lambda request, seen=requests: seen.append(request.url))
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(file.as_uri())
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert requests == [file.as_uri()]
        if width >= 1200:
            cut = "boxes => boxes.filter(b => b.scrollWidth > b.clientWidth).length"
            assert page.locator(".ct-heatmap .ct-scroll").evaluate_all(cut) == 0
