"""The lens grid, dose and response, coloured tokens and details of a map: true to their numbers."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.views import ColouredTokensView, CurveSeries, CurveView, DoseLine, HeatmapView, View
from cutaway.views.document import document
from cutaway.views.markup import Markup
from html_outline import outline
from sample_views import (
    DOSES,
    EVIL,
    attention,
    coloured,
    dose_lines,
    dose_response,
    drawings,
    features,
    lens_grid,
    map_with_details,
    per_prompt,
)

VIEWS: list[View] = [
    lens_grid(),
    map_with_details(),
    dose_response(),
    coloured(),
    attention(30),
    features(),
    *drawings(),
]


def data_of(view: View) -> dict:
    return json.loads(re.search(r'class="ct-data">(.*?)</script>', view.markup())[1])


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: type(view).__name__)
def test_a_view_escapes_nests_and_fetches_nothing(view: View) -> None:
    for text in (view.markup(), view.html(), view.page_html()):
        assert EVIL not in text
        found = outline(text)
        assert found.fetching == [] and found.handlers == []
        own = text
        for script in re.findall(r"<script>(// https://d3js.org.*?)</script>", text, re.S):
            own = own.replace(script, "")  # a namespace is a name in them, not an address
        assert "http://" not in own and "https://" not in own
        assert "@import" not in own and "url(" not in own
    notebook = view._repr_html_()
    assert notebook.startswith("<iframe srcdoc=") and notebook.count("<") == 2


# ---- the lens grid ----


def test_a_cell_of_the_grid_has_its_token_its_shares_and_its_mark() -> None:
    cells = re.findall(r'<td( class="hit")? style="([^"]*)" data-column', lens_grid().markup())
    assert len(cells) == 12
    # Rank 0 is the target on top: three of the first row, one of the second.
    assert [bool(hit) for hit, _ in cells] == [True] * 3 + [False] * 3 + [True] + [False] * 5
    shares = dict(part.split(":") for part in cells[5][1].split(";"))
    assert set(shares) == {"--top", "--target", "--rank", "--entropy"}
    assert float(shares["--target"]) == pytest.approx(0.25)
    assert float(shares["--rank"]) == pytest.approx(1 - np.log(2) / np.log(91), abs=1e-3)
    assert float(shares["--entropy"]) == pytest.approx(3.0 / 6, abs=1e-3)
    no_target = dict(part.split(":") for part in cells[3][1].split(";"))
    assert no_target["--target"] == no_target["--rank"] == "0"


def test_without_ranks_the_mark_goes_by_the_text() -> None:
    text = lens_grid(target_rank=None, target_probability=None).markup()
    assert text.count('class="hit"') == 4
    assert 'value="rank"' not in text and 'value="entropy"' in text


def test_with_one_measure_there_is_no_switch() -> None:
    bare = {"targets": None, "target_probability": None, "target_rank": None, "entropy": None}
    text = lens_grid(**bare).markup()
    assert "<fieldset" not in text and "hit" not in text


def test_the_grid_gives_its_script_every_token_once() -> None:
    view = lens_grid()
    data = data_of(view)
    assert len(set(data["words"])) == len(data["words"])
    read = [data["words"][at] for at in data["top"]]
    assert read == [token for row in view.top_tokens for cell in row for token in cell]
    np.testing.assert_allclose(data["p"], view.top_probabilities.ravel(), atol=1e-4)
    assert data["target_rank"][3] is None and data["target_rank"][4] == 40
    assert data["target_probability"][3] is None


def test_a_grid_of_many_tokens_stays_small() -> None:
    rng = np.random.default_rng(0)
    n_rows, n_columns, k = 13, 64, 5
    words = [f" word{i}" for i in range(500)]
    tops = [[list(rng.choice(words, k)) for _ in range(n_columns)] for _ in range(n_rows)]
    view = lens_grid(
        tokens=[" a"] * n_columns,
        row_labels=[str(i) for i in range(n_rows)],
        top_tokens=tops,
        top_probabilities=rng.random((n_rows, n_columns, k)),
        targets=[" b"] * n_columns,
        target_probability=rng.random((n_rows, n_columns)),
        target_rank=rng.integers(0, 50_000, (n_rows, n_columns)),
        entropy=rng.random((n_rows, n_columns)),
    )
    assert len(view.page_html()) < 350_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_labels": ("1", "0")}, "target_probability has the shape"),
        ({"top_probabilities": np.zeros((3, 4))}, "expected \\[3, 4, k\\]"),
        ({"top_probabilities": np.zeros((3, 4, 3))}, "give 3 tokens for each of 4 columns"),
        ({"targets": ("a",)}, "4 tokens, but 1 targets"),
        ({"entropy": np.zeros((3, 3))}, "entropy has the shape"),
        ({"top_tokens": []}, "top_tokens does not fit"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lens_grid(**change)


# ---- details of a map ----


def test_a_map_lists_its_details_and_brings_what_they_need() -> None:
    view = map_with_details()
    text = view.markup()
    assert re.findall(r'data-opens="([^"]*)"', text) == ["0-1", "1-2"]
    assert re.findall(r"<summary>([^<]*)</summary>", text) == ["layer 1, head 1", "layer 0, head 2"]
    assert {"attention", "heatmap_details"} <= set(view.needs())
    plain = HeatmapView(np.eye(2), "ab", "cd")
    assert "heatmap_details" not in plain.needs() and "ct-map-details" not in plain.markup()


def test_details_of_a_cell_that_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the cell \(2, 0\), but the map has 2 rows"):
        HeatmapView(np.eye(2), "ab", "cd", details={(2, 0): "x"})


# ---- dose and response ----


def test_prompts_that_move_against_the_mean_are_counted() -> None:
    steered, control = dose_lines()
    assert steered.wrong_way().tolist() == [False, False, True, False, False]
    assert control.wrong_way().size == 0
    text = dose_response().markup()
    assert "1 of 5" in text and "random direction: " not in text


@given(st.integers(0, 2**31 - 1), st.booleans())
def test_the_wrong_way_is_the_sign_of_the_slope(seed: int, is_down: bool) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.choice(np.arange(-20, 20), 5, replace=False)).astype(float)
    values = rng.normal(size=(6, 5)) + x * (-0.3 if is_down else 0.3)
    mean = values.mean(0)
    line = DoseLine("a", tuple(x), mean, mean, mean, values)
    slopes = [np.polyfit(x, row, 1)[0] for row in values]
    expected = np.sign(slopes) == -np.sign(np.polyfit(x, mean, 1)[0])
    assert line.wrong_way().tolist() == expected.tolist()


def test_a_prompt_that_stays_goes_neither_way() -> None:
    values = np.array([[1.0, 1.0], [0.0, 2.0], [np.nan, 3.0]])
    line = DoseLine("a", (0.0, 1.0), (0.5, 1.5), (0, 1), (1, 2), values)
    assert line.wrong_way().tolist() == [False, False, False]


def test_the_script_gets_the_numbers_that_were_given() -> None:
    data = data_of(dose_response())
    line, control = data["lines"]
    np.testing.assert_allclose(line["prompts"], per_prompt(), rtol=1e-4)
    assert line["x"] == list(DOSES) and line["wrong"] == [2] and line["kind"] == "s0"
    assert control["kind"] == "control" and control["prompts"] == []
    assert len(data["labels"]) == 5


def test_without_a_script_the_means_are_there() -> None:
    text = dose_response().markup()
    still = text[text.index("ct-dose-still") : text.index("ct-dose-live")]
    assert still.count('class="series ') >= 4 and still.count('class="point"') == 8
    assert 'class="series control"' in still


def test_a_curve_can_have_several_controls() -> None:
    line = CurveSeries("a", (0, 1), (0, 1))
    several = CurveView((line,), (line, line)).markup()
    assert several.count("series control") == 4  # two lines, two entries of the legend
    assert CurveView((line,), line).markup().count("series control") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficients": (4.0, 0.0)}, "do not grow"),
        ({"mean": (0.0,)}, "2 x and 1 y"),
        ({"per_prompt": np.zeros((3, 3))}, "2 coefficients"),
    ],
)
def test_a_line_that_does_not_fit_is_refused(change: dict, message: str) -> None:
    fields = {"coefficients": (0.0, 4.0), "mean": (0, 1), "low": (0, 1), "high": (0, 1)}
    with pytest.raises(ValueError, match=message):
        DoseLine("a", **{**fields, **change})


def test_labels_that_are_not_as_many_as_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="5 prompts, but there are 1 labels"):
        dose_response(prompt_labels=("a",))


def test_d3_comes_with_the_views_that_use_it_and_once() -> None:
    name = "d3js.org/d3-scale/"
    twice = document("t", Markup(""), [*dose_response().needs(), *dose_response().needs()])
    assert twice.count(name) == 1
    assert name not in lens_grid().page_html()


# ---- coloured tokens ----


def test_a_token_says_its_number_and_has_its_share_of_the_colour() -> None:
    text = coloured().markup()
    assert re.findall(r'style="--t:([\d.]+)"', text) == ["0", "0.5", "0.125", "1"]
    assert "2.000 nats\na" in text and "no value" in text
    assert text.count(' tabindex="0"') == 1


def test_signs_need_a_diverging_scale() -> None:
    with pytest.raises(ValueError, match="scale='diverging'"):
        ColouredTokensView(("a", "b"), (1.0, -2.0))
    text = ColouredTokensView(("a", "b"), (1.0, -2.0), scale="diverging").markup()
    assert "ct-token negative strong" in text.replace(" half", "") and "−2.000" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": (1.0,)}, "4 tokens, but 1 values"),
        ({"notes": ("a",)}, "4 tokens, but 1 notes"),
        ({"limit": 0.0}, "not positive"),
    ],
)
def test_coloured_tokens_that_do_not_fit_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coloured(**change)


# ---- many heads ----


def test_many_heads_stand_by_layer_and_scores_must_fit() -> None:
    text = attention(30, head_scores={"induction": np.arange(30)}).markup()
    assert 'class="ct-heads many"' in text and '<select class="layer">' in text
    assert '<option value="0">induction</option>' in text
    few = attention(2).markup()
    assert "many" not in few and "select" not in few
    with pytest.raises(ValueError, match="30 heads, but 2 scores of 'a'"):
        attention(30, head_scores={"a": [1, 2]})


def test_patterns_that_look_ahead_are_stored_whole() -> None:
    from cutaway.views import AttentionExample, AttentionView
    from cutaway.views.attention import from_bytes

    ahead = np.full((1, 3, 3), 1 / 3)
    data = data_of(AttentionView((AttentionExample(ahead, "abc"),), ("x",)))
    assert not data["examples"][0]["causal"]
    np.testing.assert_allclose(from_bytes(data["examples"][0]["patterns"], (3, 3)), 1 / 3)


def test_all_heads_of_gpt2_on_64_tokens_stay_under_half_a_megabyte() -> None:
    from cutaway.views import AttentionExample, AttentionView
    from sample_report import patterns

    tokens = [" a"] * 64
    labels = [f"{layer}.{head}" for layer in range(12) for head in range(12)]
    view = AttentionView((AttentionExample(patterns(144, 64), tokens),), labels)
    assert len(view.page_html().encode()) < 500_000
